"""Attachments on the wire: uploaded, referenced by a message and downloaded again, over a real server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.fairness.budget import Budget
from bqserver.fairness.pace import BodyClock
from bqserver.storage.attachments import AttachmentStore, StoredAttachment
from bqserver.storage.sqlite.attachments import (
    SqliteAttachments,
)
from bqserver.testing import running_server
from bqserver.web import attachments
from support import raw_http
from support.eventually import eventually
from support.pictures import HTML, PICTURES, POLYGLOT, SCRIPTED_SVG, png
from support.raw_http import connect, read_to_end
from support.ws_client import Answer, member, request

from bqwidget.protocol import TABLE, Part

PNG = png()


@pytest.fixture(params=["memory", "sqlite", "nats"])
def server(request, log_traits):
    with running_server(**log_traits(request.param), open=True) as running:
        yield running


def put(
    server, data: bytes = PNG, mime: str = "image/png", room: str = "lobby", query: str = "", **headers: str
) -> Answer:
    return request(server.url, "POST", f"/rooms/{room}/parts{query}", data, Content_Type=mime, **headers)


def fetch(server, sha256: str, room: str = "lobby", **headers: str) -> Answer:
    return request(server.url, "GET", f"/rooms/{room}/parts/{sha256}", **headers)


def post(server, *parts: dict[str, object], room: str = "lobby", text: str = "", **more: object) -> Answer:
    body = {"user": "ada", "text": text, "parts": parts, **more}
    return request(server.url, "POST", f"/rooms/{room}/messages", body)


# ---- put and fetched


@pytest.mark.parametrize("mime", PICTURES)
def test_an_upload_is_downloaded_unchanged(server, mime):
    data = PICTURES[mime]
    answer = put(server, data, mime, query="?name=the+loss.png")
    assert answer.status == 201
    part = answer.json
    assert part["sha256"] == hashlib.sha256(data).hexdigest()
    assert (part["mime"], part["size"], part["name"]) == (mime, len(data), "the loss.png")
    assert ("width" in part) == mime.startswith("image/")
    assert put(server, data, mime).json == {key: part[key] for key in part if key != "name"}
    got = fetch(server, part["sha256"])
    assert (got.status, got.body, got.headers["Content-Type"]) == (200, data, mime)


@pytest.mark.parametrize(("data", "mime"), [(SCRIPTED_SVG, "image/svg+xml"), (POLYGLOT, "image/gif")])
def test_a_download_is_harmless_when_opened(server, data, mime):
    headers = fetch(server, put(server, data, mime).json["sha256"]).headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"].startswith("attachment; filename=")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_download_is_cached_privately(server):
    sha256 = put(server).json["sha256"]
    headers = fetch(server, sha256).headers
    assert "private" in headers["Cache-Control"]
    assert "immutable" in headers["Cache-Control"]
    assert {"Authorization", "Cookie"} <= set(headers["Vary"].replace(",", " ").split())
    again = fetch(server, sha256, If_None_Match=headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_a_hash_gives_no_access_in_another_room(server):
    sha256 = put(server, room="mine").json["sha256"]
    assert fetch(server, sha256, "mine").status == 200
    assert (fetch(server, sha256, "yours").status, fetch(server, sha256, "yours").code) == (404, "no_part")
    assert post(server, {"mime": "image/png", "sha256": sha256, "size": len(PNG)}, room="yours").code == "no_part"
    for odd in ("0" * 64, "x", sha256.upper(), "..%2f..%2flog.sqlite"):
        assert fetch(server, odd, "mine").status == 404


# ---- what is refused


@pytest.mark.parametrize(
    ("data", "mime", "status", "code"),
    [
        (HTML, "image/png", 400, "bad_part"),
        (HTML, "text/html", 415, "bad_type"),
        (b"{}", "application/json", 415, "bad_type"),
        (PNG, "application/octet-stream", 415, "bad_type"),
        (b"%PDF-", "application/pdf", 415, "bad_type"),
        (PNG, "image/jpeg", 400, "bad_part"),
        (b"<b>", TABLE, 400, "bad_part"),
        (b"", "image/png", 400, "empty"),
    ],
)
def test_only_genuine_pictures_and_tables_are_accepted(server, data, mime, status, code):
    answer = put(server, data, mime)
    assert (answer.status, answer.code) == (status, code)
    assert fetch(server, hashlib.sha256(data).hexdigest()).status == 404


def test_the_length_of_a_name_is_limited(server):
    evil = "..%2F..%2Fetc%2F%E2%80%AEgnp.exe%3Cimg%20src=x%3E"
    assert put(server, query=f"?name={evil}").json["name"] == "../../etc/\u202egnp.exe<img src=x>"
    for query in ("?name=" + "n" * 256, "?name="):
        assert put(server, query=query).status == 400


def test_an_upload_that_is_too_long_is_rejected_with_the_limit():
    with running_server(open=True, part_limit=1_000) as server:
        with member(server.url) as one:
            assert one.until("hello")["limits"]["part"] == 1_000
        most, more = png(noise=1_000 - len(png(noise=1)) + 1), png(noise=1_000)
        assert len(most) == 1_000
        assert put(server, most).status == 201
        refused = put(server, more)
        assert (refused.status, refused.code) == (413, "too_big")
        assert f"{len(more):,} bytes; the limit is 1,000" in refused.json["error"]["message"]


def test_a_huge_body_is_rejected_before_it_is_sent(server):
    address = server.url.partition("//")[2]
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.putrequest("POST", "/rooms/lobby/parts")
        connection.putheader("Content-Type", "image/png")
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()
        assert Answer(connection.getresponse()).code == "too_big"


def test_a_body_without_a_length_is_rejected(server):
    address = server.url.partition("//")[2]
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.putrequest("POST", "/rooms/lobby/parts")
        connection.putheader("Content-Type", "image/png")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        assert Answer(connection.getresponse()).code == "bad_length"


def test_uploads_that_only_announce_their_length_hold_nothing(server):
    """Seven announce 10 MB and send a byte; counted are the bytes that came."""
    waiting = [announced(server, "parts", "image/png", 10 * 1024 * 1024) for _ in range(7)]
    try:
        for connection in waiting:
            connection.send(b"x")
        stored = put(server, png(noise=9 * 1024 * 1024))
        assert stored.status == 201
        assert len(fetch(server, stored.json["sha256"]).body) == stored.json["size"]
    finally:
        for connection in waiting:
            connection.close()


def test_uploads_beyond_their_share_are_rejected_and_read_to_their_end(server, monkeypatch):
    monkeypatch.setattr("bqserver.fairness.budget.Budget.acquire", lambda *_: False)
    refused = put(server, png(noise=9 * 1024 * 1024))
    assert (refused.status, refused.code) == (503, "overload")
    assert refused.headers["Retry-After"]
    monkeypatch.undo()
    assert put(server).status == 201


def test_a_class_behind_one_address_gets_every_picture(monkeypatch):
    """Sixty requests at once, for ten times what may be held: they wait, because a browser repeats no picture."""
    monkeypatch.setattr("bqserver.fairness.shares.MAX_HELD_BYTES", 6_000_000)
    data = png(noise=1_000_000)
    with running_server(open=True, part_limit=2_000_000) as server, ThreadPoolExecutor(60) as readers:
        sha256 = put(server, data).json["sha256"]
        answers = list(readers.map(lambda _: fetch(server, sha256), range(60)))
        assert [(answer.status, answer.body == data) for answer in answers] == [(200, True)] * 60


def test_downloads_leave_room_for_the_page(monkeypatch):
    monkeypatch.setattr("bqserver.fairness.shares.MAX_HELD_BYTES", 2_000_000)
    with running_server(open=True, part_limit=1_000_000) as server:
        sha256 = put(server, png(noise=990_000)).json["sha256"]  # no second one fits, nor a piece of a file
        with ExitStack() as stack:
            unread, page = (stack.enter_context(closing(connect(server.url, receive_buffer=1 << 16))) for _ in range(2))
            unread.sendall(f"GET /rooms/lobby/parts/{sha256} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert unread.recv(1)
            page.sendall(b"GET /static/page.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert request(server.url, "GET", "/health").status == 200
            _, _, script = read_to_end(page).partition(b"\r\n\r\n")
        assert script == request(server.url, "GET", "/static/page.js").body


def test_a_download_that_is_not_read_is_closed(server, monkeypatch):
    data = png(noise=9_000_000)
    over, release = threading.Semaphore(0), Budget.release

    def released(budget: Budget, member: str, size: int) -> None:
        release(budget, member, size)
        if size == len(data):
            over.release()

    monkeypatch.setattr(Budget, "release", released)
    sha256 = put(server, data).json["sha256"]
    assert over.acquire(timeout=30)
    monkeypatch.setattr("bqserver.fairness.pace.PIECE_TIMEOUT", 0.1)
    # Not less: below a loopback segment (64 kB) TCP sends only window probes, more and more rarely.
    with closing(connect(server.url, receive_buffer=1 << 17)) as slow:
        slow.send(f"GET /rooms/lobby/parts/{sha256} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert over.acquire(timeout=30)  # not before: reading makes room for the rest
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := slow.recv(1 << 16):
                got += len(chunk)
    assert 0 < got < len(data)
    monkeypatch.undo()
    assert fetch(server, sha256).body == data


@pytest.mark.parametrize(("path", "mime"), [("parts", "image/png"), ("messages", "application/json")])
def test_a_body_that_stops_coming_is_ended_with_an_error(server, monkeypatch, path, mime):
    monkeypatch.setattr("bqserver.fairness.pace.PIECE_TIMEOUT", 0.1)
    with closing(announced(server, path, mime, 100_000)) as stalled:
        stalled.send(b"{")
        answer = Answer(stalled.getresponse())
        assert (answer.status, answer.code, answer.headers["Connection"]) == (408, "too_slow", "close")


def test_an_upload_that_keeps_coming_may_take_long(server, monkeypatch):
    """In each period there comes a piece, and a little more."""
    data = png(noise=100_000)
    monkeypatch.setattr("bqserver.fairness.pace.PIECE_TIMEOUT", 600.0)  # this test ends the periods itself
    begin, clocks = BodyClock.__init__, []

    def began(clock: BodyClock, on_late: Callable[[], None]) -> None:
        begin(clock, on_late)
        clocks.append((clock, asyncio.get_running_loop()))

    async def end_period(clock: BodyClock) -> None:
        clock._check()

    monkeypatch.setattr(BodyClock, "__init__", began)
    with closing(announced(server, "parts", "image/png", len(data))) as steady:
        for sent in (40_000, 80_000):
            steady.send(data[sent - 40_000 : sent])
            [(clock, loop)] = eventually(lambda: clocks, what="the head")
            eventually(lambda clock=clock, sent=sent: clock._received == sent, what="a piece")
            asyncio.run_coroutine_threadsafe(end_period(clock), loop).result(30)
        steady.send(data[80_000:])
        assert Answer(steady.getresponse()).status == 201


def test_a_body_that_has_come_is_not_too_slow_while_it_is_stored(server, monkeypatch):
    monkeypatch.setattr("bqserver.fairness.pace.PIECE_TIMEOUT", 0.5)
    inspecting, go_on = threading.Event(), threading.Event()
    inspect = attachments.inspect

    def slowly(mime: str, data: bytes) -> Part:
        inspecting.set()
        assert go_on.wait(30)
        return inspect(mime, data)

    monkeypatch.setattr(attachments, "inspect", slowly)
    with closing(connect(server.url)) as whole:
        whole.sendall(raw_http.post(PNG, "/rooms/lobby/parts", Content_Type="image/png"))  # at once
        assert inspecting.wait(30)
        with closing(announced(server, "parts", "image/png", len(PNG))) as stalled:
            assert Answer(stalled.getresponse()).status == 408  # so the time for a piece has passed
        go_on.set()
        assert raw_http.answers(whole, 1)[0].status == 201


def announced(server, path: str, mime: str, length: int | str, **headers: str) -> http.client.HTTPConnection:
    """A request of which only the head has been sent."""
    connection = http.client.HTTPConnection(server.url.partition("//")[2], timeout=30)
    connection.putrequest("POST", f"/rooms/lobby/{path}")
    for name, value in {"Content-Type": mime, "Content-Length": str(length), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


@pytest.mark.parametrize(("path", "mime"), [("parts", "image/png"), ("messages", "application/json")])
def test_a_length_of_a_thousand_digits_is_rejected(server, path, mime):
    with closing(announced(server, path, mime, "9" * 5_000)) as connection:
        answer = Answer(connection.getresponse())
        assert (answer.status, answer.code) == (400, "bad_length")


@pytest.mark.parametrize(
    ("path", "mime", "body"),
    [("parts", "image/png", PNG), ("messages", "application/json", b'{"user":"ada","text":"late"}')],
)
def test_an_upload_is_rejected_if_rights_end_while_it_is_sent(tmp_path, path, mime, body):
    named = tmp_path / "tokens.json"
    bearer = {"Authorization": f"Bearer {tokens.add_grant(named, 'ada')[0]}"}
    with (
        running_server(named_tokens=str(named)) as server,
        closing(announced(server, path, mime, len(body), **bearer)) as connection,
    ):
        connection.send(body[:9])
        assert fetch(server, "0" * 64, **bearer).status == 404
        tokens.revoke_grants(named, "ada")
        eventually(lambda: fetch(server, "0" * 64, **bearer).status == 401, what="the revocation")
        connection.send(body[9:])
        assert Answer(connection.getresponse()).code == "token_revoked"


def test_uploads_count_against_the_rate_limit():
    with running_server(open=True, rate_limit=3, rate_seconds=60) as server:
        answers = [put(server, png(color=(1, 1, number))) for number in range(4)]
        assert [answer.status for answer in answers] == [201, 201, 201, 429]
        assert answers[-1].code == "rate"
        assert int(answers[-1].headers["Retry-After"]) > 1
        assert post(server, text="hi").status == 429


def test_a_server_can_accept_no_attachments():
    with running_server(open=True, part_limit=0) as server:
        assert (put(server).status, put(server).code) == (404, "no_parts")


def test_muted_and_read_only_members_can_not_upload(tmp_path):
    named = tmp_path / "tokens.json"
    writer, reader = tokens.add_grant(named, "ada")[0], tokens.add_grant(named, "bob", read_only=True)[0]
    (tmp_path / "rights.toml").write_text('["*"]\nmod = "moderate"\n')
    moderator = tokens.add_grant(named, "mod")[0]
    with running_server(named_tokens=str(named), rights=str(tmp_path / "rights.toml")) as server:
        bearer = {name: f"Bearer {name_token}" for name, name_token in [("w", writer), ("r", reader), ("m", moderator)]}
        sha256 = put(server, Authorization=bearer["w"]).json["sha256"]
        assert put(server, Authorization=bearer["r"]).code == "read_only"
        assert fetch(server, sha256, Authorization=bearer["r"]).status == 200
        assert fetch(server, sha256).status == 401
        mute = {"do": "mute", "user": "ada"}
        request(server.url, "POST", "/rooms/lobby/moderation", mute, Authorization=bearer["m"])
        assert put(server, Authorization=bearer["w"]).code == "muted"


def test_a_member_without_access_can_neither_upload_nor_download(tmp_path):
    named = tmp_path / "tokens.json"
    insider = f"Bearer {tokens.add_grant(named, 'ada', rooms=['inner'])[0]}"
    outsider = f"Bearer {tokens.add_grant(named, 'eve', rooms=['outer'])[0]}"
    with running_server(named_tokens=str(named)) as server:
        sha256 = put(server, room="inner", Authorization=insider).json["sha256"]
        assert fetch(server, sha256, "inner", Authorization=insider).status == 200
        for answer in (
            fetch(server, sha256, "inner", Authorization=outsider),
            put(server, room="inner", Authorization=outsider),
        ):
            assert (answer.status, answer.code) == (403, "forbidden")


# ---- messages that name them


def test_a_message_carries_its_attachments(server):
    part = put(server, query="?name=loss.png").json
    with member(server.url) as one:
        one.until("synced")
        entry = post(server, part, text="look").json
        assert entry["parts"] == [part]
        assert one.until("message")["entry"] == entry
        one.say("", cid="c2", parts=[{"mime": "image/png", "sha256": part["sha256"], "size": part["size"]}])
        assert one.until("message")["entry"]["parts"] == [{key: part[key] for key in part if key != "name"}]
    assert request(server.url, "GET", "/messages").json[0] == entry


def test_a_message_describes_an_attachment_as_the_server_stored_it(server):
    part = put(server).json
    claims = {**part, "width": 1, "height": 99_999}
    assert post(server, claims).json["parts"] == [part]
    for wrong in ({"mime": "image/svg+xml"}, {"size": 1}):
        answer = post(server, {**part, **wrong})
        assert (answer.status, answer.code) == (400, "bad_part")
        assert f"image/png with {len(PNG)} bytes" in answer.json["error"]["message"]


def test_an_attachment_that_was_not_uploaded_is_rejected(server):
    part = {"mime": "image/png", "sha256": "0" * 64, "size": 9, "name": "x.png"}
    answer = post(server, part)
    assert (answer.status, answer.code) == (404, "no_part")
    assert "upload it first, to /rooms/lobby/parts" in answer.json["error"]["message"]
    with member(server.url) as one:
        one.say("", parts=[part])
        error = one.until("error")
        assert (error["code"], error["cid"]) == ("no_part", "c1")
        one.say("", cid="c2", parts=[{**part, "name": "n" * 256}])
        assert one.until("error")["code"] == "too_long"
        one.say("", cid="c3", parts=[part] * 21)
        assert one.until("error")["code"] == "too_long"


def test_messages_of_one_sender_stay_in_order(server):
    """Looking up an attachment takes a moment; the sender's next message waits for it."""
    parts = [put(server, png(color=(0, 0, number))).json for number in range(5)]
    with member(server.url) as one:
        one.until("synced")
        for number, part in enumerate(parts):
            one.say("", cid=f"p{number}", parts=[part])
            one.say(f"text {number}", cid=f"t{number}")
        cids = [one.until("message")["entry"]["cid"] for _ in range(10)]
    assert cids == [f"{kind}{number}" for number in range(5) for kind in "pt"]


