"""SQL conditions that find superseded texts (of edited and deleted messages); redacts files of earlier versions once.

The entries stay, with their seq, author and time. A commit redacts what it supersedes: see ``sequencer``. The copies in
other files are removed by ``compaction``.
"""

from __future__ import annotations

import contextlib
import sqlite3

import msgspec
from msgspec.structs import replace

from bqserver.storage.redaction import decode_change, decode_message
from bqwidget.protocol import Message, encode, without_content

HAS_CHANGED_TEXT = "target IS NOT NULL AND instr(body, CAST('\"text\":' AS BLOB)) > 0"
"""Whether a change has a text; quotes within a JSON string are escaped, so no name or emoji looks like the field."""

HAS_ADDITION = (
    "target IS NOT NULL "
    "AND (instr(body, CAST('\"choice\":' AS BLOB)) > 0 OR instr(body, CAST('\"title\":' AS BLOB)) > 0)"
)
"""Whether a change has what is removed only with its message: a vote's choice, a step's title."""


def redact_former_texts(db: sqlite3.Connection) -> None:
    """Redact every message that was changed, and list the attachments that messages reference."""
    changed = db.execute("SELECT id FROM entry WHERE target IS NULL AND folded IS NOT NULL").fetchall()
    for (key,) in changed:
        with contextlib.suppress(msgspec.DecodeError):  # 'bqserver check' reports it
            _redact_message(db, key)
    with_parts = "target IS NULL AND instr(coalesce(folded, body), CAST('\"parts\":' AS BLOB)) > 0"
    for key, body in db.execute(f"SELECT id, coalesce(folded, body) FROM entry WHERE {with_parts}").fetchall():
        with contextlib.suppress(msgspec.DecodeError):
            add_references(db, key, decode_message(body))


def add_references(db: sqlite3.Connection, key: int, message: Message) -> None:
    """The message with the id ``key`` references its attachments."""
    db.executemany("INSERT OR IGNORE INTO reference VALUES (?, ?)", [(key, part.sha256) for part in message.parts])


def _redact_message(db: sqlite3.Connection, key: int) -> None:
    room, body, folded = db.execute("SELECT room, body, folded FROM entry WHERE id = ?", (key,)).fetchone()
    first, now = decode_message(body), decode_message(folded)
    if now.deleted:
        now = replace(without_content(now), deleted=True)
        first = replace(without_content(first), redacted=True)
    elif now.edited is not None:
        first = replace(first, text=now.text, redacted=True)
    else:
        return
    db.execute("UPDATE entry SET body = ?, folded = ? WHERE id = ?", (encode(first), encode(now), key))
    edits = db.execute(
        f"SELECT id, body FROM entry WHERE room = ? AND target = ? AND {HAS_CHANGED_TEXT} ORDER BY id",
        (room, now.seq),
    ).fetchall()
    for edit, text in edits if now.deleted else edits[:-1]:
        db.execute("UPDATE entry SET body = ? WHERE id = ?", (encode(replace(decode_change(text), text=None)), edit))
