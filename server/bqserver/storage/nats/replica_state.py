"""What a view's file knows beyond a log's: how far each room has come, and what of it was let go."""

from __future__ import annotations

import sqlite3

from bqserver.model import Bounds, Stored
from bqserver.storage.sequencer import IdempotencyKey, RoomHead, Target
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.schema import SEQ_MASK
from bqserver.storage.sqlite.writer_state import WriterState


def cursor(db: sqlite3.Connection, room: str) -> int:
    row = db.execute("SELECT seq FROM cursor WHERE room = ?", (room,)).fetchone()
    return int(row[0]) if row else 0


def target(db: sqlite3.Connection, room: str, seq: int) -> Target | None:
    return ReadOnlyState(db).target(room, seq)


def known(db: sqlite3.Connection, key: IdempotencyKey) -> dict[IdempotencyKey, Stored]:
    return ReadOnlyState(db).find_stored([key])


def forgotten(db: sqlite3.Connection, room: str) -> int:
    row = db.execute("SELECT upto FROM trimmed WHERE room = ?", (room,)).fetchone()
    return int(row[0]) if row else 0


def bounds(db: sqlite3.Connection, room: str) -> Bounds:
    oldest, seq, _ = queries.bounds(db, room)
    upto = forgotten(db, room)
    return Bounds(oldest or upto, seq or upto, upto)


def entries(db: sqlite3.Connection, room: str, after: int, upto: int, limit: int) -> list[Stored]:
    found = queries.entries(db, room, after, upto, limit)
    if found and not found[0].prev:
        found[0] = found[0]._replace(prev=forgotten(db, room))
    return found


class ReplicaState(WriterState):
    """The writer's, which knows what was let go."""

    def trim(self, room: str, upto: int) -> None:
        number = self._number(room)
        low, _ = queries.id_range(number)
        self._db.execute("DELETE FROM entry WHERE id BETWEEN ? AND ?", (low, low + min(upto, SEQ_MASK)))
        self._db.execute(
            "INSERT INTO trimmed VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET upto = max(upto, excluded.upto)",
            (room, upto),  # two nodes may have found differently, and what went does not come back
        )
        head = self._heads.get(room)
        if head is not None:  # its time stays: what comes next is later, on every node
            head.seq = max(head.seq, upto)

    def trimmed(self, room: str) -> int:
        return forgotten(self._db, room)

    def head(self, room: str) -> RoomHead:
        head = super().head(room)
        head.seq = head.seq or self.trimmed(room)
        return head


class ReadOnlyState(ReplicaState):
    """A reader's: it gives no numbers to rooms."""

    def _number(self, room: str) -> int:
        return queries.room_number(self._db, room)
