"""Attachments over the comm: the rate, and the chunks, in a real kernel with this test as the browser."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from support.pictures import HTML, png
from support.widget_browser import Browser, bob, browser, kernel, server
from support.ws_client import request

from bqwidget import Room
from bqwidget._widget.chunked_transfer import BURST_BYTES, BYTES_PER_SECOND, CHUNK_SIZE, TokenBucket
from bqwidget._widget.comm_server import CommServer
from bqwidget._widget.commands import UploadCommand

__all__ = ["bob", "browser", "kernel", "server"]  # fixtures

WINDOW, ALLOWED = 3.0, 3_000_000
"""Jupyter Server's ``rate_limit_window`` in seconds, and the bytes that it passes in one."""


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, CHUNK_SIZE)), max_size=60))
def test_the_rate_stays_below_jupyters_limit(asked):
    bucket, now, sent = TokenBucket(), 100.0, []
    for pause, size in asked:
        now += pause
        sent.append((now + bucket.wait(size, now), size))
    for start, _ in sent:  # each window that starts with a chunk
        assert (
            sum(size for at, size in sent if start <= at < start + WINDOW)
            <= BURST_BYTES + BYTES_PER_SECOND * WINDOW + CHUNK_SIZE
        )
    assert BURST_BYTES + BYTES_PER_SECOND * WINDOW + CHUNK_SIZE < ALLOWED


def test_a_small_picture_is_not_delayed():
    pace = TokenBucket()
    assert [pace.wait(CHUNK_SIZE, 100.0) for _ in range(3)] == [0.0] * 3
    assert sum(pace.wait(CHUNK_SIZE, 100.0) > 0 for _ in range(3)) == 3


def test_a_chunk_keeps_the_bytes_of_its_buffer():
    envelopes = CommServer(list)
    put = {"client": "b", "do": "put", "upload": "u", "mime": "image/png", "size": 4}
    assert envelopes.receive({**put, "k": 2, "at": 2}, b"cd") == []
    first, second = envelopes.receive({**put, "k": 1, "at": 0}, b"ab")
    assert isinstance(first, UploadCommand)
    assert (first.data, second.data) == (b"ab", b"cd")
    assert envelopes.receive({**put, "k": 3, "size": "many"}, b"ef") == []
    refused = [one for one in envelopes.drain() if "error" in one]
    assert [(one["reply"], one["error"]["code"]) for one in refused] == [(3, "bad_field")]


# ---- in a kernel


def command(browser: Browser, do: str, data: bytes | None = None, **more: object) -> dict:
    """The reply to one command, with its buffer as ``data``."""
    browser.k += 1
    k, client = browser.k, browser.kernel.client
    content = {"client": browser.name, "k": k, "do": do, **more}
    message = client.session.msg(
        "comm_msg", {"comm_id": browser.comm_id, "data": {"method": "custom", "content": content}}
    )
    buffers = [] if data is None else [data]
    client.session.send(client.shell_channel.socket, message, buffers=buffers)
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == browser.comm_id:
            content = message["content"]["data"].get("content", {})
            if content.get("reply") == k and content.get("to") == browser.name:
                return {**content, "data": b"".join(bytes(buffer) for buffer in message["buffers"])}


def put(browser: Browser, data: bytes, upload: str, mime: str = "image/png", step: int = 300_000) -> list[dict]:
    chunks = range(0, len(data), step)
    fields = {"upload": upload, "mime": mime, "size": len(data)}
    return [command(browser, "put", data[at : at + step], at=at, **fields) for at in chunks]


def test_a_picture_from_the_window_is_transferred_in_chunks_both_ways(browser: Browser, bob: Room) -> None:
    picture = png(30, 20, noise=700_000)
    answers = put(browser, picture, "u1")
    assert [answer.get("stored") for answer in answers[:-1]] == [None, None]
    part = answers[-1]["stored"]
    assert (part["mime"], part["size"], part["width"]) == ("image/png", len(picture), 30)
    frame = {
        "type": "chat.send",
        "cid": "c1",
        "user": "ada",
        "text": "",
        "parts": [{**part, "name": "p.png"}],
    }
    browser.command("frame", frame=frame)
    sent = bob.wait_for(lambda message: message.parts, timeout=20, after=0)
    assert bob.part(sent.parts[0]) == picture
    got = b""
    while len(got) < len(picture):
        answer = command(browser, "part", sha256=part["sha256"], at=len(got))
        assert answer["part"] == {"size": len(picture), "at": len(got)}
        assert 0 < len(answer["data"]) <= CHUNK_SIZE
        got += answer["data"]
    assert got == picture


def test_transfer_errors_are_sent_to_the_window(browser: Browser) -> None:
    assert command(browser, "part", sha256="0" * 64)["error"]["code"] == "no_part"
    assert command(browser, "part", sha256="../../etc")["error"]["code"] == "bad_field"
    assert put(browser, HTML, "u1")[-1]["error"]["code"] == "bad_part"
    fields = {"upload": "u2", "mime": "image/png", "size": 20}
    assert command(browser, "put", png()[:10], at=0, **fields)["stored"] is None
    assert command(browser, "put", png()[:10], at=5, **fields)["error"]["code"] == "lost"
    big = command(browser, "put", b"x", upload="u3", mime="image/png", size=11 * 1024 * 1024, at=0)
    assert big["error"]["code"] == "too_big"
    assert "11,534,336 bytes; the limit is 10,485,760" in big["error"]["message"]


def test_a_picture_from_a_cell_reveals_no_token(browser: Browser, server, bob: Room) -> None:
    code = f"import json\nsent = widget.room.send(bytes.fromhex({png().hex()!r}), name='p.png')\nprint(sent)"
    printed = browser.kernel.run(code)["printed"]
    assert "parts=['p.png']" in printed
    assert json.dumps(server.token) not in json.dumps(browser.envelopes())
    sha256 = bob.wait_for(lambda message: message.parts, timeout=20, after=0).parts[0].sha256
    assert request(server.url, "GET", f"/rooms/lobby/parts/{sha256}").status == 401
