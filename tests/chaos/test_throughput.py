"""Durable throughput on one core, how late the event loop is meanwhile, and what a long room costs.

Size 1: two seconds, a room of 30,000, and generous bounds, for a busy CI machine. Size 100: twenty seconds, a
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

SENDERS, WINDOW = 64, 8
pytestmark = pytest.mark.alone
LASTS = scaled(2, 20)
CLAIM = SIZE >= 100
ACKED = 8_000 if CLAIM else 1_000
LATE_MS = 25 if CLAIM else 200
LONG = scaled(30_000, 1_000_000)
DEARER = 1.2 if CLAIM else 1.6
ACK = b'{"type":"ack"'
MEASURED = (str(Path(__file__).with_name("load") / "measured_server.py"),)


class Pump(asyncio.Protocol):
    """A sender that keeps WINDOW messages on their way and only counts: 64 in one room hear half a million frames
    a second, and the test must not be what is measured.
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
        self._tail = data[1 - len(ACK) :]
        if not self.joined.done() and b'"synced"' in data:
            self.joined.set_result(None)
        if acks := data.count(ACK):
            self.acked += acks
            self.send(acks)

    def send(self, count: int) -> None:
        frames = []
        for _ in range(count):
            self._sent += 1
            draft = {"type": "chat.send", "cid": str(self._sent), "user": f"u{self._name}", "text": "x" * 100}
            frames.append(frame(1, json.dumps(draft).encode()))
        self.transport.write(b"".join(frames))


async def pumped(url: str, rooms: int) -> float:
    """Messages acknowledged per second, over LASTS seconds, to SENDERS in so many rooms."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    pumps = []
    for number in range(SENDERS):
        path = f"/rooms/room-{rooms}-{number % rooms}"
        _, pump = await loop.create_connection(
            lambda number=number, path=path: Pump(number, path, address.port), address.hostname, address.port
        )
        pumps.append(pump)
    await asyncio.gather(*[pump.joined for pump in pumps])
    began = loop.time()
    for pump in pumps:
        pump.send(WINDOW)
    await asyncio.sleep(LASTS)
    acked, took = sum(pump.acked for pump in pumps), loop.time() - began
    for pump in pumps:
        pump.transport.abort()
    await asyncio.sleep(0)
    return acked / took


@contextlib.contextmanager
def one_core_for_the_server() -> Iterator[tuple[str, ...]]:
    """The command that gives it the last one; the test keeps to the others meanwhile."""
    if not (hasattr(os, "sched_getaffinity") and shutil.which("taskset")):
        yield ()  # its Python code holds to one by itself
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    try:
        yield ("taskset", "-c", str(cores[-1]))
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize("rooms", [1, SENDERS])
@pytest.mark.timeout(seconds(30))
def test_durable_messages_a_second_on_one_core(rooms: int, tmp_path: Path):
    with (
        one_core_for_the_server() as prefix,
        server_process(tmp_path / "log.sqlite", program=MEASURED, prefix=prefix) as server,
    ):
        rate = asyncio.run(pumped(server.url, rooms))
        code, said = server.stop()
        assert stored.count(tmp_path / "log.sqlite") >= rate * LASTS
    late = json.loads(said)
    print(
        f"\n{SENDERS} senders, {rooms} rooms: {rate:,.0f} acknowledged/s, loop late p99 {late['p99_ms']} ms of {late}"
    )
    assert code == 0
    assert rate >= ACKED
    assert late["p99_ms"] < LATE_MS


@pytest.mark.timeout(seconds(30))
def test_a_long_room_costs_no_more_than_a_short_one(tmp_path: Path):
    short, long = asyncio.run(costs(tmp_path))
    for name, in_short, in_long in zip(("append", "last 50"), short, long, strict=True):
        print(
            f"\n{name}: {in_short * 1e6:.0f} µs in a room of 1,000, {in_long * 1e6:.0f} µs in one of {LONG:,}"
        )
        assert in_long <= DEARER * in_short, name


async def costs(folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds of an append and of `last 50`, in a short and in a long room, measured in turns.

    Of a thousand each, the tenth best: what a busy machine adds to some is none of the room's doing.
    """
    logs = [SqliteLog(folder / "short.sqlite"), SqliteLog(folder / "long.sqlite")]
    for log, size in zip(logs, (1_000, LONG), strict=True):
        for start in range(0, size, 500):
            await log.append([hi(number) for number in range(start, start + 500)])
    appends: list[list[float]] = [[], []]
    reads: list[list[float]] = [[], []]
    for number in range(1_000):
        for which, log in enumerate(logs):
            began = time.perf_counter()
            [outcome] = await log.append([hi(10_000_000 + number)])
            appended = time.perf_counter()
            bodies = await log.messages("lobby", limit=50)
            reads[which].append(time.perf_counter() - appended)
            appends[which].append(appended - began)
            assert isinstance(outcome, Stored)
            assert len(bodies) == 50
    for log in logs:
        await log.close()
    short, long = ((tenth(appends[which]), tenth(reads[which])) for which in (0, 1))
    return short, long


def tenth(took: list[float]) -> float:
    return sorted(took)[len(took) // 10]


def hi(number: int) -> Submission:
    return Submission(
        "lobby", "ada", Send(cid=f"{number:x}-{hash(str(number)):x}"[:60], user="ada", text="x" * 100)
    )
