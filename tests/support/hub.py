"""A hub without sockets: peers on connections that record what they are given."""

from __future__ import annotations

import asyncio
import json

from bqserver.hub.catch_up import greet
from bqserver.hub.hub import Hub
from bqserver.hub.peer import Peer

from bqwidget.protocol import Send


class RecordingWire:
    """A wire that keeps what it was given; ``full`` plays a reader who has stopped reading."""

    def __init__(self, *, deflates: bool = False) -> None:
        self.deflates = deflates
        self.writes: list[bytes] = []
        self.closed: int | None = None
        self.full = False
        self.heard = 0.0
        self.straight = None

    def write(self, data: bytes) -> bool:
        if self.full or self.closed:
            return False
        self.writes.append(data)
        return True

    async def drain(self, data: bytes) -> bool:
        return self.write(data)

    def close(self, code: int, reason: str = "") -> None:
        self.closed = self.closed or code

    def abort(self) -> None:
        self.closed = 1006


def frames(data: bytes) -> list[dict]:
    """The JSON of the unmasked text frames in ``data`` (RFC 6455, 5.2)."""
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        found.append(json.loads(data[start : start + size]))
        data = data[start + size :]
    return found


async def join(peer: Peer) -> None:
    await greet(peer, None, None)
    await peer._task


async def joined(hub: Hub, room: str = "lobby", *, deflates: bool = False, **more) -> Peer:
    peer = Peer(hub, RecordingWire(deflates=deflates), room, address="test", **more)
    await join(peer)
    peer.wire.writes.clear()
    return peer


def draft(number: int, text: str = "") -> Send:
    return Send(cid=f"c{number}", user="ada", text=text or str(number))


async def settle() -> None:
    """Let the turn's append, fan-out and writes happen."""
    for _ in range(3):
        await asyncio.sleep(0)


def run(scenario) -> None:
    asyncio.run(scenario())
