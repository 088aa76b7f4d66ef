"""MessageLog: the seam between rooms and whatever keeps their entries.

A log appends drafts, answers with what became of each, tells followers about new entries in ``seq``
order, and reads them back. Entries travel as the JSON bytes that go on the wire, so that nothing between
the disk and the socket decodes them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from bqserver.model import Bounds, Outcome, RoomRow, RoomView, Stored, Submission

from .attachments import AttachmentStore

Listener = Callable[[Sequence[Stored]], None]


class MessageLog(Protocol):
    """What the hub needs of a log. All methods are called on the server's event loop."""

    epoch: str
    """Names this history; it changes when the seqs may no longer mean the same, as after a restore."""

    @property
    def attachments(self) -> AttachmentStore:
        """The attachments that this log's messages name; ``close`` closes them too."""

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        """Durably append; the outcomes come in the batch's order, once committed.

        Followers hear of the new entries in the same turn of the event loop. Raises QueueFull.
        """

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` with every new entry, in ``seq`` order within a room."""

    async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
        """The room's first and last seq. A log that is a view of another one looks there first, and waits
        until it has ``reach``, which somebody says to have seen.
        """

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        """How many entries there are in ``after < seq <= upto``; counting ends at ``limit``."""

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        """The raw entries in ``after < seq <= upto``, oldest first, as they were sent."""

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[bytes]:
        """Folded messages, oldest first: the last ``limit`` (below ``before``), or the first above ``after``."""

    async def room_view(self, room: str, *, limit: int) -> RoomView:
        """The bounds, and the last ``limit`` messages up to there, folded, oldest first."""

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        """The newest ``limit`` messages that hold all the words, folded, oldest first."""

    async def rooms(self) -> list[RoomRow]:
        """Every room that has an entry, by name."""

    def healthy(self) -> bool:
        """Whether the last attempt to write succeeded."""

    async def close(self) -> None:
        """Finish what was appended, then let go of files and threads."""


async def read_view(log: MessageLog, room: str, limit: int) -> RoomView:
    """In two questions."""
    bounds = await log.bounds(room)
    return RoomView(bounds, await log.messages(room, limit=limit, before=bounds.seq + 1))
