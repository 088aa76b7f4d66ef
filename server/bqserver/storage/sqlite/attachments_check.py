"""Are the attachments of a log what they should be? Each as its hash says, and each that a message names there.

Reads only, so it may run beside a server. The log is read first: what it names was stored before.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bqserver.errors import StorageError
from bqwidget.protocol import Message, printable

from .attachments import connect_attachments
from .schema import SEQ_MASK

_decode = msgspec.json.Decoder(Message).decode

Named = dict[tuple[str, str], str]
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


def _wrong_bodies(db: sqlite3.Connection, named: Named) -> Iterator[str]:
    for room, sha256, size, body in db.execute("SELECT room, sha256, size, body FROM part ORDER BY rowid"):
        named.pop((room, sha256), None)
        if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
            yield f"room {room}: the attachment {sha256} is not what was uploaded"


def _named(log: sqlite3.Connection) -> Named:
    found: Named = {}
    rooms = dict(log.execute("SELECT id, name FROM room"))
    rows = log.execute(
        "SELECT room, id, body FROM entry WHERE target IS NULL AND instr(body, CAST('\"parts\":' AS BLOB))"
    )
    for room, key, body in rows:
        name = rooms.get(room, "")
        with contextlib.suppress(msgspec.DecodeError):  # told by the log's own check
            for part in _decode(body).parts:
                what = (
                    f"room {name}, seq {key & SEQ_MASK}: its attachment {printable(part.name or part.sha256)}"
                )
                found.setdefault((name, part.sha256), what)
    return found
