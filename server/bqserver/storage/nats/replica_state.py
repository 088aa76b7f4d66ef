"""The state that a replica's file has beyond a log's: the last applied seq of each room."""

from __future__ import annotations

import sqlite3

from bqserver.model import Stored
from bqserver.storage.sequencer import IdempotencyKey, Target
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.writer_state import WriterState


def cursor(db: sqlite3.Connection, room: str) -> int:
    """The seq of the room's last applied message; 0: none."""
    row = db.execute("SELECT seq FROM cursor WHERE room = ?", (room,)).fetchone()
    return int(row[0]) if row else 0


def target(db: sqlite3.Connection, room: str, seq: int) -> Target | None:
    return ReadOnlyState(db).target(room, seq)


def find_stored(db: sqlite3.Connection, key: IdempotencyKey) -> Stored | None:
    """The entry with that room, principal and cid."""
    return ReadOnlyState(db).find_stored([key]).get(key)


class ReadOnlyState(WriterState):
    """A reader's state: it assigns no room numbers."""

    def _number(self, room: str) -> int:
        return queries.room_number(self._db, room)
