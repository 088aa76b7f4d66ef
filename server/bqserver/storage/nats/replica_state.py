"""The state that a replica's file has beyond a log's: the last applied seq of each room, and the seq it is trimmed to."""

from __future__ import annotations

import sqlite3

from bqserver.model import Bounds, Stored
from bqserver.storage.sequencer import IdempotencyKey, RoomHead, Target
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.schema import SEQ_MASK
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


def trimmed(db: sqlite3.Connection, room: str) -> int:
    row = db.execute("SELECT upto FROM trimmed WHERE room = ?", (room,)).fetchone()
    return int(row[0]) if row else 0


def bounds(db: sqlite3.Connection, room: str) -> Bounds:
    oldest, seq, _ = queries.bounds(db, room)
    upto = trimmed(db, room)
    return Bounds(oldest or upto, seq or upto, upto)


def entries(db: sqlite3.Connection, room: str, after: int, upto: int, limit: int) -> list[Stored]:
    found = queries.entries(db, room, after, upto, limit)
    if found and not found[0].prev:
        found[0] = found[0]._replace(prev=trimmed(db, room))
    return found


class ReplicaState(WriterState):
    """The writer's state, with trimmed rooms."""

    def trim(self, room: str, upto: int) -> None:
        number = self._number(room)
        low, _ = queries.id_range(number)
        self._db.execute("DELETE FROM entry WHERE id BETWEEN ? AND ?", (low, low + min(upto, SEQ_MASK)))
        self._db.execute(
            "INSERT INTO trimmed VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET upto = max(upto, excluded.upto)",
            (room, upto),  # nodes may trim to different seqs, and what is removed stays removed
        )
        head = self._heads.get(room)
        if head is not None:  # its time stays: the next entry is later, on every node
            head.seq = max(head.seq, upto)

    def trimmed(self, room: str) -> int:
        return trimmed(self._db, room)

    def head(self, room: str) -> RoomHead:
        head = super().head(room)
        head.seq = head.seq or self.trimmed(room)
        return head


class ReadOnlyState(ReplicaState):
    """A reader's state: it assigns no room numbers."""

    def _number(self, room: str) -> int:
        return queries.room_number(self._db, room)
