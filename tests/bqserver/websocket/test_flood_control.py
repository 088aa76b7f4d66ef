"""One connection that sends without pause: it is slowed, then closed, and the others do not notice."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Self

import psutil
import pytest
from bqserver.hub.session import MAX_UNANSWERED
from bqserver.testing import running_server
from bqserver.websocket import connection, flood_control
from bqserver.websocket.flood_control import (
    BURST_FRAMES,
    FRAMES_PER_SECOND,
    MAX_THROTTLED_SECONDS,
    FloodControl,
)
from bqserver.websocket.turns import Turns
from chaos.load.raw_websocket import frame, join
from chaos.load.server_process import server_process
from support.ws_client import member, request
from websockets.exceptions import ConnectionClosed

TEXT, BINARY, PING, PONG = 1, 2, 9, 10
CLOSE_4029 = b"\x0f\xbd"


def test_a_burst_is_free_and_then_the_rate_counts() -> None:
    flood = FloodControl(0.0)
    assert flood.count(BURST_FRAMES, 0.0) == 0.0
    assert flood.count(FRAMES_PER_SECOND, 0.0) == 1.0
    assert flood.count(FRAMES_PER_SECOND, 1.0) == 1.0
    assert not flood.is_flood(1.0)


def test_a_connection_that_never_pauses_is_a_flood_and_a_pause_forgives_it() -> None:
    flood, now = FloodControl(0.0), 0.0
    flood.count(BURST_FRAMES, now)
    while now <= MAX_THROTTLED_SECONDS:
        now += flood.count(64, now)
    assert flood.is_flood(now)
    assert flood.count(1, now + 60) == 0.0
    assert not flood.is_flood(now + 60)


# ---- every kind of frame


def text(message: object) -> bytes:
    return frame(TEXT, json.dumps(message).encode())


KINDS = {
    "chat.ping": text({"type": "chat.ping"}),
    "echo": text({"type": "x"}),
    "typing": text({"type": "chat.typing", "user": "eve"}),
    "bad send": text({"type": "chat.send", "cid": "c", "user": "", "text": ""}),
    "edit of nothing": text({"type": "chat.edit", "cid": "c", "user": "eve", "target": 9_999, "text": "x"}),
    "append to nothing": text({"type": "chat.append", "target": 9_999, "offset": 0, "text": "x"}),
    "stop of nothing": text({"type": "chat.stop", "target": 9_999, "user": "eve"}),
    "the same send": text({"type": "chat.send", "cid": "c", "user": "eve", "text": "x"}),
    "not JSON": frame(TEXT, b"{"),
    "empty": frame(TEXT, b""),
    "ping": frame(PING, b""),
    "pong": frame(PONG, b""),
    "fragments": frame(TEXT, b"", first=0) + frame(0, b"x", first=0) * 10 + frame(0, b""),
}


def new_sends() -> Iterator[bytes]:
    """Messages that are all accepted."""
    for number in itertools.count():
        cids = range(1_000 * number, 1_000 * (number + 1))
        yield b"".join([text({"type": "chat.send", "cid": f"n{cid}", "user": "eve", "text": "x"}) for cid in cids])


class Flooder:
    """Sends ``blocks``, or one kind of frame, without pause, and reads all answers, on threads.

    ``stops``: it sends no more once the close frame has arrived, and waits for the end of the connection.
    """

    def __init__(self, url: str, blocks: bytes | Iterator[bytes], *, stops: bool = False) -> None:
        self.socket = join(url)
        self.socket.settimeout(60)
        self.received = b""
        self._blocks = itertools.repeat(blocks * (65536 // len(blocks))) if isinstance(blocks, bytes) else blocks
        self._stops = stops
        self._threads = [threading.Thread(target=run) for run in (self._send, self._read)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        try:
            while not (self._stops and self.is_closed):
                self.socket.sendall(next(self._blocks))
            if not self._stops:
                self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _read(self) -> None:
        try:
            while chunk := self.socket.recv(1 << 16):
                self.received = (self.received + chunk)[-4096:]
        except OSError:
            pass

    @property
    def is_closed(self) -> bool:
        """Whether the close frame has arrived, with its code."""
        return CLOSE_4029 in self.received[-64:]

    def wait_until_closed(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the server has closed it
            self.socket.shutdown(socket.SHUT_RDWR)
        self.wait_until_closed()
        self.socket.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood_control, "MAX_THROTTLED_SECONDS", 0.5)


@pytest.mark.slow("floods a server")
@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_of_any_kind_is_closed_with_a_code_that_arrives(
    kind: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server also ends the connection of a flooder that stops then, without waiting for it."""
    stops = kind != "echo"  # one that never stops
    if stops:
        monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 600)
    with running_server(open=True) as server, Flooder(server.url, KINDS[kind], stops=stops) as flooder:
        flooder.wait_until_closed()
    assert b'"type":"bye","code":4029' in flooder.received
    assert flooder.is_closed


