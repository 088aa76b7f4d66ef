"""Errors of a real server as the page shows them, and whether the page then reconnects."""

from __future__ import annotations

from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.testing import RunningServer, running_server
from e2e.conftest import Window, expect
from support.eventually import eventually
from support.ws_client import request

pytestmark = pytest.mark.browser
RIGHTS = '["*"]\nada = "moderate"\n'


class Page:
    """The room's page, opened with an invite that the holder of ``token`` created."""

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
        self.window.set_name(user)

    def wait_status(self, text: str) -> None:
        self.window.status.filter(has_text=text).wait_for()

    def check_no_reconnection(self) -> None:
        """Check that no connection is attempted for a second; the first attempt would come after 250 ms."""
        attempts = len(self.sockets)
        self.page.wait_for_timeout(1_000)
        assert len(self.sockets) == attempts


@pytest.fixture
def server_with_people(home: Path):
    file = home / "data" / "tokens.json"
    people = {name: tokens.add_grant(file, name)[0] for name in ("ada", "bob")}
    (home / "data" / "rights.toml").write_text(RIGHTS)
    with running_server() as server:
        yield server, people, file


def count_members(server: RunningServer) -> int:
    rooms = request(server.url, "GET", "/rooms", Authorization=f"Bearer {server.token}").json
    return sum(room["members"] for room in rooms)


def moderate(server: RunningServer, ada: str, do: str, **more: object) -> None:
    bearer = {"Authorization": f"Bearer {ada}"}
    answer = request(server.url, "POST", "/rooms/lobby/moderation", {"do": do, **more}, **bearer)
    assert answer.status == 204


def test_a_used_invite_link_shows_an_error_and_no_room(server_with_people, pages):
    server, _, _ = server_with_people
    first = Page(pages(), server, server.token)
    first.window.wait_connected()
    second = pages()
    second.goto(first.url)
    second.get_by_role("alert").filter(has_text="was used or has expired: ask for a new one").wait_for()
    assert second.get_by_role("region", name="Chat room lobby").count() == 0
    assert second.context.cookies() == []


def test_a_browser_comes_in_by_the_servers_address_and_an_invite(server_with_people, pages):
    """A wrong code is answered at the box; a whole link leads to its room; then the address lists the rooms."""
    server, _, _ = server_with_people
    bearer = {"Authorization": f"Bearer {server.token}"}
    welcome = {"user": "eve", "text": "welcome"}
    assert request(server.url, "POST", "/rooms/team/messages", welcome, **bearer).status == 201
    code = request(server.url, "POST", "/invites", {}, **bearer).json["code"]
    page = pages()
    page.goto(server.url)
    box = page.get_by_role("textbox", name="Invite link or code")
    box.fill("wrong")
    box.press("Enter")
    page.get_by_role("alert").filter(has_text="was used or has expired").wait_for()
    expect(box).to_have_attribute("aria-invalid", "true")
    box.fill(f"{server.url}/rooms/team#invite={code}")
    page.get_by_role("button", name="Come in").click()
    page.get_by_role("region", name="Chat room team").get_by_text("welcome").wait_for()
    assert page.url == f"{server.url}/rooms/team"
    page.goto(server.url)
    page.get_by_role("navigation", name="Rooms").get_by_role("link", name="team").click()
    page.get_by_role("region", name="Chat room team").get_by_text("welcome").wait_for()


def test_revoking_a_token_ends_the_access_of_its_guests(server_with_people, pages):
    server, people, file = server_with_people
    guest = Page(pages(), server, people["bob"])
    guest.window.wait_connected()
    tokens.revoke_grants(file, "bob")
    guest.wait_status("Your access has ended: open a new invite link")
    guest.check_no_reconnection()


def test_a_room_closed_by_a_moderator_shows_it_and_keeps_the_draft(server_with_people, pages):
    server, people, _ = server_with_people
    guest = Page(pages(), server, server.token)
    guest.window.wait_connected()
    guest.window.region.get_by_role("textbox", name="Message").fill("not sent yet")
    moderate(server, people["ada"], "close")
    guest.wait_status("This room is closed")
    expect(guest.window.region.get_by_role("textbox", name="Message")).to_have_value("not sent yet")
    guest.check_no_reconnection()


def test_a_muted_user_sees_the_reason_and_can_retry_later(server_with_people, pages):
    server, people, _ = server_with_people
    guest = Page(pages(), server, server.token)
    guest.window.wait_connected()
    moderate(server, people["ada"], "mute", user="carol", minutes=5)
    guest.window.say("let me")
    failed = guest.window.region.get_by_text("a moderator has muted 'carol'")
    failed.wait_for()
    moderate(server, people["ada"], "unmute", user="carol")
    guest.window.region.get_by_role("button", name="Retry").click()
    guest.window.wait_for("let me")
    expect(failed).to_have_count(0)


def test_a_full_server_is_shown_and_joined_once_there_is_capacity(home, pages, monkeypatch):
    monkeypatch.setattr("bqserver.auth.admission.FULL_RETRY_INTERVAL", 60.0)
    with running_server(max_connections=1) as server:
        first = Page(pages(), server, server.token)
        first.window.wait_connected()
        waiting = pages()
        waiting.clock.install()
        second = Page(waiting, server, server.token, "eve")
        second.wait_status("The server is full")
        attempts = len(second.sockets)
        first.page.context.close()
        eventually(lambda: count_members(server) == 0, what="a free place")
        waiting.clock.fast_forward(61_000)
        second.window.wait_connected()
        assert len(second.sockets) == attempts + 1  # after the time given by the server, it joined at once


def test_a_restarted_server_is_joined_again(home, pages):
    with running_server() as server:
        port = server.port
        guest = Page(pages(), server, server.token)
        guest.window.wait_connected()
    guest.window.wait_connected(connected=False)
    guest.window.say("sent meanwhile")
    with running_server(port=port):
        guest.window.wait_connected()
        guest.window.wait_for("sent meanwhile")
