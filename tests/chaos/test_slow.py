"""Slow readers: one in ten or twenty stops reading 8 kB messages. The latency of the others does not change, the
server's memory stays within its buffers, and a stalled reader is closed with 4008, rejoins, and misses nothing.

Size 1: 6 of 60, one turn without and with, and slack for a busy CI machine. Size 100: 10 of 200, ten turns.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from .load import stored
from .load.client import LoadClient
from .load.members import Entry, Reader
from .load.memory import rss
from .load.server_process import ServerProcess, server_process
from .load.sizes import SIZE, scaled, seconds

READERS, STALLED = (60, 6) if SIZE < 100 else (200, 10)
MESSAGES_PER_SECOND = 90
TEXT = "x" * 8_000
BUFFER_BYTES = 128 * 1024
TURNS = scaled(1, 10)
SECONDS_WITHOUT, SECONDS_DURING = 2.0, 4.5
"""Seconds of sending. The kernel buffers some 2.8 MB for a reader that has stopped, so the server closes its
connection near the end of ``SECONDS_DURING``; the reader then has five seconds to read up to the close frame.
"""
MAX_SLOWDOWN, SLACK_SECONDS = 1.5, (0.0 if SIZE >= 100 else 0.25)
MESSAGES_SENT = 2_500
"""Messages sent while the server's memory is measured, 20 MB in all."""
REPLAYS = 50
MAX_GROWTH_BYTES = 20 * 1024 * 1024
"""Growth allowed with stalled readers beyond that without: their buffers and the allocator's overhead. Without a
bound it would be STALLED times 20 MB, less the kernel's buffers: 170 MB.
"""

pytestmark = [
    pytest.mark.slow("floods many readers"),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc"),
]


class TimedReader(Reader):
    """Measures the latency of each message, whose text begins with the time it was sent."""

    def __init__(self, url: str, room: str, latencies: list[float]) -> None:
        super().__init__(url, room)
        self.latencies = latencies

    def _add(self, entry: Entry) -> None:
        super()._add(entry)
        self.latencies.append(time.perf_counter() - float(entry.text.partition(" ")[0]))


