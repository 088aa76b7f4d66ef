"""Brings a peer up to date: its hello, and the entries that it has missed, in chunks that wait for its socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from bqserver.clock import steady_time_ms
from bqserver.errors import ServerStopping, StorageError
from bqserver.model import Bounds, Role
from bqserver.websocket.framing import text_frame
from bqwidget.protocol import MAX_REPLAY, Gap, Hello, encode

from .frames import entry_frame
from .hub import Hub
from .live.variants import plain_replay
from .peer import Peer
from .presence import next_announcement
from .room import ActiveRoom

REPLAY_CHUNK_BYTES = 64 * 1024
"""About how many bytes of a replay are read and written at once."""
FIRST_CHUNK_ENTRIES = 50
"""Entries of the first chunk, while their length is unknown."""

_log = logging.getLogger("bqserver.peer")


def start_join(hub: Hub, room: ActiveRoom, peer: Peer, after: int | None, epoch: str | None) -> asyncio.Task[None]:
    """Send hello, and then what the peer has missed after ``after``. The task ends when hello is written."""
    return _start(peer, partial(_send_hello, hub, room, peer, after, epoch))


def start_resume(hub: Hub, room: ActiveRoom, peer: Peer, after: int | None, epoch: str | None) -> None:
    """Catch up again, for ``chat.resume``; ignored while a catch-up is running."""
    if peer.live:
        peer.begin_catch_up()
        _start(peer, partial(_resume, hub, room, peer, after, epoch))


def _start(peer: Peer, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    peer.catch_up_task = asyncio.get_running_loop().create_task(_closing_on_error(peer, work))
    return peer.catch_up_task


async def _closing_on_error(peer: Peer, work: Callable[[], Awaitable[None]]) -> None:
    """An error closes the connection: a peer whose catch-up ended without ``synced`` would wait forever."""
    try:
        await work()
    except ServerStopping:
        pass  # the hub says so to every peer
    except StorageError as error:
        _log.warning("a member could not be brought up to date: %s", error)
        peer.connection.close(1013, "the log can't be read: reconnect")
    except Exception:  # noqa: BLE001 - no caller awaits this task
        _log.exception("an internal error while bringing a member up to date")
        peer.connection.close(1011, "an internal error of the server: reconnect")


async def _send_hello(hub: Hub, room: ActiveRoom, peer: Peer, after: int | None, epoch: str | None) -> None:
    bounds = await hub.log.bounds(room.name, min_seq=after or 0)
    room.seq = max(room.seq, bounds.seq)
    if room.pins is None:
        found = await hub.log.messages(room.name, limit=1, pinned=True)
        room.pins = bool(room.pins or found)
    known = _is_known(hub, bounds, after, epoch)
    hello = Hello(
        room=room.name,
        epoch=hub.log.epoch,
        seq=bounds.seq,
        oldest=bounds.oldest,
        resumed=known,
        limits=hub.limits,
        heartbeat_ms=int(hub.heartbeat * 1000),
        user=peer.principal,
        now=steady_time_ms(),
        member=peer.member_id,
        read=await hub.reading.position(peer.principal, room.name, bounds.seq),
        role=None if peer.role is Role.WRITE else peer.role.name.lower(),
        share=hub.policy.authenticator.way_in(peer.identity, forwarded=peer.forwarded_as is not None),
        pins=room.pins or None,
    )
    peer.connection.write(text_frame(encode(hello)))
    _start(peer, partial(_join, hub, room, peer, bounds, after, known=known))


async def _join(hub: Hub, room: ActiveRoom, peer: Peer, bounds: Bounds, after: int | None, *, known: bool) -> None:
    await _replay(hub, room, peer, bounds, after, known=known)
    _announce_members(room, peer)


async def _resume(hub: Hub, room: ActiveRoom, peer: Peer, after: int | None, epoch: str | None) -> None:
    bounds = await hub.log.bounds(room.name, min_seq=after or 0)
    await _replay(hub, room, peer, bounds, after, known=_is_known(hub, bounds, after, epoch))
    _announce_members(room, peer)


def _announce_members(room: ActiveRoom, peer: Peer) -> None:
    for frame, _ in next_announcement(room, [peer]):
        peer.write(frame)


def _is_known(hub: Hub, bounds: Bounds, after: int | None, epoch: str | None) -> bool:
    """Whether ``after`` is a position in this log."""
    return after is not None and 0 <= after <= bounds.seq and epoch in (None, hub.log.epoch)


async def _replay(hub: Hub, room: ActiveRoom, peer: Peer, bounds: Bounds, after: int | None, *, known: bool) -> None:
    """Send what is missing up to ``bounds.seq``, then what was held back meanwhile."""
    if after is not None and not known:
        _send_gap(peer, 0, bounds.seq, "epoch")
    elif after is not None and after < bounds.seq:
        if after < bounds.trimmed:
            _send_gap(peer, after, bounds.trimmed, "trimmed")
            after = bounds.trimmed
        if not await _send_entries(hub, peer, after, bounds.seq):
            return
    hub.flush_now()  # held back, and complete; sent later, it would lack the texts that other members have
    hub.live.send_pending(room.name)
    peer.end_catch_up(bounds.seq, room.seq)
    if peer.follows_live:
        peer.write(b"".join(hub.live.tails(room.name)))


async def _send_entries(hub: Hub, peer: Peer, after: int, upto: int) -> bool:
    """Send the entries in ``after < seq <= upto``. Returns False if the connection is over.

    A chunk is read when the socket has taken the one before: a thousand peers that reconnect at once hold a
    thousand chunks in memory, not everything they have missed.
    """
    log, room = hub.log, peer.room_name
    if await log.count(room, after=after, upto=upto, limit=MAX_REPLAY + 1) > MAX_REPLAY:
        _send_gap(peer, after, upto, "long")
        return True
    limit = FIRST_CHUNK_ENTRIES
    while entries := await log.entries(room, after=after, upto=upto, limit=limit):
        if entries[0].prev > after:  # removed meanwhile
            _send_gap(peer, after, entries[0].prev, "trimmed")
        if peer.follows_live:
            data = b"".join([entry_frame(entry) for entry in entries])
        else:
            data = await plain_replay(log, entries)
        if not await peer.connection.drain(data):
            return False
        limit = max(1, min(MAX_REPLAY, REPLAY_CHUNK_BYTES * len(entries) // (len(data) or 1)))
        after = entries[-1].seq
    if after < upto:  # the rest too
        _send_gap(peer, after, upto, "trimmed")
    return True


def _send_gap(peer: Peer, start: int, stop: int, reason: str) -> None:
    gap = msgspec.convert({"from": start, "to": stop, "reason": reason}, Gap)
    peer.connection.write(text_frame(encode(gap)))
