"""Checks a log's file: SQLite's own check, the rules for the entries of a room (DESIGN 3), and the attachments.

Only reads, in one snapshot, so it may run next to a server.
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
from bqserver.storage.redaction import decode_change, decode_message
from bqserver.storage.sequencer import apply_entry
from bqwidget.errors import ProtocolError
from bqwidget.protocol import Change, Message, check_room, encode, printable, without_content

from .attachments import connect_attachments
from .schema import SEQ_BITS, SEQ_MASK


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
    """The number of rooms that have an entry, and of entries."""
    return Contents(*db.execute("SELECT count(DISTINCT room), count(*) FROM entry").fetchone())


def find_problems(db: sqlite3.Connection) -> Iterator[str]:
    """One sentence per problem in the log, the most serious first; none for a good file."""
    db.execute("BEGIN")
    try:
        broken = [row[0] for row in db.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        yield from broken
        if not broken:  # what SQLite can't read can't be checked
            yield from _wrong_meta(db)
            yield from _wrong_entries(db)
    except sqlite3.DatabaseError as error:
        yield str(error)
    finally:
        db.execute("ROLLBACK")


def _wrong_meta(db: sqlite3.Connection) -> Iterator[str]:
    if db.execute("SELECT value FROM meta WHERE name = 'epoch' AND value != ''").fetchone() is None:
        yield "the file has no epoch"
    for (name,) in db.execute("SELECT name FROM room"):
        try:
            check_room(name)
        except ProtocolError as error:
            yield str(error)


def _wrong_entries(db: sqlite3.Connection) -> Iterator[str]:
    names = dict(db.execute("SELECT id, name FROM room"))
    trimmed = _trimmed(db)
    last = None
    reads: dict[int, Message] = {}
    opened: set[int] = set()
    for values in db.execute("SELECT id, at, room, principal, cid, target, body, folded FROM entry ORDER BY id"):
        row = _EntryRow(*values)
        name = names.get(row.room, "")
        where = f"room {name or row.room}, seq {row.id & SEQ_MASK}"
        try:
            entry = (decode_message if row.target is None else decode_change)(row.body)
        except msgspec.DecodeError as error:
            yield f"{where}: its body can't be read: {error}"
            last = row
            continue
        if (row.id & SEQ_MASK) <= trimmed.get(name, 0):
            yield f"{where}: it is among the entries that were removed"
        for wrong in _wrong_columns(row, entry, name, last):
            yield f"{where}: {wrong}"
        if isinstance(entry, Message) and entry.live:
            opened.add(row.id)
        about = entry.target if isinstance(entry, Change) else entry.re
        if about is not None:
            id_ = row.room << SEQ_BITS | (about & SEQ_MASK)
            before = reads.get(id_) or _message(db, id_)
            if before is None and 0 < about <= trimmed.get(name, 0):
                pass  # it was removed, as --retain says
            elif before is None or about >= entry.seq:
                yield f"{where}: it refers to message {about}, which does not exist"
            else:
                reads[id_] = apply_entry(before, entry)
        last = row
    yield from _wrong_folds(db, names, reads)
    yield from _wrong_live(db, names, {id_ for id_ in opened if id_ not in reads or reads[id_].live})


def _trimmed(db: sqlite3.Connection) -> dict[str, int]:
    """The last seq removed from each room; none in a file of an earlier version."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'trimmed'").fetchone() is None:
        return {}
    return dict(db.execute("SELECT room, upto FROM trimmed"))


def _wrong_columns(row: _EntryRow, entry: Message | Change, name: str, last: _EntryRow | None) -> Iterator[str]:
    """Contradictions between the columns, the body and the previous entry."""
    seq = row.id & SEQ_MASK
    if row.id >> SEQ_BITS != row.room:
        yield f"it is stored among the entries of room {row.id >> SEQ_BITS}"
    if (entry.seq, entry.room, entry.at, entry.cid) != (seq, name, row.at, row.cid):
        yield f"its body says room {entry.room}, seq {entry.seq}, at {entry.at}, cid {entry.cid}"
    if isinstance(entry, Change) and entry.target != row.target:
        yield f"its target is {row.target}, its body says {entry.target}"
    if last is None or last.room != row.room:
        return
    if row.id != last.id + 1:
        yield f"entries before it are missing, from seq {(last.id & SEQ_MASK) + 1} on"
    if row.at <= last.at:
        yield f"its time {row.at} is not after {last.at}, the time of the entry before it"


