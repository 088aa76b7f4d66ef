"""The writer's state of the SQLite file: what the sequencer asks for, and storing its plan."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from bqserver.model import Stored
from bqserver.storage.sequencer import IdempotencyKey, Plan, RoomHead, Target

from .queries import id_range, room_number
from .schema import SEQ_BITS, SEQ_MASK

MAX_STATEMENT_ROWS = 512
"""Each ``execute`` releases the interpreter lock once, so few statements are better; SQLite accepts 32,766 values
in one."""

_T = TypeVar("_T")


class WriterState:
    """LogState of the file: heads and room numbers in memory, the rest by the writer's connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rooms: dict[str, int] = {}
        self._heads: dict[str, RoomHead] = {}

    def head(self, room: str) -> RoomHead:
        head = self._heads.get(room)
        if head is None:
            low, high = id_range(self._find_number(room))
            row = self._db.execute(
                "SELECT id, at FROM entry WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", (low, high)
            ).fetchone()
            head = self._heads[room] = RoomHead(row[0] & SEQ_MASK, row[1]) if row else RoomHead(0, 0)
        return head

    def find_stored(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, Stored]:
        rooms = {(self._find_number(room), who, cid): room for room, who, cid in keys}
        known = {}
        for chunk in _chunks(list(rooms)):
            found = self._db.execute(
                f"WITH wanted(room, principal, cid) AS (VALUES {_values(3, len(chunk))}) "
                "SELECT room, principal, cid, id, at, body, target, (SELECT max(older.id) FROM entry AS older "
                f"WHERE older.id > entry.room << {SEQ_BITS} AND older.id < entry.id) "
                "FROM wanted JOIN entry USING (room, principal, cid)",
                [value for key in chunk for value in key],
            )
            for number, who, cid, id_, at, body, target, older in found:
                room = rooms[number, who, cid]
                prev = older & SEQ_MASK if older else self.trimmed(room)
                known[room, who, cid] = Stored(room, id_ & SEQ_MASK, prev, at, body, target is not None)
        return known

    def target(self, room: str, seq: int) -> Target | None:
        if not 0 < seq <= SEQ_MASK:
            return None  # its id would belong to another room
        row = self._db.execute(
            "SELECT principal, coalesce(folded, body) FROM entry WHERE id = ? AND target IS NULL",
            (self._find_number(room) << SEQ_BITS | seq,),
        ).fetchone()
        return Target(*row) if row else None

    def trimmed(self, room: str) -> int:
        del room
        return 0  # the file keeps every entry

    def store(self, plan: Plan) -> None:
        for rows in _chunks(plan.rows):
            values: list[Any] = []
            for entry, submission, target in rows:
                number = self._number(entry.room)
                values += (
                    number << SEQ_BITS | entry.seq,
                    entry.at,
                    number,
                    submission.principal,
                    submission.draft.cid or None,
                    target,
                    entry.body,
                )
            self._db.execute(
                "INSERT INTO entry (id, at, room, principal, cid, target, body) VALUES " + _values(7, len(rows)),
                values,
            )
        for (room, seq), body in plan.folded.items():
            self._db.execute("UPDATE entry SET folded = ? WHERE id = ?", (body, self._number(room) << SEQ_BITS | seq))

    def reset(self) -> None:
        """Clear the cache: it may be wrong after a rollback."""
        self._rooms.clear()
        self._heads.clear()

    def _find_number(self, room: str) -> int:
        """The room's number; 0 if it has no entry: what is rejected makes no room."""
        return self._rooms.get(room) or room_number(self._db, room)

    def _number(self, room: str) -> int:
        number = self._rooms.get(room)
        if number is None:
            self._db.execute("INSERT OR IGNORE INTO room (name) VALUES (?)", (room,))
            number = self._rooms[room] = room_number(self._db, room)
        return number


def _chunks(rows: list[_T]) -> Iterator[list[_T]]:
    return (rows[start : start + MAX_STATEMENT_ROWS] for start in range(0, len(rows), MAX_STATEMENT_ROWS))


@functools.cache
def _values(columns: int, rows: int) -> str:
    return ",".join([f"({','.join('?' * columns)})"] * rows)
