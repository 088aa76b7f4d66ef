"""Read queries on the SQLite file. Each takes a connection and may run on any thread."""

from __future__ import annotations

import sqlite3

from bqserver.model import Bounds, LiveRow, RoomRow, Stored

from .schema import IS_PINNED, SEQ_BITS, SEQ_MASK


def bounds(db: sqlite3.Connection, room: str) -> Bounds:
    low, high = id_range(room_number(db, room))
    oldest, newest = db.execute(
        "SELECT (SELECT min(id) FROM entry WHERE id BETWEEN :low AND :high), "
        "(SELECT max(id) FROM entry WHERE id BETWEEN :low AND :high)",
        {"low": low, "high": high},
    ).fetchone()
    upto = trimmed(db, room)
    return Bounds(oldest & SEQ_MASK, newest & SEQ_MASK, upto) if newest else Bounds(upto, upto, upto)


def trimmed(db: sqlite3.Connection, room: str) -> int:
    """The room's entries up to this seq were removed; 0: none were."""
    row = db.execute("SELECT upto FROM trimmed WHERE room = ?", (room,)).fetchone()
    return int(row[0]) if row else 0


def count(db: sqlite3.Connection, room: str, after: int, upto: int, limit: int) -> int:
    low, _ = id_range(room_number(db, room))
    (found,) = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM entry WHERE id > ? AND id <= ? LIMIT ?)",
        (low + min(after, SEQ_MASK), low + min(upto, SEQ_MASK), limit),
    ).fetchone()
    return int(found)


def entries(db: sqlite3.Connection, room: str, after: int, upto: int, limit: int) -> list[Stored]:
    low, _ = id_range(room_number(db, room))
    start = low + min(after, SEQ_MASK)
    rows = db.execute(
        "SELECT id, at, body, target FROM entry WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
        (start, low + min(upto, SEQ_MASK), limit),
    ).fetchall()
    if not rows:
        return []
    (before,) = db.execute("SELECT max(id) FROM entry WHERE id BETWEEN ? AND ?", (low, start)).fetchone()
    keys = [before or trimmed(db, room), *[row[0] for row in rows]]  # the seqs of a replica are not dense
    return [
        Stored(room, key & SEQ_MASK, prev & SEQ_MASK, at, body, target is not None)
        for prev, (key, at, body, target) in zip(keys, rows, strict=False)
    ]


def messages(
    db: sqlite3.Connection, room: str, limit: int, before: int | None, after: int | None, *, pinned: bool = False
) -> list[bytes]:
    low, high = id_range(room_number(db, room))
    first = low + min(after, SEQ_MASK) + 1 if after is not None else low
    last = low + min(before, SEQ_MASK) - 1 if before is not None else high
    index = f"pinned WHERE {IS_PINNED}" if pinned else "message WHERE target IS NULL"
    order = "ASC" if after is not None else "DESC"
    rows = db.execute(
        f"SELECT coalesce(folded, body) FROM entry INDEXED BY {index} AND id BETWEEN ? AND ? ORDER BY id {order} LIMIT ?",
        (first, last, limit),
    ).fetchall()
    bodies = [row[0] for row in rows]
    return bodies if after is not None else bodies[::-1]


def rooms(db: sqlite3.Connection) -> list[RoomRow]:
    newest = f"SELECT max(id) FROM entry WHERE id BETWEEN room.id << {SEQ_BITS} AND room.id << {SEQ_BITS} | {SEQ_MASK}"
    rows = db.execute(f"SELECT name, ({newest}) FROM room ORDER BY name").fetchall()
    return [RoomRow(name, id_ & SEQ_MASK) for name, id_ in rows if id_]


def live_messages(db: sqlite3.Connection) -> list[LiveRow]:
    rows = db.execute(
        "SELECT room.name, live.id, live.author, coalesce(entry.folded, entry.body) "
        "FROM live JOIN entry USING (id) JOIN room ON room.id = entry.room"
    )
    return [LiveRow(name, key & SEQ_MASK, author, body) for name, key, author, body in rows]


def is_referenced(db: sqlite3.Connection, room: str, sha256: str) -> bool:
    """Whether a message of the room that is not deleted references the attachment."""
    found = db.execute(
        "SELECT 1 FROM reference WHERE sha256 = ? AND id BETWEEN ? AND ? LIMIT 1",
        (sha256, *id_range(room_number(db, room))),
    )
    return found.fetchone() is not None


def room_number(db: sqlite3.Connection, room: str) -> int:
    row = db.execute("SELECT id FROM room WHERE name = ?", (room,)).fetchone()
    return int(row[0]) if row else 0  # numbers start at 1: 0 is an unknown room


def id_range(number: int) -> tuple[int, int]:
    low = number << SEQ_BITS
    return low, low | SEQ_MASK
