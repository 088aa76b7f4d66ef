"""MessageLog: the interface between the rooms and the engine that stores their entries.

A log appends drafts, returns an outcome for each, publishes new entries to its listeners in ``seq`` order, and
reads entries back. Entries are passed as the JSON bytes that go on the wire, so that nothing between the disk and
the socket decodes them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from bqserver.model import Bounds, LiveRow, Outcome, RoomRow, RoomView, Stored, Submission

from .attachments import AttachmentStore
from .read_positions import ReadPositions
from .redaction import decode_change

Listener = Callable[[Sequence[Stored]], None]


class MessageLog(Protocol):
    """The operations that the hub needs. All methods are called on the server's event loop."""

    epoch: str
    """Identifies this history. It changes when a seq may refer to another entry than before, as after a restore."""

    @property
    def attachments(self) -> AttachmentStore:
        """The attachments that messages of this log reference. ``close`` closes them too."""

    @property
    def read_positions(self) -> ReadPositions:
        """How far the verified members have read."""

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        """Append durably. The future returns the outcomes, in the order of the batch, after the commit.

        Listeners get the new entries in the same turn of the event loop. Raises QueueFull.
        """

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` with every new entry, in ``seq`` order within a room."""

    async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
        """The first and last seq of a room. A replica first updates itself, and waits until it has the entry
        ``min_seq``, which a client has seen already.
        """

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        """The number of entries in ``after < seq <= upto``, at most ``limit``."""

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        """The entries in ``after < seq <= upto``, oldest first and not folded, at most ``limit``."""

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None, pinned: bool = False
    ) -> list[bytes]:
        """Folded messages, oldest first: the last ``limit`` (below ``before``), or the first ``limit`` above ``after``;
        ``pinned``: of those that are pinned.
        """

    async def room_view(self, room: str, *, limit: int) -> RoomView:
        """The bounds, and the last ``limit`` messages within them, folded, oldest first."""

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        """The newest ``limit`` messages that contain all the words, folded, oldest first."""

    async def rooms(self) -> list[RoomRow]:
        """Every room that has an entry, sorted by name."""

    async def live_messages(self) -> list[LiveRow]:
        """The messages of all rooms that are being written, as an earlier process has left them."""

    def healthy(self) -> bool:
        """Whether the last attempt to write succeeded."""

    async def close(self) -> None:
        """Finish pending appends, then close files and threads."""


async def messages_around(log: MessageLog, room: str, seq: int, limit: int) -> list[bytes]:
    """Message ``seq`` (of a change: its target), half of ``limit`` before and half after it, folded, oldest first.

    At the ends of the log the other side fills up. Without an entry of that seq: the messages next to it.
    """
    for entry in await log.entries(room, after=seq - 1, upto=seq, limit=1):
        if entry.change:
            seq = decode_change(entry.body).target
    return await _around(log, room, seq, limit)


async def messages_at(log: MessageLog, room: str, at: int, limit: int) -> list[bytes]:
    """Half of ``limit`` messages before the time ``at`` (ms) and half since then, folded, oldest first."""
    return await _around(log, room, await _seq_at(log, room, at), limit)


async def _around(log: MessageLog, room: str, seq: int, limit: int) -> list[bytes]:
    older = await log.messages(room, limit=limit, before=seq + 1)
    newer = await log.messages(room, limit=limit, after=seq)
    count = min(len(newer), max((limit - 1) // 2, limit - len(older)))
    return [*older[max(0, len(older) - (limit - count)) :], *newer[:count]]


async def _seq_at(log: MessageLog, room: str, at: int) -> int:
    """The seq of the first entry at the time ``at`` (ms) or later; without one, the seq after the last entry.

    Times grow with seqs within a room, so this is a search by halves: 20 reads in a room of a million.
    """
    bounds = await log.bounds(room)
    low, high = bounds.oldest, bounds.seq + 1
    while low < high:
        middle = (low + high) // 2
        found = await log.entries(room, after=middle - 1, upto=high - 1, limit=1)
        if found and found[0].at < at:
            low = found[0].seq + 1
        else:
            high = middle
    return low


async def read_view(log: MessageLog, room: str, limit: int) -> RoomView:
    """``MessageLog.room_view`` for logs that read bounds and messages separately."""
    bounds = await log.bounds(room)
    return RoomView(bounds, await log.messages(room, limit=limit, before=bounds.seq + 1))
