"""A moderator's menu: mutes, closes and reopens, and deletes messages of others; in the page and in a notebook."""

from __future__ import annotations

import pytest
from bqserver.auth import tokens
from bqserver.testing import running_server
from e2e.conftest import Window, expect
from support.ws_client import request

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def people(home):
    """The tokens of ada, a moderator of all rooms, and bob."""
    file = home / "data" / "tokens.json"
    found = {name: tokens.add_grant(file, name)[0] for name in ("ada", "bob")}
    (home / "data" / "rights.toml").write_text('["*"]\nada = "moderate"\n')
    return found


def open_page(page, server, token: str) -> Window:
    """The lobby's page, under the name of the token."""
    bearer = {"Authorization": f"Bearer {token}"}
    code = request(server.url, "POST", "/invites", {"myself": True}, **bearer).json["code"]
    page.goto(f"{server.url}/rooms/lobby#invite={code}")
    window = Window(page.get_by_role("region", name="Chat room lobby"))
    window.wait_connected()
    return window


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 330)])
def test_a_moderator_has_a_menu_and_others_do_not(people, pages, axe, scheme, width):
    theirs, mine = pages(), pages(color_scheme=scheme, viewport={"width": width, "height": 700})
    with running_server() as server:
        bob, ada = open_page(theirs, server, people["bob"]), open_page(mine, server, people["ada"])
        menu = ada.region.get_by_role("button", name="Moderation")
        assert bob.region.get_by_role("button", name="Moderation").count() == 0

        bob.say("spam")
        ada.wait_for("spam")
        ada.messages.filter(has_text="spam").hover()
        assert mine.get_by_role("button", name="Edit").count() == 0
        mine.get_by_role("button", name="Delete").click()
        mine.get_by_role("group", name="Delete this message?").get_by_role("button", name="Delete").click()
        bob.wait_for("This message was deleted")

        menu.focus()
        mine.keyboard.press("Enter")
        mine.get_by_label("Mute for").select_option("1 hour")
        assert axe(mine) == [], "the menu"
        mine.get_by_role("button", name="Mute bob").press("Enter")
        mine.get_by_text("muted until").wait_for()
        assert axe(mine) == [], "someone is muted"
        bob.say("hello?")
        theirs.get_by_text("a moderator has muted 'bob'").wait_for()
        mine.get_by_role("button", name="Unmute bob").click()
        mine.get_by_role("button", name="Mute bob").wait_for()
        theirs.get_by_role("button", name="Retry").click()
        ada.wait_for("hello?")

        mine.get_by_role("button", name="Close the room").click()
        bob.status.filter(has_text="This room is closed").wait_for()
        mine.get_by_role("button", name="Reopen the room").click()
        mine.get_by_role("button", name="Close the room").wait_for()
        mine.keyboard.press("Escape")
        expect(mine.get_by_role("button", name="Close the room")).to_have_count(0)
        expect(menu).to_be_focused()
        theirs.reload()
        bob.wait_connected()
        expect(bob.messages).to_have_count(2)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 330)])
def test_a_moderator_pins_by_keyboard_and_all_see_it(people, pages, axe, scheme, width):
    theirs, mine = pages(), pages(color_scheme=scheme, viewport={"width": width, "height": 700})
    with running_server() as server:
        bob, ada = open_page(theirs, server, people["bob"]), open_page(mine, server, people["ada"])
        for text in ("Rules: **be kind**, and name your runs after what they change, not after the day", "hi"):
            bob.say(text)
            ada.wait_for(text[:5])
        for _ in range(2):
            ada.messages.last.focus()
            mine.keyboard.press("ArrowUp")
            mine.keyboard.press("Tab")
            pin = ada.messages.first.get_by_role("button", name="Pin for all")
            pin.focus()
            mine.keyboard.press("Enter")
            strip = bob.region.get_by_role("group", name="Pinned messages")
            strip.get_by_text("be kind").wait_for()
            ada.region.get_by_role("group", name="Pinned messages").wait_for()
            assert axe(mine) == [], "a message is pinned"
            assert bob.region.get_by_role("button", name="Pin for all").count() == 0
            ada.messages.first.get_by_role("button", name="Unpin").press("Enter")
            for window in (bob, ada):  # the strip moves the rows
                window.region.get_by_role("group", name="Pinned messages").wait_for(state="detached")
        for row in (ada.messages.first, ada.messages.last):
            row.hover()
            row.get_by_role("button", name="Pin for all").click()
            ada.region.get_by_role("group", name="Pinned messages").wait_for()
        ada.region.get_by_role("button", name="All 2 pinned messages").press("Enter")
        assert axe(mine) == [], "the list"
        mine.locator(".bq-all-pins").get_by_role("button").filter(has_text="Rules").press("Enter")
        ada.region.locator("[aria-current=location]").filter(has_text="Rules").wait_for()
        theirs.reload()
        strip.get_by_text("hi", exact=True).wait_for()


def test_pins_in_a_notebook_go_through_the_kernel(people, jupyter, pages):
    with running_server() as server:
        lab, page = jupyter(), pages()
        cell = f"from bqwidget import Room\nroom = Room('lobby', url={server.url!r}, token={people['ada']!r})\nroom"
        notebook = lab.open(page, lab.notebook("pins.ipynb", cell, "room.pin(room.send('from Python'))\nroom"))
        notebook.run(0)
        window = notebook.room()
        window.wait_connected()
        strip = window.region.get_by_role("group", name="Pinned messages")
        window.say("from the window")
        window.messages.filter(has_text="from the window").hover()
        window.region.get_by_role("button", name="Pin for all").click()
        strip.get_by_text("from the window").wait_for()
        notebook.run(1)
        strip.first.get_by_text("from Python").wait_for()
        second = notebook.room(index=1)  # its kernel joined before anything was pinned
        second.region.get_by_role("button", name="All 2 pinned messages").wait_for()


def test_the_menu_in_a_notebook_orders_through_the_kernel(people, jupyter, pages):
    with running_server() as server:
        lab, page = jupyter(), pages()
        cell = f"from bqwidget import Room\nroom = Room('lobby', url={server.url!r}, token={people['ada']!r})\nroom"
        notebook = lab.open(page, lab.notebook("moderator.ipynb", cell))
        notebook.run(0)
        window = notebook.room()
        window.wait_connected()
        bearer = {"Authorization": f"Bearer {people['bob']}"}
        said = {"user": "bob", "text": "hi"}
        assert request(server.url, "POST", "/rooms/lobby/messages", said, **bearer).status == 201
        window.wait_for("hi")
        window.region.get_by_role("button", name="Moderation").click()
        window.region.get_by_role("button", name="Mute bob").click()
        window.region.get_by_role("button", name="Unmute bob").wait_for()
        assert request(server.url, "POST", "/rooms/lobby/messages", said, **bearer).code == "muted"
