"""Retention: removes old messages from the file, in small transactions between those of new messages."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence

from bqserver.errors import StorageError
from bqserver.storage.retention import RetentionSize, Rule, find_rule

from .queries import bounds, id_range, room_number, rooms
from .readers import ReaderPool
from .schema import SEQ_MASK

SWEEP_INTERVAL = 60.0
"""Seconds between two looks for old messages. The first is at the start."""
MAX_TRIM_ENTRIES = 500
"""Entries removed in one transaction, for which new messages wait some milliseconds."""
MAX_READ_ROOMS = 100
"""Rooms examined in one read, between which others run on its thread."""
ROW_OVERHEAD_BYTES = 150
"""Bytes of a stored entry besides its JSON: its columns, and its rows in the indexes. Measured: 151 with a cid."""

_log = logging.getLogger("bqserver.log")


class Retention:
    """``rules``: the first that matches a room applies; a room without a rule keeps everything. ``trim`` removes the
    entries of a room up to a seq. ``clock``: seconds since the epoch, as those that entries are stored with.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        readers: ReaderPool,
        trim: Callable[[str, int], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._readers = readers
        self._trim = trim
        self._clock = clock
        self._sizes: dict[str, RetentionSize] = {}

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except (StorageError, sqlite3.Error) as error:
                _log.warning("old messages could not be removed, retrying later: %s", error)
            except Exception:  # noqa: BLE001 - one failure must not end retention
                _log.exception("old messages could not be removed because of an internal error")
            await asyncio.sleep(SWEEP_INTERVAL)

    async def sweep(self) -> dict[str, int]:
        """Remove what exceeds the limits. Returns the last seq removed, by room. Raises StorageError and
        sqlite3.Error.
        """
        trims = {}
        found = [row.name for row in await self._readers.read(rooms)]
        self._sizes = {room: size for room, size in self._sizes.items() if room in found}
        limited = [(room, rule) for room in found if (rule := find_rule(self._rules, room)) is not None]
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
                size = self._sizes.setdefault(room, RetentionSize(rule.size))
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