def _wrong_folds(db: sqlite3.Connection, names: dict[int, str], reads: dict[int, Message]) -> Iterator[str]:
    """The ``folded`` column must hold each message after its changes; it may be empty for an unchanged one."""
    folded = dict(db.execute("SELECT id, folded FROM entry WHERE folded IS NOT NULL"))
    for id_ in sorted({*folded, *reads}):
        original = _message(db, id_)
        now = reads.get(id_, original)
        if original is None or now is None:
            continue
        expected = None if now == original else encode(now)
        found = folded.get(id_)
        if found and now.deleted:  # an earlier version kept the choices of a deleted question
            found = encode(without_content(decode_message(found)))
        if found not in (expected, encode(now)):
            name = names.get(id_ >> SEQ_BITS, "")
            yield f"room {name}, seq {id_ & SEQ_MASK}: its folded text does not match its changes"


def _wrong_live(db: sqlite3.Connection, names: dict[int, str], live: set[int]) -> Iterator[str]:
    """The table ``live``, which files of earlier versions don't have, must list the messages that are being written."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'live'").fetchone() is None:
        return
    noted = {id_ for (id_,) in db.execute("SELECT id FROM live")}
    for id_ in sorted(live ^ noted):
        where = f"room {names.get(id_ >> SEQ_BITS, '')}, seq {id_ & SEQ_MASK}"
        if id_ in live:
            yield f"{where}: it is being written, and is not noted as such"
        else:
            yield f"{where}: it is noted as being written, and is not"


def _message(db: sqlite3.Connection, id_: int) -> Message | None:
    row = db.execute("SELECT body FROM entry WHERE id = ? AND target IS NULL", (id_,)).fetchone()
    try:
        return decode_message(row[0]) if row else None
    except msgspec.DecodeError:
        return None


# ---- attachments

_References = dict[tuple[str, str], str]
"""Room and hash of the referenced attachments; the first message that references each, in words."""


def count_attachments(path: Path) -> int:
    """The number of attachments in a file; 0 if it does not exist. Raises StorageError."""
    if not path.exists():
        return 0
    with contextlib.closing(connect_attachments(path, readonly=True)) as db:
        return int(db.execute("SELECT count(*) FROM part").fetchone()[0])


def find_attachment_problems(log: sqlite3.Connection, path: Path) -> Iterator[str]:
    """One sentence per problem in the attachments at ``path``.

    The log is read first: an attachment is stored before the message that references it.
    """
    referenced = _referenced(log)
    if path.exists():
        try:
            with contextlib.closing(connect_attachments(path, readonly=True)) as db:
                broken = [row[0] for row in db.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
                yield from (f"{path}: {each}" for each in broken)
                if broken:
                    return
                yield from _wrong_bodies(db, referenced)
        except (StorageError, sqlite3.DatabaseError) as error:
            yield str(error)
            return
    for where in referenced.values():
        yield f"{where} is not in {path}"


def _wrong_bodies(db: sqlite3.Connection, referenced: _References) -> Iterator[str]:
    for room, sha256, size, body in db.execute("SELECT room, sha256, size, body FROM part ORDER BY rowid"):
        referenced.pop((room, sha256), None)
        if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
            yield f"room {room}: the attachment {sha256} is not what was uploaded"


def _referenced(log: sqlite3.Connection) -> _References:
    found: _References = {}
    rooms = dict(log.execute("SELECT id, name FROM room"))
    rows = log.execute(
        "SELECT room, id, body FROM entry WHERE target IS NULL AND instr(body, CAST('\"parts\":' AS BLOB))"
    )
    for room, key, body in rows:
        name = rooms.get(room, "")
        with contextlib.suppress(msgspec.DecodeError):  # find_problems reports it
            for part in decode_message(body).parts:
                what = f"room {name}, seq {key & SEQ_MASK}: its attachment {printable(part.name or part.sha256)}"
                found.setdefault((name, part.sha256), what)
    return found