def test_what_was_accepted_before_a_flood_is_acknowledged_first(home: Path) -> None:
    with running_server(open=True, rate_limit=20, rate_seconds=60) as server, member(server.url) as eve:
        eve.until("synced")
        with suppress(ConnectionClosed):  # the server may close it while this still sends
            for number in range(80):
                eve.say("x", cid=f"c{number}", user="eve")
        kinds = []
        while (found := eve.recv())["type"] != "bye":
            kinds.append(found["type"])
        assert kinds.count("ack") == 20
        assert found["code"] == 4029


# ---- the others


def test_messages_of_one_connection_do_not_hold_up_those_of_another(tmp_path: Path) -> None:
    """Nothing can be stored for a while, and one member sends on."""
    path = tmp_path / "log.sqlite"
    with (
        running_server(log=f"sqlite:{path}", open=True) as server,
        member(server.url) as eve,
        member(server.url) as ada,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        for one in (eve, ada):
            one.until("synced")
        other.execute("BEGIN IMMEDIATE")
        eve.socket.socket.sendall(next(new_sends()))
        for _ in range(50):  # each answer is at least one turn of the loop, in which 64 frames of eve are read
            ada.send({"type": "chat.ping"})
            ada.until("synced")
        ada.say("y", user="ada")
        ada.send({"type": "chat.ping"})
        ada.until("synced")
        other.execute("ROLLBACK")
        assert ada.until("ack")["seq"] == MAX_UNANSWERED + 1


def test_of_many_connections_one_has_a_turn_at_a_time() -> None:
    async def order() -> list[str]:
        turns, found = Turns(), []

        async def use(name: str) -> None:
            for _ in range(2):
                await turns.next()
                found.append(name)

        async def count_turns() -> None:
            while len(found) < 6:
                found.append("")
                await asyncio.sleep(0)
                assert len("".join(found[-2:])) <= 1

        cancelled = asyncio.create_task(use("x"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(use("a"), use("b"), count_turns())
        return [name for name in found if name]

    assert asyncio.run(order()) == ["a", "b", "a", "b"]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("kind", "count"),
    [("chat.ping", 1), ("echo", 1), ("ping", 1), ("bad send", 1), ("new sends", 1), ("chat.ping", 30)],
)
def test_the_others_are_answered_quickly_beside_flooders(kind: str, count: int, tmp_path: Path) -> None:
    """``GET /health``, in a process of its own, without and with flooders.

    What the server does before it answers is its processor time, which other programs hardly change: p99 of it.
    """

    with server_process(tmp_path / "log.sqlite") as server:
        process = psutil.Process(server.pid)

        def clocks() -> tuple[float, float]:
            used = process.cpu_times()
            return time.perf_counter(), used.user + used.system

        def milliseconds() -> tuple[float, float]:
            """The median of the time until the answer, and p99 of the server's part of it."""
            waited, worked = [], []
            for _ in range(300):
                began, before = clocks()
                assert request(server.url, "GET", "/health").status == 200
                ended, after = clocks()
                waited.append(ended - began)
                worked.append(after - before)
            return statistics.median(waited) * 1000, sorted(worked)[-3] * 1000

        quiet = milliseconds()
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(Flooder(server.url, KINDS.get(kind) or new_sends()))
            flooded = milliseconds()
    print(f"{count} x {kind}: {quiet} ms quiet, {flooded} ms flooded")
    assert max(flooded) < 50
