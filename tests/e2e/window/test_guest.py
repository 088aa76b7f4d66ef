"""A guest comes in, shares, searches and goes to a date by keyboard alone; axe finds nothing in any state on the way."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from e2e.conftest import Window
from e2e.test_accessibility import tab_to
from support.ws_client import request

pytestmark = pytest.mark.browser
FOCUSED_LABEL = "() => document.activeElement.ariaLabel"
TODAY = "new Date().toLocaleDateString('en-US', { year: 'numeric', month: '2-digit', day: '2-digit' })"
each_look = pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 330), ("dark", 330)]
)


@each_look
def test_a_guest_comes_in_and_shares_by_keyboard_alone(pages, axe, scheme, width):
    page = pages(color_scheme=scheme, viewport={"width": width, "height": 700})
    keyboard = page.keyboard
    with running_server() as server:
        bearer = {"Authorization": f"Bearer {server.token}"}
        code = request(server.url, "POST", "/invites", {}, **bearer).json["code"]
        page.goto(server.url)
        tab_to(page, "Invite link or code")
        assert axe(page) == [], "the box for an invite"
        keyboard.type("wrong")
        keyboard.press("Enter")
        page.get_by_role("alert").filter(has_text="was used or has expired").wait_for()
        assert axe(page) == [], "a wrong invite"
        tab_to(page, "Invite link or code")
        keyboard.press("Control+a")
        keyboard.type(f"{server.url}/rooms/lobby#invite={code}")
        keyboard.press("Enter")
        Window(page.get_by_role("region", name="Chat room lobby")).wait_connected()
        page.wait_for_function("() => document.activeElement.ariaLabel === 'Your name'")
        assert axe(page) == [], "a guest is asked for a name"
        keyboard.type("eve")
        keyboard.press("Enter")
        page.wait_for_function("() => document.activeElement.ariaLabel === 'Message'")
        tab_to(page, "Share", "Shift+Tab")
        keyboard.press("Enter")
        page.get_by_text("ask the person who invited you").wait_for()
        assert axe(page) == [], "the dialog to share"
        tab_to(page, "Copy link")
        keyboard.press("Escape")
        assert page.evaluate(FOCUSED_LABEL) == "Share"
        assert page.get_by_role("button", name="Copy link").count() == 0


@each_look
def test_messages_are_found_by_keyboard_alone(pages, axe, scheme, width):
    page = pages(color_scheme=scheme, viewport={"width": width, "height": 700})
    keyboard = page.keyboard
    with running_server(open=True) as server:
        for number in range(120):  # more than the page has
            request(server.url, "POST", "/messages", {"user": "ada", "text": f"number {number} of **them**"})
        page.goto(f"{server.url}/rooms/lobby")
        window = Window(page.get_by_role("region", name="Chat room lobby"))
        window.wait_connected()
        keyboard.press("Control+f")
        page.get_by_role("searchbox").wait_for()
        assert axe(page) == [], "the search"
        keyboard.type("elephant")
        page.get_by_text("No message contains all these words").wait_for()
        assert axe(page) == [], "nothing found"
        keyboard.press("Control+a")
        keyboard.type("number 7")
        options = page.get_by_role("option")
        options.filter(has_text="number 7 of").wait_for()
        assert axe(page) == [], "results"
        tab_to(page, "Search results")
        keyboard.press("ArrowUp")  # from the newest to the oldest
        keyboard.press("Enter")
        marked = window.region.locator("[aria-current=location]")
        marked.filter(has_text="number 7 of").wait_for()
        assert axe(page) == [], "a result is opened"
        tab_to(page, "Jump to latest")
        keyboard.press("Enter")
        window.wait_for("number 119")

        keyboard.press("Control+f")
        while page.evaluate("document.activeElement.name") != "day":
            keyboard.press("Tab")
        keyboard.type(page.evaluate(TODAY))
        tab_to(page, "Go to date")
        keyboard.press("Enter")
        marked.filter(has_text="number 0 of").wait_for()
        keyboard.press("Control+f")
        keyboard.press("Escape")
        assert page.evaluate(FOCUSED_LABEL) == "Search"
