"""ReadPositions in the SQLite file of the log: a table of one row for each member and room."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from bqserver.errors import StorageError
from bqserver.storage.read_positions import Reader

from .readers import ReaderPool
from .schema import transaction


class SqliteReadPositions:
    """``on_writer`` runs a function on the thread of ``db``, the only connection that writes."""

    def __init__(
        self, db: sqlite3.Connection, readers: ReaderPool, on_writer: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> None:
        self._db = db
        self._readers = readers
        self._on_writer = on_writer

    async def get(self, user: str, room: str) -> int:
        return await self._readers.read(_get, user, room)

    async def all(self, user: str) -> dict[str, int]:
        return await self._readers.read(_all, user)

    async def advance(self, positions: Mapping[Reader, int]) -> None:
        try:
            await self._on_writer(partial(_advance, self._db, dict(positions)))
        except sqlite3.Error as error:
            raise StorageError(f"how far members have read can't be stored: {error}") from error


def _get(db: sqlite3.Connection, user: str, room: str) -> int:
    row = db.execute("SELECT seq FROM read_position WHERE user = ? AND room = ?", (user, room)).fetchone()
    return int(row[0]) if row else 0


def _all(db: sqlite3.Connection, user: str) -> dict[str, int]:
    return dict(db.execute("SELECT room, seq FROM read_position WHERE user = ?", (user,)))


def _advance(db: sqlite3.Connection, positions: Mapping[Reader, int]) -> None:
    with transaction(db):
        db.executemany(
            "INSERT INTO read_position VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
            [(user, room, seq) for (user, room), seq in positions.items()],
        )
