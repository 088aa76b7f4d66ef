"""Fuzz: random frames and requests. Each gets the answer that is documented for it; none ends the server, leaves
a traceback, hangs a connection, or grows its memory.

Size 1: 4,000 frames and 2,000 requests. Size 100: 100,000 and 50,000. A failure names its seed.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from .faults import fuzz_frames, fuzz_requests
from .load import stored
from .load.client import Link
from .load.memory import rss
from .load.server_process import ServerProcess, server_process
from .load.sizes import scaled, seconds

FRAMES, REQUESTS = scaled(4_000, 100_000), scaled(2_000, 50_000)
EACH = 100
AT_ONCE = 4
PATIENCE = 20.0
GROWTH = 48 * 1024 * 1024
"""Bytes of growth that are still no leak: half of it is the page cache of the log, which has a size of its own."""

LONG = 64 * 1024
"""Bytes of a request that may not all be sent before its answer comes."""

Session = Callable[[ServerProcess, int], Coroutine[Any, Any, Counter[str]]]


@pytest.mark.timeout(seconds(60))
@pytest.mark.parametrize("session", ["texts", "frames", "requests", "garbage"])
def test_every_strange_thing_has_its_answer(session: str, tmp_path: Path):
    path = tmp_path / "log.sqlite"
    story: Session = {"texts": texts, "frames": frames, "requests": requests, "garbage": garbage}[session]
    sessions = (FRAMES if session in ("texts", "frames") else REQUESTS) // EACH // 2
    with server_process(path) as server:
        asyncio.run(at_once(story, server, range(10_000, 10_000 + max(AT_ONCE, sessions // 10))))  # warm up
        before = rss(server.pid)
        counts = asyncio.run(at_once(story, server, range(sessions)))
        grown = rss(server.pid) - before
        asyncio.run(is_well(server))
        assert server.complaints() == ""
        assert server.stop()[0] == 0
    print(
        f"\nfuzz: {counts.total():,} {session}: {dict(counts.most_common())}; grown by {grown / 1e6:.1f} MB"
    )
    assert counts.total() >= sessions * EACH
    assert grown <= GROWTH
    assert stored.wrong(path) == []


async def at_once(story: Session, server: ServerProcess, seeds: range) -> Counter[str]:
    """Play the sessions, some at a time. What each answered, counted."""
    counts: Counter[str] = Counter()
    left = iter(seeds)

    async def some() -> None:
        for seed in left:
            try:
                counts.update(await asyncio.wait_for(story(server, seed), PATIENCE))
            except Exception as error:
                error.add_note(f"seed {seed}; the server said: {server.complaints()}")
                raise

    await asyncio.gather(*[some() for _ in range(AT_ONCE)])
    return counts


async def is_well(server: ServerProcess) -> None:
    """It still does its work."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    link = await Link.join(
        server.url, "after", lambda payloads: [heard.put_nowait(one) for one in payloads] and None
    )
    link.send(b'{"type":"chat.send","cid":"1","user":"ada","text":"still here"}')
    async with asyncio.timeout(PATIENCE):
        while b'"ack"' not in await heard.get():
            pass
    link.close()
    await link.lost.wait()


# ---- WebSocket


async def texts(server: ServerProcess, seed: int) -> Counter[str]:
    """Well-framed texts: each is echoed, acknowledged or refused, as it deserves."""
    chance = random.Random(seed)
    echoed: list[Any] = []
    answers: list[dict[str, Any]] = []
    news = asyncio.Event()

    def heard(payloads: list[bytes]) -> None:
        for payload in payloads:
            answer = json.loads(payload)
            (echoed if answer["type"] == "echo" else answers).append(answer)
        news.set()

    link = await Link.join(server.url, f"fuzz-{seed}", heard)
    said = [fuzz_frames.said(chance, number) for number in range(EACH)]
    for one in said:
        link.send(one.text.encode())
    link.send(b'"the end"')
    wanted = [one.value for one in said if one.answer == "echo"]
    acks = {json.loads(one.text)["cid"] for one in said if one.answer == "ack"}
    errors = sum(one.answer == "error" for one in said)
    try:
        while link.close_code is None:
            done = {one["cid"] for one in answers if one["type"] == "ack"}
            refused = [one for one in answers if one["type"] == "error"]
            if echoed and echoed[-1]["message"] == "the end" and acks <= done and len(refused) >= errors:
                break
            news.clear()
            await news.wait()
        assert link.close_code is None, link.close_code
    finally:
        link.close()
        await link.lost.wait()
    got = [one["message"] for one in echoed[:-1]]
    assert [value for value in got if value in wanted] == wanted
    assert {one["code"] for one in refused} <= fuzz_frames.CODES, refused
    return Counter(
        {
            "echo": len(got),
            "ack": len(done),
            "error": len(refused),
            "other": EACH - len(got) - len(done) - len(refused),
        }
    )


async def frames(server: ServerProcess, seed: int) -> Counter[str]:
    """Frames that no client sends: each ends the connection with the code it deserves, or doesn't."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    for number in range(EACH):
        link = await Link.join(server.url, f"fuzz-{seed}", lambda _: None)
        if number % 4:
            sent, code = fuzz_frames.raw_frame(chance)
        else:
            sent, code = fuzz_frames.noise(chance), None
        link.transport.write(sent)
        if code is None:
            link.finish()
        await link.lost.wait()
        if code is not None and len(sent) < LONG:
            assert link.close_code == code, (sent[:20], link.close_code, code)
        counts[str(link.close_code)] += 1
    return counts


# ---- HTTP


async def requests(server: ServerProcess, seed: int) -> Counter[str]:
    """Requests in good form, one after the other on one connection: a known status, and errors in JSON."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    reader: asyncio.StreamReader | None = None
    for _ in range(EACH):
        if reader is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        method, sent = fuzz_requests.request(chance, server.port)
        writer.write(sent)
        try:
            status, headers, body = await answer(reader, method)
        except (ConnectionError, asyncio.IncompleteReadError):
            assert len(sent) > LONG, sent  # refused by its head, and shut while we were still sending
            counts["hang-up"] += 1
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
        shuts = headers.get("connection", "").lower() == "close" or not headers  # a bare 400 is Tornado's own
        if shuts or status == 101:
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
    length = 0 if method == "HEAD" or status in (204, 304) else int(headers.get("content-length", 0))
    return status, headers, await reader.readexactly(length)


async def garbage(server: ServerProcess, seed: int) -> Counter[str]:
    """What is hardly HTTP: an answer or a hang-up, at once, and never a 500."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(EACH):
        sent = fuzz_requests.garbage(chance, server.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        writer.write_eof()
        try:
            said = await reader.read()
        except ConnectionError:
            said = b""
        writer.transport.abort()
        said = said.removeprefix(b"HTTP/1.1 100 (Continue)\r\n\r\n")
        status = said.split(b" ", 2)[1].decode() if said else "hang-up"
        assert status == "hang-up" or int(status) in fuzz_requests.STATUSES, (sent[:500], said[:500])
        counts[status] += 1
    return counts
