"""How a member is brought up to date: its hello, and what it has missed, in chunks that wait for it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bqserver.model import Bounds
from bqserver.websocket.connection import text_frame
from bqwidget.protocol import MAX_REPLAY, Gap, Hello, encode

from . import presence
from .frames import entry_frame

if TYPE_CHECKING:
    from .peer import Peer

CHUNK, FEW = 64 * 1024, 50
"""Bytes of a replay, more or less, that are read and written at once; and entries, as long as nothing is known
of their length.
"""


async def greet(peer: Peer, after: int | None, epoch: str | None) -> None:
    """Say hello, and let the peer join from there. Raises StorageError."""
    hub = peer.hub
    bounds = await hub.log.bounds(peer.room_name, min_seq=after or 0)
    peer.room.seq = max(peer.room.seq, bounds.seq)
    known = _is_known(peer, bounds, after, epoch)
    hello = Hello(
        room=peer.room_name,
        epoch=hub.log.epoch,
        seq=bounds.seq,
        oldest=bounds.oldest,
        resumed=known,
        limits=hub.limits,
        heartbeat_ms=int(hub.heartbeat * 1000),
        user=peer.principal,
        now=int(time.time() * 1000),
    )
    peer.wire.write(text_frame(encode(hello)))
    peer.start(partial(_join, peer, bounds, after, known=known))


async def resume(peer: Peer, after: int | None, epoch: str | None) -> None:
    """Bring it up to date again. Raises StorageError."""
    bounds = await peer.hub.log.bounds(peer.room_name, min_seq=after or 0)
    await _replay(peer, bounds, after, known=_is_known(peer, bounds, after, epoch))


async def _join(peer: Peer, bounds: Bounds, after: int | None, *, known: bool) -> None:
    await _replay(peer, bounds, after, known=known)
    if peer.live and presence.members(peer.room):
        peer.write(presence.frame(peer.room))


def _is_known(peer: Peer, bounds: Bounds, after: int | None, epoch: str | None) -> bool:
    """Whether ``after`` is a place in this log."""
    return after is not None and 0 <= after <= bounds.seq and epoch in (None, peer.hub.log.epoch)


async def _replay(peer: Peer, bounds: Bounds, after: int | None, *, known: bool) -> None:
    """Send what is missing up to ``bounds.seq``, then what the peer kept meanwhile."""
    if after is not None and not known:
        _gap(peer, 0, bounds.seq, "epoch")
    elif after is not None and after < bounds.seq:
        if after < bounds.trimmed:
            _gap(peer, after, bounds.trimmed, "trimmed")
            after = bounds.trimmed
        if not await _send_entries(peer, after, bounds.seq):
            return
    peer.go_live(bounds.seq)


async def _send_entries(peer: Peer, after: int, upto: int) -> bool:
    """A few at a time, each taken by the peer before the next are read: a thousand that come back at once
    hold that many few in memory, and not all they have missed. False: the connection is over.
    """
    log, room = peer.hub.log, peer.room_name
    if await log.count(room, after=after, upto=upto, limit=MAX_REPLAY + 1) > MAX_REPLAY:
        _gap(peer, after, upto, "long")
        return True
    few = FEW
    while entries := await log.entries(room, after=after, upto=upto, limit=few):
        data = b"".join([entry_frame(entry) for entry in entries])
        if not await peer.wire.drain(data):
            return False
        few = max(1, min(MAX_REPLAY, CHUNK * len(entries) // len(data)))
        after = entries[-1].seq
    return True


def _gap(peer: Peer, start: int, stop: int, reason: str) -> None:
    gap = msgspec.convert({"from": start, "to": stop, "reason": reason}, Gap)
    peer.wire.write(text_frame(encode(gap)))
