"""A hub without sockets: its peers have connections that record what is written."""

from __future__ import annotations

import asyncio
import json
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from bqserver.hub.catch_up import start_join
from bqserver.hub.hub import Hub
from bqserver.hub.peer import Peer

from bqwidget.protocol import Send

Result = TypeVar("Result")


class RecordingConnection:
    """Records the bytes written to it. ``full``: simulates a client that has stopped reading."""

    def __init__(self, *, compresses: bool = False) -> None:
        self.compresses = compresses
        self.writes: list[bytes] = []
        self.closed: int | None = None
        self.full = False
        self.last_received_at = math.inf  # never silent
        self.direct_send = None
        self.on_buffered = lambda: None

    def write(self, data: bytes) -> bool:
        if self.full or self.closed:
            return False
        self.writes.append(data)
        return True

    async def drain(self, data: bytes) -> bool:
        return self.write(data)

    def close(self, code: int, reason: str = "", *, discard_input: bool = False) -> None:
        self.closed = self.closed or code

    def abort(self) -> None:
        self.closed = 1006


TEXT_FRAME = 0x81


def frames(data: bytes) -> list[dict]:
    """The JSON of the unmasked text frames in ``data`` (RFC 6455, 5.2)."""
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if data[0] == TEXT_FRAME:  # else a ping
            found.append(json.loads(data[start : start + size]))
        data = data[start + size :]
    return found


def new_peer(hub: Hub, connection, room: str = "lobby", **more) -> Peer:
    return Peer(connection, room, address="test", buffer=hub.buffer, audit=hub.audit, **more)


async def join(hub: Hub, peer: Peer) -> Peer:
    """Enter the room, and wait until hello and the replay are written."""
    await start_join(hub, hub.enter(peer), peer, None, None)
    await peer.catch_up_task
    return peer


async def joined(hub: Hub, room: str = "lobby", *, compresses: bool = False, **more) -> Peer:
    peer = await join(hub, new_peer(hub, RecordingConnection(compresses=compresses), room, **more))
    peer.connection.writes.clear()
    return peer


def draft(number: int, text: str = "") -> Send:
    return Send(cid=f"c{number}", user="ada", text=text or str(number))


async def settle() -> None:
    """Let the turn's append, fan-out and writes happen."""
    for _ in range(3):
        await asyncio.sleep(0)


def run(scenario) -> None:
    asyncio.run(scenario())


# ---- virtual time: timers pass at once, in their order


class _Selector(selectors.SelectSelector):
    """Waits in virtual time. Nothing but timers may wake the loop: no sockets, no threads."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen: no timer is set"
        self.now += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_in_virtual_time(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