@pytest.mark.alone
@pytest.mark.timeout(seconds(120))
def test_stalled_readers_do_not_delay_the_others_and_miss_nothing(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    with server_process(path, f"--buffer={BUFFER_BYTES}") as server:
        without, stalled, readers, slow = asyncio.run(measure_latencies(server))
        assert server.stderr_output() == ""
    print(
        f"\nslow: p99 {without * 1000:.1f} ms without, {stalled * 1000:.1f} ms with {STALLED} of {READERS} stalled; "
        f"closed with 4008: {sum(4008 in one.close_codes for one in slow)}"
    )
    entries = stored.entries(path)
    assert len(entries) == 1 + TURNS * (SECONDS_WITHOUT + SECONDS_DURING) * MESSAGES_PER_SECOND
    for reader in (*readers, *slow):
        assert reader.entries == entries
    assert [one.close_codes for one in readers if one.close_codes != [None]] == []  # the others were not closed
    assert all(one.close_codes[:TURNS] == [4008] * TURNS for one in slow)
    assert stalled <= MAX_SLOWDOWN * without + SLACK_SECONDS


async def measure_latencies(server: ServerProcess) -> tuple[float, float, list[TimedReader], list[Reader]]:
    without: list[float] = []
    during: list[float] = []
    readers = [TimedReader(server.url, "lobby", without) for _ in range(READERS - STALLED)]
    slow = [Reader(server.url, "lobby") for _ in range(STALLED)]
    for one in slow:
        one.receive_buffer = 4_096
    running = [asyncio.create_task(member.run()) for member in (*readers, *slow)]
    sender = await LoadClient.join(server.url, "lobby", lambda _: None)
    sender.send(b'{"type":"chat.send","cid":"0","user":"ada","text":"%f"}' % time.perf_counter())
    await reached([*readers, *slow], 1)  # all have joined
    without.clear()
    sent = 1
    for _ in range(TURNS):
        for reader in readers:
            reader.latencies = without
        sent = await send(sender, sent, SECONDS_WITHOUT)
        await reached([*readers, *slow], sent)
        for one in slow:
            assert one.client is not None
            one.client.pause_reading()
        for reader in readers:
            reader.latencies = during
        sent = await send(sender, sent, SECONDS_DURING)
        await reached(readers, sent)
        for one in slow:
            assert one.client is not None
            one.client.resume_reading()
        await reached(slow, sent)
    for member in (*readers, *slow):
        member.stop()
    await asyncio.gather(*running)
    sender.close()
    await sender.closed.wait()
    return p99(without), p99(during), readers, slow


async def send(sender: LoadClient, sent: int, duration: float) -> int:
    """Send MESSAGES_PER_SECOND for ``duration`` seconds. Returns the newest seq."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(int(duration * MESSAGES_PER_SECOND)):
        await asyncio.sleep(max(0.0, began + number / MESSAGES_PER_SECOND - loop.time()))
        sent += 1
        text = f"{time.perf_counter():.6f} {TEXT}"
        sender.send(msgspec.json.encode({"type": "chat.send", "cid": str(sent), "user": "ada", "text": text}))
    return sent


async def reached(readers: list[TimedReader] | list[Reader], seq: int) -> None:
    await asyncio.gather(*[reader.reach(seq) for reader in readers])


def p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)]


@pytest.mark.timeout(seconds(120))
def test_stalled_readers_use_no_more_memory_than_their_buffers(tmp_path: Path):
    with server_process(tmp_path / "log.sqlite", f"--buffer={BUFFER_BYTES}") as server:
        without, during = asyncio.run(measure_growth(server))
    print(f"\nslow: the server grew by {without / 1e6:.1f} MB without, {during / 1e6:.1f} MB with {STALLED} stalled")
    assert during - without <= MAX_GROWTH_BYTES


async def measure_growth(server: ServerProcess) -> tuple[int, int]:
    """The server's memory growth in bytes by MESSAGES_SENT messages, without and with stalled readers."""
    reader = Reader(server.url, "lobby")
    running = asyncio.create_task(reader.run())
    sender = await LoadClient.join(server.url, "lobby", lambda _: None)
    grew = []
    stalled: list[LoadClient] = []
    for turn in range(2):
        before = rss(server.pid)
        for start in range(0, MESSAGES_SENT, 50):
            drafts = [
                {"type": "chat.send", "cid": f"{turn}-{start + number}", "user": "ada", "text": TEXT}
                for number in range(50)
            ]
            sender.send(*map(msgspec.json.encode, drafts))
            await reader.reach(turn * MESSAGES_SENT + start + 50)
        grew.append(rss(server.pid) - before)
        if not turn:
            for _ in range(STALLED):
                joined = asyncio.Event()
                client = await LoadClient.join(server.url, "lobby", lambda _, joined=joined: joined.set())
                await joined.wait()
                client.pause_reading()
                stalled.append(client)
    reader.stop()
    await running
    for client in (sender, *stalled):
        client.close()
        await client.closed.wait()
    return grew[0], grew[1]


@pytest.mark.timeout(seconds(120))
def test_many_concurrent_replays_use_little_memory(tmp_path: Path):
    """All join at once, request 6 MB each, and do not read it: the server holds only what it reads ahead for each."""
    with server_process(tmp_path / "log.sqlite") as server:
        grew = asyncio.run(replays(server))
        assert server.stderr_output() == ""
    print(f"\nslow: {REPLAYS} replays of 6 MB each grew the server by {grew / 1e6:.1f} MB")
    assert grew <= REPLAYS * 1024 * 1024


async def replays(server: ServerProcess) -> int:
    reader = Reader(server.url, "lobby")
    running = asyncio.create_task(reader.run())
    sender = await LoadClient.join(server.url, "lobby", lambda _: None)
    for number in range(400):
        draft = {"type": "chat.send", "cid": str(number), "user": "ada", "text": "x" * 15_000}
        sender.send(msgspec.json.encode(draft))
    await reader.reach(400)
    before = rss(server.pid)
    clients = []
    for _ in range(REPLAYS):
        joined = asyncio.Event()
        client = await LoadClient.join(server.url, "lobby", lambda _, joined=joined: joined.set(), "?after=0")
        await joined.wait()
        client.pause_reading()
        clients.append(client)
    await reached([reader], 400)
    grew = rss(server.pid) - before
    reader.stop()
    await running
    for client in (sender, *clients):
        client.close()
        await client.closed.wait()
    return grew