def test_the_same_message_again_is_the_same_message(server):
    part = put(server).json
    first, again = post(server, part, cid="one"), post(server, {**part, "width": 7}, cid="one")
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json


# ---- stored next to the log


@contextlib.asynccontextmanager
async def store_of(server) -> AsyncIterator[AttachmentStore]:
    """The server's attachment store, opened again as another process would."""
    log = server.app.log_url
    if log.startswith("nats:"):
        from bqserver.jetstream.address import parse_address
        from bqserver.jetstream.client import NatsClient
        from bqserver.storage.nats.attachments import NatsAttachments

        client = NatsClient(parse_address(log))
        await client.open()
        yield NatsAttachments(client, 1)
        await client.close()
    else:
        store = SqliteAttachments(Path(log.partition(":")[2]))
        yield store
        await store.close()


def kept_by(server, room: str, sha256: str) -> StoredAttachment | None:
    async def look() -> StoredAttachment | None:
        async with store_of(server) as store:
            return await store.get(room, sha256)

    return asyncio.run(look())


@pytest.mark.parametrize("kind", ["sqlite", "nats"])
def test_attachments_survive_a_restart(log_traits, kind):
    traits = log_traits(kind)
    with running_server(**traits, open=True) as server:
        part = put(server).json
        post(server, part)
    with running_server(**traits, open=True) as server:
        assert fetch(server, part["sha256"]).body == PNG
        assert post(server, part).status == 201


@pytest.mark.parametrize("kind", ["sqlite", "nats"])
def test_an_upload_is_stored_before_it_is_answered(log_traits, kind):
    """Another reader of the store sees the upload while the server runs."""
    with running_server(**log_traits(kind), open=True) as server:
        sha256 = put(server, room="a").json["sha256"]
        found = kept_by(server, "a", sha256)
        assert found is not None
        assert (found.part.sha256, found.body) == (sha256, PNG)
        assert kept_by(server, "b", sha256) is None
        put(server, room="b")
        assert kept_by(server, "b", sha256) == found
