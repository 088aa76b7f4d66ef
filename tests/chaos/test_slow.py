"""Slow readers: one in ten or twenty stops reading 8 kB messages. The others don't feel it, the server's memory
keeps to its buffers, and the stalled hear 4008 when they read on and miss nothing.

Size 1: 6 of 60, one turn without and with, and slack for a busy CI machine. Size 100: 10 of 200, ten turns.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from .load import stored
from .load.client import Link
from .load.members import Entry, Reader
from .load.memory import rss
from .load.server_process import ServerProcess, server_process
from .load.sizes import SIZE, scaled, seconds

READERS, STALLED = (60, 6) if SIZE < 100 else (200, 10)
MESSAGES_A_SECOND = 90
TEXT = "x" * 8_000
BUFFER = 128 * 1024
TURNS = scaled(1, 10)
WITHOUT, DURING = 2.0, 4.5
"""Seconds of sending. The kernel takes some 2.8 MB for a reader that has stopped, so it is cut off near the end
of ``DURING``; it then has five seconds to read on and find the close frame.
"""
SLOWER, SLACK = 1.5, (0.0 if SIZE >= 100 else 0.25)
VOLUME = 2_500
"""Messages, 20 MB of them, against which the server's memory is watched."""
REPLAYS = 50
ALLOWED = 20 * 1024 * 1024
"""What it may grow more with stalled readers than without: their buffers, and what the allocator makes of them.
Kept without a bound, it would be STALLED times the volume less what the kernel takes: 170 MB.
"""

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is told by /proc"),
]


class TimedReader(Reader):
    """Notes how long each message took; its text begins with when it was sent."""

    def __init__(self, url: str, room: str, took: list[float]) -> None:
        super().__init__(url, room)
        self.took = took

    def _add(self, entry: Entry) -> None:
        super()._add(entry)
        self.took.append(time.perf_counter() - float(entry.text.partition(" ")[0]))


