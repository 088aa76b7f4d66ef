"""Fuzzing with random frames and requests. Each gets its documented response; none crashes the server, causes a
traceback, hangs a connection, or leaks memory.

Size 1: 4,000 frames and 2,000 requests. Size 100: 100,000 and 50,000. A failure names its seed.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from bqserver.web.requests import MAX_UNUSED_BODY_BYTES

from .faults import fuzz_frames, fuzz_requests
from .load import stored
from .load.client import LoadClient
from .load.memory import rss
from .load.server_process import ServerProcess, server_process
from .load.sizes import scaled, seconds

pytestmark = pytest.mark.slow("tries random input")

FRAMES, REQUESTS = scaled(4_000, 100_000), scaled(2_000, 50_000)
ITEMS_PER_SESSION = 100
CONCURRENT_SESSIONS = 4
SESSION_TIMEOUT = 60.0
"""Seconds, which only end what hangs."""
MAX_GROWTH_BYTES = 48 * 1024 * 1024
"""Growth that is not a leak: half of it is the page cache of the log, which is bounded."""

LONG_REQUEST_BYTES = MAX_UNUSED_BODY_BYTES
"""A longer request may be answered before all of it has been sent."""

Session = Callable[[ServerProcess, int], Coroutine[Any, Any, Counter[str]]]


@pytest.mark.timeout(seconds(180))
@pytest.mark.parametrize("session", ["texts", "frames", "requests", "malformed"])
def test_random_input_gets_its_documented_response(session: str, tmp_path: Path):
    path = tmp_path / "log.sqlite"
    play: Session = {"texts": texts, "frames": frames, "requests": requests, "malformed": malformed}[session]
    sessions = (FRAMES if session in ("texts", "frames") else REQUESTS) // ITEMS_PER_SESSION // 2
    with server_process(path) as server:
        warm_up = range(10_000, 10_000 + max(CONCURRENT_SESSIONS, sessions // 10))
        asyncio.run(run_sessions(play, server, warm_up))
        before = rss(server.pid)
        counts = asyncio.run(run_sessions(play, server, range(sessions)))
        growth = rss(server.pid) - before
        asyncio.run(check_still_works(server))
        assert server.stderr_output() == ""
        assert server.stop()[0] == 0
    print(f"\nfuzz: {counts.total():,} {session}: {dict(counts.most_common())}; memory grew by {growth / 1e6:.1f} MB")
    assert counts.total() >= sessions * ITEMS_PER_SESSION
    assert growth <= MAX_GROWTH_BYTES
    assert stored.problems(path) == []


async def run_sessions(play: Session, server: ServerProcess, seeds: range) -> Counter[str]:
    """Run one session per seed, CONCURRENT_SESSIONS at a time. Returns the responses counted by kind."""
    counts: Counter[str] = Counter()
    remaining = iter(seeds)

    async def worker() -> None:
        for seed in remaining:
            try:
                counts.update(await asyncio.wait_for(play(server, seed), SESSION_TIMEOUT))
            except Exception as error:
                error.add_note(f"seed {seed}; the server's stderr: {server.stderr_output()}")
                raise

    await asyncio.gather(*[worker() for _ in range(CONCURRENT_SESSIONS)])
    return counts


async def check_still_works(server: ServerProcess) -> None:
    """Check that the server still acknowledges a message."""
    received: asyncio.Queue[bytes] = asyncio.Queue()
    client = await LoadClient.join(
        server.url, "after", lambda payloads: [received.put_nowait(one) for one in payloads] and None
    )
    client.send(b'{"type":"chat.send","cid":"1","user":"ada","text":"still here"}')
    async with asyncio.timeout(SESSION_TIMEOUT):
        while b'"ack"' not in await received.get():
            pass
    client.close()
    await client.closed.wait()


# ---- WebSocket


async def texts(server: ServerProcess, seed: int) -> Counter[str]:
    """Well-framed text messages: each is echoed, acknowledged or rejected, as expected."""
    rng = random.Random(seed)
    echoed: list[Any] = []
    answers: list[dict[str, Any]] = []
    received = asyncio.Event()

    def on_payloads(payloads: list[bytes]) -> None:
        for payload in payloads:
            answer = json.loads(payload)
            (echoed if answer["type"] == "echo" else answers).append(answer)
        received.set()

    client = await LoadClient.join(server.url, f"fuzz-{seed}", on_payloads)
    texts = [fuzz_frames.random_text(rng, number) for number in range(ITEMS_PER_SESSION)]
    for one in texts:
        client.send(one.text.encode())
    client.send(b'"the end"')
    expected = [one.value for one in texts if one.expected == "echo"]
    acks = {json.loads(one.text)["cid"] for one in texts if one.expected == "ack"}
    errors = sum(one.expected == "error" for one in texts)
    try:
        while client.close_code is None:
            done = {one["cid"] for one in answers if one["type"] == "ack"}
            refused = [one for one in answers if one["type"] == "error"]
            if echoed and echoed[-1]["message"] == "the end" and acks <= done and len(refused) >= errors:
                break
            received.clear()
            await received.wait()
        assert client.close_code is None, client.close_code
    finally:
        client.close()
        await client.closed.wait()
    got = [one["message"] for one in echoed[:-1]]
    assert [value for value in got if value in expected] == expected
    assert {one["code"] for one in refused} <= fuzz_frames.CODES, refused
    return Counter(
        {
            "echo": len(got),
            "ack": len(done),
            "error": len(refused),
            "other": ITEMS_PER_SESSION - len(got) - len(done) - len(refused),
        }
    )


async def frames(server: ServerProcess, seed: int) -> Counter[str]:
    """Random frames, mostly invalid: each closes the connection with its expected code, or leaves it open."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    for number in range(ITEMS_PER_SESSION):
        client = await LoadClient.join(server.url, f"fuzz-{seed}", lambda _: None)
        if number % 4:
            sent, code = fuzz_frames.random_frame(rng)
        else:
            sent, code = fuzz_frames.random_bytes(rng), None
        client.transport.write(sent)
        if code is None:
            client.half_close()
        await client.closed.wait()
        if code is not None and len(sent) < LONG_REQUEST_BYTES:
            assert client.close_code == code, (sent[:20], client.close_code, code)
        counts[str(client.close_code)] += 1
    return counts


