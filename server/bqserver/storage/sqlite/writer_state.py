"""The writer's state of the SQLite file: what the sequencer asks for, and storing its plan."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from bqserver.model import References, Stored
from bqserver.storage.sequencer import IdempotencyKey, Plan, RoomHead, Target
from bqwidget.protocol import Delete, End, Send

from . import queries
from .queries import id_range, is_referenced, room_number
from .redaction import HAS_ADDITION, HAS_CHANGED_TEXT
from .schema import SEQ_BITS, SEQ_MASK, transaction

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
            head = self._heads[room] = RoomHead(row[0] & SEQ_MASK, row[1]) if row else RoomHead(self.trimmed(room), 0)
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

    def texts(self, room: str, seq: int) -> dict[int, bytes]:
        number = self._find_number(room)
        rows = self._db.execute(
            "SELECT id, body FROM entry WHERE id = ? UNION ALL "
            f"SELECT id, body FROM entry INDEXED BY edit WHERE room = ? AND target = ? AND {HAS_CHANGED_TEXT}",
            (number << SEQ_BITS | seq, number, seq),
        )
        return {key & SEQ_MASK: body for key, body in rows}

    def additions(self, room: str, seq: int) -> dict[int, bytes]:
        rows = self._db.execute(
            f"SELECT id, body FROM entry INDEXED BY addition WHERE room = ? AND target = ? AND {HAS_ADDITION}",
            (self._find_number(room), seq),
        )
        return {key & SEQ_MASK: body for key, body in rows}

    def trimmed(self, room: str) -> int:
        return queries.trimmed(self._db, room)

    def trim(self, room: str, upto: int) -> list[str]:
        """Remove the room's entries up to that seq. Returns the attachments that no message references any more."""
        low, _ = id_range(self._number(room))
        removed = low, low + min(upto, SEQ_MASK)
        named = self._db.execute("SELECT DISTINCT sha256 FROM reference WHERE id BETWEEN ? AND ?", removed).fetchall()
        self._db.execute("DELETE FROM reference WHERE id BETWEEN ? AND ?", removed)
        self._db.execute("DELETE FROM entry WHERE id BETWEEN ? AND ?", removed)
        self._db.execute("DELETE FROM live WHERE id BETWEEN ? AND ?", removed)
        self._db.execute(
            "INSERT INTO trimmed VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET upto = max(upto, excluded.upto)",
            (room, upto),  # nodes may trim to different seqs, and what is removed stays removed
        )
        head = self._heads.get(room)
        if head is not None:  # its time stays: the next entry is later, on every node
            head.seq = max(head.seq, upto)
        return [sha256 for (sha256,) in named if not is_referenced(self._db, room, sha256)]

    def commit_trim(self, room: str, upto: int) -> list[str]:
        """``trim`` in a transaction of its own. Raises sqlite3.Error."""
        try:
            with transaction(self._db):
                return self.trim(room, upto)
        except sqlite3.Error:
            self.reset()
            raise

    def store(self, plan: Plan) -> None:
        """Store everything of the plan, and set its ``references``."""
        named, opened, ended = [], [], []
        for rows in _chunks(plan.rows):
            values: list[Any] = []
            for row in rows:
                entry, submission = row.entry, row.submission
                number = self._number(entry.room)
                values += (
                    number << SEQ_BITS | entry.seq,
                    entry.at,
                    number,
                    submission.principal,
                    submission.draft.cid or None,
                    row.target,
                    entry.body,
                )
                draft = submission.draft
                if isinstance(draft, Send):
                    if draft.parts:
                        named += [(entry, part.sha256) for part in draft.parts]
                    if draft.live:
                        opened.append((number << SEQ_BITS | entry.seq, submission.author or ""))
                elif isinstance(draft, End | Delete):
                    ended.append((number << SEQ_BITS | draft.target,))
            self._db.execute(
                "INSERT INTO entry (id, at, room, principal, cid, target, body) VALUES " + _values(7, len(rows)),
                values,
            )
        for (room, seq), body in plan.folded.items():
            self._db.execute("UPDATE entry SET folded = ? WHERE id = ?", (body, self._number(room) << SEQ_BITS | seq))
        for (room, seq), body in plan.redacted.items():
            self._db.execute("UPDATE entry SET body = ? WHERE id = ?", (body, self._number(room) << SEQ_BITS | seq))
        if opened:
            self._db.executemany("INSERT OR REPLACE INTO live VALUES (?, ?)", opened)
        if ended:
            self._db.executemany("DELETE FROM live WHERE id = ?", ended)
        if named or plan.emptied:
            self._store_references(plan, named)

    def _store_references(self, plan: Plan, named: Sequence[tuple[Stored, str]]) -> None:
        keys = [(self._number(entry.room) << SEQ_BITS | entry.seq, sha256) for entry, sha256 in named]
        self._db.executemany("INSERT OR IGNORE INTO reference VALUES (?, ?)", keys)
        freed = []
        for (room, seq), parts in plan.emptied.items():
            key = self._number(room) << SEQ_BITS | seq
            self._db.execute("DELETE FROM reference WHERE id = ?", (key,))
            freed += [(room, part.sha256) for part in parts if not is_referenced(self._db, room, part.sha256)]
        plan.references = References([(entry.room, sha256) for entry, sha256 in named], freed)

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
