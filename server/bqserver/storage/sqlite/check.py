"""Is a log's file what it should be? SQLite's own check, and what a room's entries promise (DESIGN 3).

Reads only, one snapshot, so it may run beside a server.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from bqserver.errors import StorageError
from bqserver.storage.sequencer import apply_entry
from bqwidget.errors import ProtocolError
from bqwidget.protocol import Change, Message, check_room, encode, printable

from .attachments import connect_attachments
from .schema import SEQ_BITS, SEQ_MASK

_decode_message = msgspec.json.Decoder(Message).decode
_decode_change = msgspec.json.Decoder(Change).decode


class Contents(NamedTuple):
    rooms: int
    entries: int
    attachments: int = 0


class _EntryRow(NamedTuple):
    id: int
    at: int
    room: int
    principal: str
    cid: str | None
    target: int | None
    body: bytes
    folded: bytes | None


def count_contents(db: sqlite3.Connection) -> Contents:
    """How much is in it: rooms that have an entry, and entries."""
    return Contents(*db.execute("SELECT count(DISTINCT room), count(*) FROM entry").fetchone())


def find_problems(db: sqlite3.Connection) -> Iterator[str]:
    """What is wrong, a sentence each, the gravest first; nothing for a good file."""
    db.execute("BEGIN")
    try:
        broken = [row[0] for row in db.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        yield from broken
        if not broken:  # what SQLite can't read can't be judged
            yield from _wrong_meta(db)
            yield from _wrong_entries(db)
    except sqlite3.DatabaseError as error:
        yield str(error)
    finally:
        db.execute("ROLLBACK")


def _wrong_meta(db: sqlite3.Connection) -> Iterator[str]:
    if db.execute("SELECT value FROM meta WHERE name = 'epoch' AND value != ''").fetchone() is None:
        yield "it has no epoch"
    for (name,) in db.execute("SELECT name FROM room"):
        try:
            check_room(name)
        except ProtocolError as error:
            yield str(error)


def _wrong_entries(db: sqlite3.Connection) -> Iterator[str]:
    names = dict(db.execute("SELECT id, name FROM room"))
    last = None
    reads: dict[int, Message] = {}
    for values in db.execute(
        "SELECT id, at, room, principal, cid, target, body, folded FROM entry ORDER BY id"
    ):
        row = _EntryRow(*values)
        name = names.get(row.room, "")
        where = f"room {name or row.room}, seq {row.id & SEQ_MASK}"
        try:
            entry = (_decode_message if row.target is None else _decode_change)(row.body)
        except msgspec.DecodeError as error:
            yield f"{where}: its body can't be read: {error}"
            last = row
            continue
        for wrong in _wrong_places(row, entry, name, last):
            yield f"{where}: {wrong}"
        about = entry.target if isinstance(entry, Change) else entry.re
        if about is not None:
            place = row.room << SEQ_BITS | (about & SEQ_MASK)
            before = reads.get(place) or _message(db, place)
            if before is None or about >= entry.seq:
                yield f"{where}: it is about message {about}, which is not there"
            else:
                reads[place] = apply_entry(before, entry)
        last = row
    yield from _wrong_folds(db, names, reads)


def _wrong_places(
    row: _EntryRow, entry: Message | Change, name: str, last: _EntryRow | None
) -> Iterator[str]:
    """What the columns, the body and the entry before it contradict each other in."""
    seq = row.id & SEQ_MASK
    if row.id >> SEQ_BITS != row.room:
        yield f"it lies among the entries of room {row.id >> SEQ_BITS}"
    if (entry.seq, entry.room, entry.at, entry.cid) != (seq, name, row.at, row.cid):
        yield f"its body says room {entry.room}, seq {entry.seq}, at {entry.at}, cid {entry.cid}"
    if isinstance(entry, Change) and entry.target != row.target:
        yield f"it changes {row.target}, its body says {entry.target}"
    if last is None or last.room != row.room:
        return
    if row.id != last.id + 1:
        yield f"what came before it is missing from seq {(last.id & SEQ_MASK) + 1} on"
    if row.at <= last.at:
        yield f"its time {row.at} is not after {last.at}, the one before it"


def _wrong_folds(db: sqlite3.Connection, names: dict[int, str], reads: dict[int, Message]) -> Iterator[str]:
    """Every message must read as its changes say, and no other may claim to have been changed."""
    folded = dict(db.execute("SELECT id, folded FROM entry WHERE folded IS NOT NULL"))
    for place in sorted({*folded, *reads}):
        original = _message(db, place)
        now = reads.get(place, original)
        if original is None or now is None:
            continue
        expected = None if now == original else encode(now)
        if folded.get(place) not in (expected, encode(now)):
            name = names.get(place >> SEQ_BITS, "")
            yield f"room {name}, seq {place & SEQ_MASK}: it does not read as its changes say"


def _message(db: sqlite3.Connection, place: int) -> Message | None:
    row = db.execute("SELECT body FROM entry WHERE id = ? AND target IS NULL", (place,)).fetchone()
    try:
        return _decode_message(row[0]) if row else None
    except msgspec.DecodeError:
        return None


# ---- attachments

_Named = dict[tuple[str, str], str]
"""Room and hash of what messages name; where it is named first, and how."""


def count_attachments(path: Path) -> int:
    """How many attachments are in that file; none where it isn't there. Raises StorageError."""
    if not path.exists():
        return 0
    with contextlib.closing(connect_attachments(path, readonly=True)) as db:
        return int(db.execute("SELECT count(*) FROM part").fetchone()[0])


def find_attachment_problems(log: sqlite3.Connection, path: Path) -> Iterator[str]:
    """What is wrong with the attachments in ``path``, a sentence each."""
    named = _named(log)
    if path.exists():
        try:
            with contextlib.closing(connect_attachments(path, readonly=True)) as db:
                broken = [row[0] for row in db.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
                yield from (f"{path}: {each}" for each in broken)
                if broken:
                    return
                yield from _wrong_bodies(db, named)
        except (StorageError, sqlite3.DatabaseError) as error:
            yield str(error)
            return
    for where in named.values():
        yield f"{where} is not in {path}"


def _wrong_bodies(db: sqlite3.Connection, named: _Named) -> Iterator[str]:
    for room, sha256, size, body in db.execute("SELECT room, sha256, size, body FROM part ORDER BY rowid"):
        named.pop((room, sha256), None)
        if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
            yield f"room {room}: the attachment {sha256} is not what was uploaded"


def _named(log: sqlite3.Connection) -> _Named:
    found: _Named = {}
    rooms = dict(log.execute("SELECT id, name FROM room"))
    rows = log.execute(
        "SELECT room, id, body FROM entry WHERE target IS NULL AND instr(body, CAST('\"parts\":' AS BLOB))"
    )
    for room, key, body in rows:
        name = rooms.get(room, "")
        with contextlib.suppress(msgspec.DecodeError):  # told by the log's own check
            for part in _decode_message(body).parts:
                what = (
                    f"room {name}, seq {key & SEQ_MASK}: its attachment {printable(part.name or part.sha256)}"
                )
                found.setdefault((name, part.sha256), what)
    return found
