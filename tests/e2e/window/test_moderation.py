"""A moderator's menu: mutes, closes and reopens, and deletes messages of others; in the page and in a notebook."""

from __future__ import annotations

import pytest
from bqserver.auth import tokens
from bqserver.testing import running_server
from e2e.conftest import Window
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
        assert mine.get_by_role("button", name="Close the room").count() == 0
        assert menu.evaluate("menu => menu === document.activeElement")
        theirs.reload()
        bob.wait_connected()
        assert bob.messages.count() == 2


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
