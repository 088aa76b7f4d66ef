"""Emoji: any of them as a reaction, chosen with the mouse or by keyboard alone, and completed in the composer."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from e2e.conftest import expect
from support.ws_client import member

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 300)])
def test_any_emoji_is_a_reaction_also_by_keyboard(pages, axe, scheme, width):
    page = pages(color_scheme=scheme, viewport={"width": width, "height": 700})
    with running_server(open=True) as server:
        with member(server.url) as bob:
            bob.say("the loss is down", user="bob")
            bob.until("ack")
        page.goto(f"{server.url}/rooms/lobby")
        page.get_by_role("textbox", name="Your name").fill("me")
        row = page.get_by_role("list", name="Messages").locator("[data-seq]")
        dialog = page.get_by_role("dialog", name="Choose an emoji")

        def choose() -> None:
            row.get_by_role("button", name="React", exact=True).click()
            row.get_by_role("button", name="More reactions").click()
            expect(dialog.get_by_role("searchbox")).to_be_focused()

        row.hover()
        choose()
        dialog.get_by_role("button", name="😀 grinning").wait_for()
        assert axe(page) == [], "the picker"
        page.keyboard.type("chart")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        row.get_by_role("button", name="📈 1: me").wait_for()
        expect(dialog).to_have_count(0)
        expect(row).to_be_focused()

        choose()
        page.keyboard.type("no such emoji")
        dialog.get_by_text("No emoji has this name").wait_for()
        assert axe(page) == [], "nothing found"
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.insert_text("🇫🇷")
        page.keyboard.press("Enter")
        row.get_by_role("button", name="🇫🇷 1: me").wait_for()

        choose()
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        box = page.get_by_role("textbox", name="Message", exact=True)
        box.focus()
        page.keyboard.type("done :tad")
        page.get_by_role("listbox", name="Emoji").wait_for()
        assert axe(page) == [], "the list of emoji"
        page.keyboard.type("a:")
        expect(box).to_have_value("done 🎉 ")
