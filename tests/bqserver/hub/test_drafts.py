"""Every way in for a draft asks for the author's rights again after it has waited for attachments."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.storage.attachments import MemoryAttachments
from bqserver.testing import RunningServer, running_server
from support.eventually import eventually
from support.pictures import png
from support.ws_client import Answer, member, request
from websockets.exceptions import ConnectionClosed

Headers = dict[str, str]


class Lookup:
    """A look-up of attachments that waits until ``resume``."""

    def __init__(self) -> None:
        self._began, self._resumed = threading.Event(), threading.Event()

    async def wait(self) -> None:
        self._began.set()
        await asyncio.get_running_loop().run_in_executor(None, self._resumed.wait)

    def wait_until_it_began(self) -> None:
        assert self._began.wait(30)

    def resume(self) -> None:
        self._resumed.set()


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookup]:
    held = Lookup()
    reference = MemoryAttachments.reference

    async def waiting(store: MemoryAttachments, room: str, hashes: list[str]):
        await held.wait()
        return await reference(store, room, hashes)

    monkeypatch.setattr(MemoryAttachments, "reference", waiting)
    yield held
    held.resume()


@pytest.fixture
def people(home: Path) -> dict[str, Headers]:
    """Bearer headers of ada, who moderates, and of eve, who writes."""
    path = home / "data" / "tokens.json"
    found = {name: {"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("ada", "eve")}
    path.with_name("rights.toml").write_text('["*"]\nada = "moderate"\n')
    return found


@pytest.fixture
def server(people: dict[str, Headers]) -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


def upload(server: RunningServer, headers: Headers) -> dict[str, object]:
    answer = request(server.url, "POST", "/rooms/lobby/parts", png(), Content_Type="image/png", **headers)
    assert answer.status == 201
    return answer.json


def moderate(server: RunningServer, headers: Headers, **body: object) -> None:
    assert request(server.url, "POST", "/rooms/lobby/moderation", body, **headers).status == 204


def revoke(server: RunningServer, headers: Headers, home: Path) -> None:
    """Revoke eve's token, and wait until the server has read the file."""
    tokens.revoke_grants(home / "data" / "tokens.json", "eve")
    refused = lambda: request(server.url, "GET", "/rooms", **headers).status == 401  # noqa: E731
    eventually(refused, what="the revocation to take effect")


def messages(server: RunningServer, headers: Headers) -> list[dict[str, object]]:
    return request(server.url, "GET", "/rooms/lobby/messages", **headers).json


CHANGES = ["mute", "close", "revoke"]
CODES = {"mute": (403, "muted"), "close": (403, "room_closed"), "revoke": (401, "token_revoked")}


def change(what: str, server: RunningServer, people: dict[str, Headers], home: Path) -> None:
    match what:
        case "mute":
            moderate(server, people["ada"], do="mute", user="eve")
        case "close":
            moderate(server, people["ada"], do="close")
        case "revoke":
            revoke(server, people["eve"], home)


@pytest.mark.parametrize("what", CHANGES)
def test_a_post_is_rejected_if_rights_change_while_it_waits(what, server, people, lookup, home):
    part = upload(server, people["eve"])

    def post() -> Answer:
        body = {"user": "eve", "text": "look", "parts": [part]}
        return request(server.url, "POST", "/rooms/lobby/messages", body, **people["eve"])

    with ThreadPoolExecutor() as pool:
        posting = pool.submit(post)
        lookup.wait_until_it_began()
        change(what, server, people, home)
        lookup.resume()
        answer = posting.result(30)
    assert (answer.status, answer.code) == CODES[what]
    assert messages(server, people["ada"]) == []


@pytest.mark.parametrize("what", CHANGES)
def test_a_frame_is_rejected_if_rights_change_while_it_waits(what, server, people, lookup, home):
    part = upload(server, people["eve"])
    with member(server.url, **people["eve"]) as eve:
        eve.until("synced")
        eve.say("look", user="eve", parts=[part])
        lookup.wait_until_it_began()
        change(what, server, people, home)
        lookup.resume()
        if what == "mute":
            assert eve.until("error")["code"] == "muted"
        else:  # the connection itself is closed
            with pytest.raises(ConnectionClosed) as closed:
                eve.until("ack")
            assert closed.value.rcvd.code == {"close": 4404, "revoke": 4401}[what]
    assert messages(server, people["ada"]) == []


@pytest.mark.parametrize("way", ["post", "frame"])
def test_a_draft_whose_author_keeps_their_rights_is_stored(way, server, people, lookup):
    part = upload(server, people["eve"])
    lookup.resume()
    if way == "post":
        body = {"user": "eve", "text": "look", "parts": [part]}
        assert request(server.url, "POST", "/rooms/lobby/messages", body, **people["eve"]).status == 201
    else:
        with member(server.url, **people["eve"]) as eve:
            eve.say("look", user="eve", parts=[part])
            eve.until("ack")
    (message,) = messages(server, people["ada"])
    assert (message["user"], message["parts"][0]["sha256"]) == ("eve", part["sha256"])
