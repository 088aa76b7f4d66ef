"""Every way in for a draft asks for the author's rights again after a wait: for attachments, or for the body."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bqserver.auth import tokens
from bqserver.auth.gateway import HEADER_NAME, Forwarded, ForwardedMember, forwarded_header
from bqserver.storage.attachments import MemoryAttachments
from bqserver.testing import RunningServer, running_server
from support.eventually import eventually
from support.pictures import png
from support.ws_client import TIMEOUT, Answer, member, request
from websockets.exceptions import ConnectionClosed

Headers = dict[str, str]


class Lookup:
    """A look-up of attachments that waits until ``resume``."""

    def __init__(self) -> None:
        self._began, self._resumed, self.ended = threading.Event(), threading.Event(), threading.Event()

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
        found = await reference(store, room, hashes)
        held.ended.set()
        return found

    monkeypatch.setattr(MemoryAttachments, "reference", waiting)
    yield held
    held.resume()


class Stage:
    """A server with the room of ada, who moderates, and eve, who writes; ``doors``: how eve's requests reach it."""

    def __init__(self, server: RunningServer, home: Path, ada: Headers, eve: Headers) -> None:
        self.server = server
        self._home = home
        self._ada = ada
        key = json.loads((home / "server.gateway").read_text())["key"]
        forwarded = forwarded_header(key, Forwarded(member=ForwardedMember("eve")))
        self.doors: dict[str, Headers] = {
            "direct": eve,
            "handlers": {**eve, "X-Request-Id": "1"},  # a header that the fast path does not know
            "front door": {HEADER_NAME: forwarded},
        }

    def upload(self) -> dict[str, object]:
        headers = {"Content_Type": "image/png", **self.doors["direct"]}
        answer = request(self.server.url, "POST", "/rooms/lobby/parts", png(), **headers)
        assert answer.status == 201
        return answer.json

    def change(self, what: str) -> None:
        """Mute eve, close the room, or revoke eve's token; in effect when this returns."""
        if what == "revoke":
            tokens.revoke_grants(self._home / "data" / "tokens.json", "eve")
            refused = lambda: request(self.server.url, "GET", "/rooms", **self.doors["direct"]).status == 401  # noqa: E731
            eventually(refused, what="the revocation to take effect")
        else:
            order = {"do": what, "user": "eve"} if what == "mute" else {"do": what}
            assert request(self.server.url, "POST", "/rooms/lobby/moderation", order, **self._ada).status == 204

    def messages(self) -> list[dict[str, object]]:
        return request(self.server.url, "GET", "/rooms/lobby/messages", **self._ada).json


@pytest.fixture
def stage(home: Path) -> Iterator[Stage]:
    path = home / "data" / "tokens.json"
    ada, eve = ({"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("ada", "eve"))
    path.with_name("rights.toml").write_text('["*"]\nada = "moderate"\n')
    with running_server(runtime_file=str(home / "server.json")) as server:
        yield Stage(server, home, ada, eve)


class SlowPost:
    """A POST whose head has been sent; ``finish`` sends the body."""

    def __init__(self, server: RunningServer, headers: Headers, body: dict[str, object]) -> None:
        address = urlsplit(server.url)
        self._body = json.dumps(body).encode()
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)
        self._connection.putrequest("POST", "/rooms/lobby/messages")
        sent = {"Content-Type": "application/json", "Content-Length": str(len(self._body)), **headers}
        for name, value in sent.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(self._body[:1])

    def finish(self) -> Answer:
        self._connection.send(self._body[1:])
        try:
            return Answer(self._connection.getresponse())
        finally:
            self._connection.close()


CODES = {"mute": (403, "muted"), "close": (403, "room_closed"), "revoke": (401, "token_revoked")}
WAYS = [
    *(("direct", what) for what in CODES),
    *(("front door", what) for what in ("mute", "close")),  # Jupyter decides who is logged in there
]


@pytest.mark.parametrize(("door", "what"), WAYS)
def test_a_post_is_rejected_if_rights_change_while_it_waits(door: str, what: str, stage: Stage, lookup: Lookup) -> None:
    body = {"user": "eve", "text": "look", "parts": [stage.upload()]}
    with ThreadPoolExecutor() as pool:
        posting = pool.submit(request, stage.server.url, "POST", "/rooms/lobby/messages", body, **stage.doors[door])
        lookup.wait_until_it_began()
        stage.change(what)
        lookup.resume()
        answer = posting.result(30)
    assert (answer.status, answer.code) == CODES[what]
    assert stage.messages() == []


@pytest.mark.parametrize(("door", "what"), WAYS)
def test_a_frame_is_rejected_if_rights_change_while_it_waits(
    door: str, what: str, stage: Stage, lookup: Lookup
) -> None:
    part = stage.upload()
    with member(stage.server.url, **stage.doors[door]) as eve:
        eve.until("synced")
        eve.say("look", user="eve", parts=[part])
        lookup.wait_until_it_began()
        stage.change(what)
        lookup.resume()
        if what == "mute":
            assert eve.until("error")["code"] == "muted"
        else:  # the connection itself is closed
            with pytest.raises(ConnectionClosed) as closed:
                eve.until("ack")
            assert closed.value.rcvd.code == {"close": 4404, "revoke": 4401}[what]
        assert lookup.ended.wait(30)
    assert stage.messages() == []


@pytest.mark.parametrize("door", ["direct", "handlers", "front door"])
@pytest.mark.parametrize("what", ["mute", "close"])
def test_a_post_is_rejected_if_rights_change_while_its_body_arrives(door: str, what: str, stage: Stage) -> None:
    posting = SlowPost(stage.server, stage.doors[door], {"user": "eve", "text": "hi"})
    stage.change(what)
    answer = posting.finish()
    assert (answer.status, answer.code) == CODES[what]
    assert stage.messages() == []


@pytest.mark.parametrize("door", ["direct", "front door"])
@pytest.mark.parametrize("way", ["post", "frame"])
def test_a_draft_whose_author_keeps_their_rights_is_stored(way: str, door: str, stage: Stage, lookup: Lookup) -> None:
    part, headers = stage.upload(), stage.doors[door]
    lookup.resume()
    if way == "post":
        body = {"user": "eve", "text": "look", "parts": [part]}
        assert request(stage.server.url, "POST", "/rooms/lobby/messages", body, **headers).status == 201
    else:
        with member(stage.server.url, **headers) as eve:
            eve.say("look", user="eve", parts=[part])
            eve.until("ack")
    (message,) = stage.messages()
    assert (message["user"], message["verified"], message["parts"][0]["sha256"]) == ("eve", True, part["sha256"])
