"""Durable throughput on one core, the event loop's lateness meanwhile, and the cost of a room with a long history.

Size 1: two seconds, a room of 30,000 entries, and generous bounds for a busy CI machine. Size 100: twenty seconds, a
room of 1,000,000, and the bounds of DESIGN 11.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bqserver.model import Stored, Submission
from bqserver.storage.sqlite.log import SqliteLog

from bqwidget.protocol import Send

from .load import stored
from .load.raw_websocket import frame, upgrade
from .load.server_process import server_process
from .load.sizes import SIZE, scaled, seconds

SENDERS, MAX_IN_FLIGHT = 64, 8
pytestmark = pytest.mark.alone
DURATION = scaled(2, 20)
FULL_SIZE = SIZE >= 100
MIN_ACKS_PER_SECOND = 8_000 if FULL_SIZE else 1_000
MAX_LATENESS_MS = 25 if FULL_SIZE else 200
LONG_ROOM = scaled(30_000, 1_000_000)
MAX_COST_RATIO = 1.2 if FULL_SIZE else 1.6
ACK_PREFIX = b'{"type":"ack"'
MEASURED_SERVER = (str(Path(__file__).with_name("load") / "measured_server.py"),)


class LoadSender(asyncio.Protocol):
    """A sender that keeps MAX_IN_FLIGHT messages unacknowledged and only counts acks. 64 of them in one room receive half
    a million frames a second, and the test must not be the bottleneck.
    """

    acked = 0

    def __init__(self, name: int, path: str, port: int) -> None:
        self._name, self._path, self._port = name, path, port
        self._sent = 0
        self._tail = b""
        self.joined = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(upgrade(self._port, self._path))

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self._tail = data[1 - len(ACK_PREFIX) :]
        if not self.joined.done() and b'"synced"' in data:
            self.joined.set_result(None)
        if acks := data.count(ACK_PREFIX):
            self.acked += acks
            self.send(acks)

    def send(self, count: int) -> None:
        frames = []
        for _ in range(count):
            self._sent += 1
            draft = {"type": "chat.send", "cid": str(self._sent), "user": f"u{self._name}", "text": "x" * 100}
            frames.append(frame(1, json.dumps(draft).encode()))
        self.transport.write(b"".join(frames))


async def acks_per_second(url: str, rooms: int) -> float:
    """Messages acknowledged per second over DURATION seconds, with SENDERS spread over ``rooms`` rooms."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    senders = []
    for number in range(SENDERS):
        path = f"/rooms/room-{rooms}-{number % rooms}"
        _, sender = await loop.create_connection(
            lambda number=number, path=path: LoadSender(number, path, address.port),
            address.hostname,
            address.port,
        )
        senders.append(sender)
    await asyncio.gather(*[sender.joined for sender in senders])
    began = loop.time()
    for sender in senders:
        sender.send(MAX_IN_FLIGHT)
    await asyncio.sleep(DURATION)
    acked, elapsed = sum(sender.acked for sender in senders), loop.time() - began
    for sender in senders:
        sender.transport.abort()
    await asyncio.sleep(0)
    return acked / elapsed


@contextlib.contextmanager
def one_core_for_the_server() -> Iterator[tuple[str, ...]]:
    """Yields a command prefix that pins the server to the last core, and keeps the test on the others."""
    if not (hasattr(os, "sched_getaffinity") and shutil.which("taskset")):
        yield ()  # the server's Python code uses one core anyway
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    try:
        yield ("taskset", "-c", str(cores[-1]))
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize("rooms", [1, SENDERS])
@pytest.mark.timeout(seconds(30))
def test_durable_messages_per_second_on_one_core(rooms: int, tmp_path: Path):
    with (
        one_core_for_the_server() as prefix,
        server_process(tmp_path / "log.sqlite", program=MEASURED_SERVER, prefix=prefix) as server,
    ):
        rate = asyncio.run(acks_per_second(server.url, rooms))
        code, output = server.stop()
        assert stored.count(tmp_path / "log.sqlite") >= rate * DURATION
    lateness = json.loads(output)
    print(
        f"\n{SENDERS} senders, {rooms} rooms: {rate:,.0f} acknowledged/s, loop lateness p99 {lateness['p99_ms']} ms of {lateness}"
    )
    assert code == 0
    assert rate >= MIN_ACKS_PER_SECOND
    assert lateness["p99_ms"] < MAX_LATENESS_MS


@pytest.mark.timeout(seconds(30))
def test_a_long_room_costs_no_more_than_a_short_one(tmp_path: Path):
    short, long = asyncio.run(measure_costs(tmp_path))
    for name, in_short, in_long in zip(("append", "last 50"), short, long, strict=True):
        print(f"\n{name}: {in_short * 1e6:.0f} µs in a room of 1,000, {in_long * 1e6:.0f} µs in one of {LONG_ROOM:,}")
        assert in_long <= MAX_COST_RATIO * in_short, name


async def measure_costs(folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds of an append and of reading the last 50, in a short and in a long room, measured alternately.

    Returns the first decile of a thousand each, to exclude the delays of a busy machine.
    """
    logs = [SqliteLog(folder / "short.sqlite"), SqliteLog(folder / "long.sqlite")]
    for log, size in zip(logs, (1_000, LONG_ROOM), strict=True):
        for start in range(0, size, 500):
            await log.append([submission(number) for number in range(start, start + 500)])
    appends: list[list[float]] = [[], []]
    reads: list[list[float]] = [[], []]
    for number in range(1_000):
        for which, log in enumerate(logs):
            began = time.perf_counter()
            [outcome] = await log.append([submission(10_000_000 + number)])
            appended = time.perf_counter()
            bodies = await log.messages("lobby", limit=50)
            reads[which].append(time.perf_counter() - appended)
            appends[which].append(appended - began)
            assert isinstance(outcome, Stored)
            assert len(bodies) == 50
    for log in logs:
        await log.close()
    short, long = ((first_decile(appends[which]), first_decile(reads[which])) for which in (0, 1))
    return short, long


def first_decile(times: list[float]) -> float:
    return sorted(times)[len(times) // 10]


def submission(number: int) -> Submission:
    return Submission("lobby", "ada", Send(cid=f"{number:x}-{hash(str(number)):x}"[:60], user="ada", text="x" * 100))