@pytest.mark.timeout(seconds(60))
def test_the_stalled_cost_the_others_nothing_and_miss_nothing(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    with server_process(path, f"--buffer={BUFFER}") as server:
        without, stalled, readers, slow = asyncio.run(story(server))
        assert server.complaints() == ""
    print(
        f"\nslow: p99 {without * 1000:.1f} ms without, {stalled * 1000:.1f} ms with {STALLED} of {READERS} stalled; "
        f"4008 heard by {sum(4008 in one.close_codes for one in slow)}"
    )
    entries = stored.entries(path)
    assert len(entries) == 1 + TURNS * (WITHOUT + DURING) * MESSAGES_A_SECOND
    for reader in (*readers, *slow):
        assert reader.entries == entries
    assert [one.close_codes for one in readers if one.close_codes != [None]] == []  # nobody else was cut
    assert all(one.close_codes[:TURNS] == [4008] * TURNS for one in slow)
    assert stalled <= SLOWER * without + SLACK


async def story(server: ServerProcess) -> tuple[float, float, list[TimedReader], list[Reader]]:
    without: list[float] = []
    during: list[float] = []
    readers = [TimedReader(server.url, "lobby", without) for _ in range(READERS - STALLED)]
    slow = [Reader(server.url, "lobby") for _ in range(STALLED)]
    for one in slow:
        one.receive_buffer = 4_096
    running = [asyncio.create_task(member.run()) for member in (*readers, *slow)]
    sender = await Link.join(server.url, "lobby", lambda _: None)
    sender.send(b'{"type":"chat.send","cid":"0","user":"ada","text":"%f"}' % time.perf_counter())
    await reached([*readers, *slow], 1)  # everyone is there
    without.clear()
    sent = 1
    for _ in range(TURNS):
        for reader in readers:
            reader.took = without
        sent = await send(sender, sent, WITHOUT)
        await reached([*readers, *slow], sent)
        for one in slow:
            assert one.link is not None
            one.link.pause()
        for reader in readers:
            reader.took = during
        sent = await send(sender, sent, DURING)
        await reached(readers, sent)
        for one in slow:
            assert one.link is not None
            one.link.go_on()
        await reached(slow, sent)
    for member in (*readers, *slow):
        member.stop()
    await asyncio.gather(*running)
    sender.close()
    await sender.lost.wait()
    return p99(without), p99(during), readers, slow


async def send(sender: Link, sent: int, lasts: float) -> int:
    """MESSAGES_A_SECOND for so many seconds. Returns the newest seq."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(int(lasts * MESSAGES_A_SECOND)):
        await asyncio.sleep(max(0.0, began + number / MESSAGES_A_SECOND - loop.time()))
        sent += 1
        text = f"{time.perf_counter():.6f} {TEXT}"
        sender.send(msgspec.json.encode({"type": "chat.send", "cid": str(sent), "user": "ada", "text": text}))
    return sent


async def reached(readers: list[TimedReader] | list[Reader], seq: int) -> None:
    await asyncio.gather(*[reader.reach(seq) for reader in readers])


def p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


@pytest.mark.timeout(seconds(60))
def test_the_stalled_hold_no_more_memory_than_their_buffers(tmp_path: Path):
    with server_process(tmp_path / "log.sqlite", f"--buffer={BUFFER}") as server:
        without, during = asyncio.run(volumes(server))
    print(
        f"\nslow: the server grew by {without / 1e6:.1f} MB without, {during / 1e6:.1f} MB with {STALLED} stalled"
    )
    assert during - without <= ALLOWED


async def volumes(server: ServerProcess) -> tuple[int, int]:
    """How much the server grows by VOLUME messages, without and with stalled readers."""
    reader = Reader(server.url, "lobby")
    running = asyncio.create_task(reader.run())
    sender = await Link.join(server.url, "lobby", lambda _: None)
    grown = []
    stalled: list[Link] = []
    for turn in range(2):
        before = rss(server.pid)
        for start in range(0, VOLUME, 50):
            drafts = [
                {"type": "chat.send", "cid": f"{turn}-{start + number}", "user": "ada", "text": TEXT}
                for number in range(50)
            ]
            sender.send(*map(msgspec.json.encode, drafts))
            await reader.reach(turn * VOLUME + start + 50)
        grown.append(rss(server.pid) - before)
        if not turn:
            for _ in range(STALLED):
                joined = asyncio.Event()
                link = await Link.join(server.url, "lobby", lambda _, joined=joined: joined.set())
                await joined.wait()
                link.pause()
                stalled.append(link)
    reader.stop()
    await running
    for link in (sender, *stalled):
        link.close()
        await link.lost.wait()
    return grown[0], grown[1]


@pytest.mark.timeout(seconds(60))
def test_many_replays_at_once_hold_little_memory(tmp_path: Path):
    """All come back at once, ask for 6 MB each, and don't read it: what is read ahead for each is all there is."""
    with server_process(tmp_path / "log.sqlite") as server:
        grown = asyncio.run(replays(server))
        assert server.complaints() == ""
    print(f"\nslow: {REPLAYS} replays of 6 MB each grew the server by {grown / 1e6:.1f} MB")
    assert grown <= REPLAYS * 1024 * 1024


async def replays(server: ServerProcess) -> int:
    reader = Reader(server.url, "lobby")
    running = asyncio.create_task(reader.run())
    sender = await Link.join(server.url, "lobby", lambda _: None)
    for number in range(400):
        draft = {"type": "chat.send", "cid": str(number), "user": "ada", "text": "x" * 15_000}
        sender.send(msgspec.json.encode(draft))
    await reader.reach(400)
    before = rss(server.pid)
    links = []
    for _ in range(REPLAYS):
        greeted = asyncio.Event()
        link = await Link.join(server.url, "lobby", lambda _, greeted=greeted: greeted.set(), "?after=0")
        await greeted.wait()
        link.pause()
        links.append(link)
    await reached([reader], 400)
    grown = rss(server.pid) - before
    reader.stop()
    await running
    for link in (sender, *links):
        link.close()
        await link.lost.wait()
    return grown