# ---- HTTP


async def requests(server: ServerProcess, seed: int) -> Counter[str]:
    """Well-formed requests, one after the other on one connection: allowed statuses, and errors in JSON."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    reader: asyncio.StreamReader | None = None
    for _ in range(ITEMS_PER_SESSION):
        if reader is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        method, sent = fuzz_requests.request(rng, server.port)
        writer.write(sent)
        try:
            status, headers, body = await answer(reader, method)
        except (ConnectionError, asyncio.IncompleteReadError):
            # Refused by its headers, and closed during the upload.
            assert len(sent) > LONG_REQUEST_BYTES, sent
            counts["closed"] += 1
            writer.transport.abort()
            reader = None
            continue
        assert status in fuzz_requests.STATUSES, (status, sent[:500])
        if status >= 400 and body:
            error = json.loads(body)["error"]
            assert error["code"]
            assert error["message"]
            assert headers["content-type"] == "application/json"
        counts[str(status)] += 1
        # Without headers it is Tornado's own 400.
        closes = headers.get("connection", "").lower() == "close" or not headers
        if closes or status == 101:
            writer.transport.abort()
            reader = None
    if reader is not None:
        writer.transport.abort()
    return counts


async def answer(reader: asyncio.StreamReader, method: str) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.rstrip().split("\r\n")
    headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
    status = int(start.split(" ")[1])
    if status == 100:
        return await answer(reader, method)
    if method == "HEAD" or status in (204, 304):
        return status, headers, b""
    if headers.get("transfer-encoding") == "chunked":  # a page, which begins before its messages are read
        return status, headers, b"".join([chunk async for chunk in chunks(reader)])
    return status, headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while length := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(length + 2))[:-2]
    await reader.readexactly(2)


async def malformed(server: ServerProcess, seed: int) -> Counter[str]:
    """Malformed HTTP: an immediate response or close, and never a 500."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(ITEMS_PER_SESSION):
        sent = fuzz_requests.malformed(rng, server.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        writer.write_eof()
        try:
            output = await reader.read()
        except ConnectionError:
            output = b""
        writer.transport.abort()
        output = output.removeprefix(b"HTTP/1.1 100 (Continue)\r\n\r\n")
        status = output.split(b" ", 2)[1].decode() if output else "closed"
        assert status == "closed" or int(status) in fuzz_requests.STATUSES, (sent[:500], output[:500])
        counts[status] += 1
    return counts
