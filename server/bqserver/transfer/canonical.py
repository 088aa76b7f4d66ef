"""The entries of a log in a form that does not depend on its seqs, for copying and for comparing.

Each log assigns its own seqs: dense in a file, those of a stream in a cluster. Here ``seq``, ``target`` and ``re``
are ranks in the room, from 1, so that two logs with the same content have the same digest.

Pure, except for the connection from which the entries are read.
"""

from __future__ import annotations

import hashlib
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from bqserver.model import RedactedSubmission, Submission
from bqserver.storage.redaction import decode_change, decode_message, is_redacted
from bqserver.storage.sqlite.queries import id_range
from bqserver.storage.sqlite.schema import SEQ_MASK
from bqwidget.protocol import Change, Message, Part, encode, to_draft


class CanonicalEntry(NamedTuple):
    """An entry whose ``seq``, ``target`` and ``re`` are ranks in its room."""

    room: str
    principal: str
    entry: Message | Change


class Totals(NamedTuple):
    rooms: int
    entries: int
    sha256: str


def read_entries(db: sqlite3.Connection) -> Iterator[CanonicalEntry]:
    """Every entry, sorted by room name, oldest first: the same order in every log, however it numbers its rooms."""
    for room, number in db.execute("SELECT name, id FROM room ORDER BY name").fetchall():
        yield from _room_entries(db, room, number)


def _room_entries(db: sqlite3.Connection, room: str, number: int) -> Iterator[CanonicalEntry]:
    seqs = list[int]()
    rows = db.execute(
        "SELECT id, principal, target, body FROM entry WHERE id BETWEEN ? AND ? ORDER BY id", id_range(number)
    )
    for key, principal, target, body in rows:
        entry = decode_message(body) if target is None else decode_change(body)
        about = entry.target if isinstance(entry, Change) else entry.re
        rank = None if about is None else _rank(seqs, about)
        if isinstance(entry, Change) and rank is None:
            continue  # the message that it changes was removed
        seqs.append(key & SEQ_MASK)
        named = {"target": rank} if isinstance(entry, Change) else {"re": rank}
        yield CanonicalEntry(room, principal, replace(entry, seq=len(seqs), **named))


def compute_totals(entries: Iterable[CanonicalEntry]) -> Totals:
    """The numbers of rooms and entries, and a digest of all entries."""
    digest, rooms, count = hashlib.sha256(), set[str](), 0
    for original in entries:
        count += 1
        rooms.add(original.room)
        digest.update(encode([original.principal, original.entry]))
    return Totals(len(rooms), count, digest.hexdigest())


def to_submission(original: CanonicalEntry, seq: Callable[[int], int]) -> Submission:
    """The submission that creates this entry in another log, where ``seq`` maps a rank in the room to a seq."""
    room, principal, entry = original
    # The source log decided whether a change was its author's or a moderator's; a change does not record it.
    verified = isinstance(entry, Change) or entry.verified
    now = entry.real_at
    if isinstance(entry, Change):
        draft = to_draft(replace(entry, target=seq(entry.target)))
    else:
        draft = to_draft(entry if entry.re is None else replace(entry, re=seq(entry.re)))
    kind = RedactedSubmission if is_redacted(entry) else Submission
    author_kind = None if isinstance(entry, Change) else entry.author_kind
    return kind(room, principal, draft, verified=verified, moderator=True, now=now, author_kind=author_kind)


def referenced_attachments(entries: Iterable[CanonicalEntry]) -> Iterator[tuple[str, Part]]:
    """The attachments that messages reference, each once per room."""
    seen = set()
    for room, _, entry in entries:
        for part in entry.parts if isinstance(entry, Message) else ():
            if (room, part.sha256) not in seen:
                seen.add((room, part.sha256))
                yield room, part


def _rank(seqs: list[int], seq: int) -> int | None:
    """The rank of ``seq`` in the sorted ``seqs``; None if it is not there."""
    place = bisect_left(seqs, seq)
    return place + 1 if place < len(seqs) and seqs[place] == seq else None
