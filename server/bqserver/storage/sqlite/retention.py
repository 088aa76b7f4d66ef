"""Retention: removes old messages from the file, in small transactions between those of new messages."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence

from bqserver.errors import StorageError
from bqserver.storage.retention import RetentionSize, Rule
from bqserver.storage.sweeper import Sweeper

from .queries import bounds, id_range, room_number, rooms
from .readers import ReaderPool
from .schema import SEQ_MASK

MAX_TRIM_ENTRIES = 500
"""Entries removed in one transaction, for which new messages wait some milliseconds."""
MAX_READ_ROOMS = 100
"""Rooms examined in one read, between which others run on its thread."""
ROW_OVERHEAD_BYTES = 150
"""Bytes of a stored entry besides its JSON: its columns, and its rows in the indexes. Measured: 151 with a cid."""


class Retention(Sweeper):
    """``trim`` removes the entries of a room up to a seq."""

    interval = 60.0
    expected_errors = (StorageError, sqlite3.Error)
    logger = logging.getLogger("bqserver.log")

    def __init__(
        self,
        rules: Sequence[Rule],
        readers: ReaderPool,
        trim: Callable[[str, int], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(rules, clock)
        self._readers = readers
        self._trim = trim

    async def sweep(self) -> dict[str, int]:
        trims = {}
        limited = self._limited([row.name for row in await self._readers.read(rooms)])
        for start in range(0, len(limited), MAX_READ_ROOMS):
            part = limited[start : start + MAX_READ_ROOMS]
            for room, oldest, upto in await self._readers.read(self._excess, part):
                for end in range(oldest + MAX_TRIM_ENTRIES - 1, upto, MAX_TRIM_ENTRIES):
                    await self._trim(room, end)
                await self._trim(room, upto)
                trims[room] = upto
        return trims

    # ---- on a reader thread

    def _excess(self, db: sqlite3.Connection, limited: Sequence[tuple[str, Rule]]) -> list[tuple[str, int, int]]:
        """The rooms that exceed their rule: the seqs of the first and of the last entry to remove."""
        found = []
        for room, rule in limited:
            oldest, newest, _ = bounds(db, room)
            upto = 0
            if rule.seconds is not None:
                upto = _last_older(db, room, int((self._clock() - rule.seconds) * 1000), newest)
            if rule.size is not None:
                size = self._size(room, rule.size)
                _count(db, room, size, newest)
                size.remove(max(upto, oldest - 1))
                upto = max(upto, size.excess_upto())
            if upto >= oldest:
                found.append((room, oldest, upto))
        return found


def _last_older(db: sqlite3.Connection, room: str, since: int, newest: int) -> int:
    """The seq of the last entry from before ``since`` (ms); 0: none is. Times grow with the seq."""
    low, _ = id_range(room_number(db, room))
    row = db.execute(
        "SELECT id FROM entry WHERE id BETWEEN ? AND ? AND at >= ? ORDER BY id LIMIT 1", (low, low + newest, since)
    ).fetchone()
    return (row[0] & SEQ_MASK) - 1 if row else newest


def _count(db: sqlite3.Connection, room: str, size: RetentionSize, newest: int) -> None:
    """Count the entries that are new since the last time."""
    low, _ = id_range(room_number(db, room))
    rows = db.execute(
        "SELECT id, length(body) + coalesce(length(folded), 0) FROM entry WHERE id > ? AND id <= ? ORDER BY id",
        (low + size.last_seq, low + newest),
    )
    for key, length in rows:
        size.add(key & SEQ_MASK, length + ROW_OVERHEAD_BYTES)
