"""What a real server refuses, as a person reads it on the page; whether the page then tries again, its sockets tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.testing import RunningServer, running_server
from e2e.conftest import Window
from support.eventually import eventually
from support.ws_client import request

pytestmark = pytest.mark.browser
RIGHTS = '["*"]\nada = "moderate"\n'


class Page:
    """The room's page, come in by an invite of whoever holds ``token``."""

    def __init__(self, page, server: RunningServer, token: str | None, user: str = "carol") -> None:
        self.sockets: list[str] = []
        self.page = page
        page.on("websocket", lambda socket: self.sockets.append(socket.url))
        bearer = {"Authorization": f"Bearer {token}"}
        self.code = request(server.url, "POST", "/invites", {}, **bearer).json["code"]
        self.url = f"{server.url}/rooms/lobby#invite={self.code}"
        page.goto(self.url)
        self.window = Window(page.get_by_role("region", name="Chat room lobby"))
        self.window.region.wait_for()
        self.window.call_me(user)

    def says(self, text: str) -> None:
        self.window.status.filter(has_text=text).wait_for()

    def stays_away(self) -> None:
        """A second after it was told so, nothing has been tried again; the first new try would come in 250 ms."""
        tried = len(self.sockets)
        self.page.wait_for_timeout(1_000)
        assert len(self.sockets) == tried


@pytest.fixture
def served(home: Path):
    file = home / "data" / "tokens.json"
    people = {name: tokens.add_grant(file, name)[0] for name in ("ada", "bob")}
    (home / "data" / "rights.toml").write_text(RIGHTS)
    with running_server() as server:
        yield server, people, file


def order(server: RunningServer, ada: str, do: str, **more: object) -> None:
    bearer = {"Authorization": f"Bearer {ada}"}
    answer = request(server.url, "POST", "/rooms/lobby/moderation", {"do": do, **more}, **bearer)
    assert answer.status == 204


def test_a_link_that_was_used_leads_nowhere_and_says_so(served, pages):
    server, _, _ = served
    first = Page(pages(), server, server.token)
    first.window.wait_connected()
    second = pages()
    second.goto(first.url)
    second.get_by_role("alert").filter(has_text="was used or has expired: ask for a new one").wait_for()
    assert second.get_by_role("region", name="Chat room lobby").count() == 0
    assert second.context.cookies() == []


def test_a_guest_goes_with_whoever_let_them_in(served, pages):
    server, people, file = served
    guest = Page(pages(), server, people["bob"])
    guest.window.wait_connected()
    tokens.revoke_grants(file, "bob")
    guest.says("Your access has ended: open a new invite link")
    guest.stays_away()


def test_a_room_that_a_moderator_closes_is_left(served, pages):
    server, people, _ = served
    guest = Page(pages(), server, server.token)
    guest.window.wait_connected()
    guest.window.region.get_by_role("textbox", name="Message").fill("not said yet")
    order(server, people["ada"], "close")
    guest.says("This room is closed")
    assert guest.window.region.get_by_role("textbox", name="Message").input_value() == "not said yet"
    guest.stays_away()


def test_who_is_muted_reads_why_and_may_try_again_later(served, pages):
    server, people, _ = served
    guest = Page(pages(), server, server.token)
    guest.window.wait_connected()
    order(server, people["ada"], "mute", user="carol", minutes=5)
    guest.window.say("let me")
    failed = guest.window.region.get_by_text("a moderator has muted 'carol'")
    failed.wait_for()
    order(server, people["ada"], "unmute", user="carol")
    guest.window.region.get_by_role("button", name="Retry").click()
    guest.window.wait_for("let me")
    assert failed.count() == 0


def test_a_full_server_is_said_and_joined_when_there_is_room(home, pages, monkeypatch):
    monkeypatch.setattr("bqserver.auth.admission.FULL_RETRY_INTERVAL", 2.0)
    with running_server(max_connections=1) as server:
        first = Page(pages(), server, server.token)
        first.window.wait_connected()
        second = Page(pages(), server, server.token, "eve")
        second.says("The server is full")
        tried = len(second.sockets)
        first.page.context.close()
        eventually(
            lambda: second.page.wait_for_timeout(100) or len(second.sockets) > tried, 30, "the next attempt"
        )
        second.window.wait_connected()
        assert len(second.sockets) == tried + 1  # it waited as long as it was told, and came in at once


def test_a_server_that_stops_is_joined_again(home, pages):
    with running_server() as server:
        port = server.port
        guest = Page(pages(), server, server.token)
        guest.window.wait_connected()
    guest.window.wait_connected(connected=False)
    guest.window.say("said meanwhile")
    with running_server(port=port):
        guest.window.wait_connected()
        guest.window.wait_for("said meanwhile")
