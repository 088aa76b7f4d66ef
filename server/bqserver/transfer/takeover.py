"""Takes the histories that earlier versions kept for each folder of a Jupyter server into the user's own, once.

All entries are written into a new file, room by room and in the order of time, which then replaces the user's history.
Until that moment nothing has changed, so a start that is interrupted begins again; after it only names are left to
change, and the new file says of which files.
"""

from __future__ import annotations

import heapq
import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from msgspec.structs import replace as with_fields

from bqserver.auth.moderation import ModerationState, moderation_path
from bqserver.errors import ServerError, StorageError
from bqserver.files import replace, sync_file
from bqserver.model import Rejected
from bqserver.storage.sequencer import sequence
from bqserver.storage.sqlite.attachments import HIDDEN, attachments_path, connect_attachments
from bqserver.storage.sqlite.lock import HistoryLock
from bqserver.storage.sqlite.queries import room_number
from bqserver.storage.sqlite.schema import SEQ_BITS, SQLITE_COMPANIONS, connect, explain_failure, transaction
from bqserver.storage.sqlite.writer_state import WriterState

from .canonical import CanonicalEntry, read_entries, to_submission

FORMER_HISTORIES = "jupyter-*.sqlite"
KEPT_SUFFIX = ".taken-over"
_TAKEN_PREFIX = "taken over: "
"""Beginning of the names of ``meta`` rows: a file whose entries are here, and that is still to be renamed."""

_log = logging.getLogger("bqserver.log")


def take_over_histories(history: Path) -> None:
    """Take the former histories in the folder of ``history`` into it, and rename them. A server must not use it yet.

    What can't be read is reported and left as it is. Raises StorageError if ``history`` can't be used.
    """
    if not any(history.parent.glob(FORMER_HISTORIES)):
        return
    with ExitStack() as opened:
        opened.callback(HistoryLock(history).release)
        _finish(history)
        former = []
        for path in sorted(history.parent.glob(FORMER_HISTORIES)):
            with suppress(StorageError):  # an earlier version uses it: the next start takes it over
                opened.callback(HistoryLock(path).release)
                former.append(path)
        try:
            if former:
                _take_over(history, former)
        except (ServerError, sqlite3.Error, OSError) as error:
            _log.error("earlier histories of Jupyter are not taken over yet: %s", explain_failure(error, history))


def _take_over(history: Path, former: Sequence[Path]) -> None:
    part = history.with_name(f"{history.name}.part")
    _remove(part)
    with ExitStack() as opened:
        paths = [*former, history] if history.exists() else former
        sources = [opened.enter_context(closing(connect(path))) for path in paths]  # upgrades them
        new = opened.enter_context(closing(connect(part, synchronous="OFF")))  # synced at the end, or written again
        with transaction(new):
            count = _merge(sources, new)
            for source in sources:
                _merge_read_positions(source, new)
            new.executemany("INSERT INTO meta VALUES (?, '')", [(_TAKEN_PREFIX + path.name,) for path in former])
        new.execute("PRAGMA journal_mode = DELETE")  # one file, without a write-ahead log
    for path in former:
        _copy_attachments(attachments_path(path), attachments_path(history))
        _copy_moderation(path, history)
    sync_file(part)
    replace(part, history)
    _finish(history)
    _log.warning(
        "took %d entries of %d earlier histories of Jupyter's rooms into %s; the old files are kept as *%s",
        count, len(former), history, KEPT_SUFFIX,
    )  # fmt: skip


def _finish(history: Path) -> None:
    """Rename the files that the history says it has taken over."""
    if not history.exists():
        return
    with closing(connect(history)) as db:
        for (name,) in db.execute("SELECT name FROM meta WHERE name LIKE ?", (f"{_TAKEN_PREFIX}%",)).fetchall():
            path = history.with_name(name.removeprefix(_TAKEN_PREFIX))
            for one in (attachments_path(path), moderation_path(path), path):  # the history last: it is looked for
                if one.exists():
                    replace(one, _unused(one))
            db.execute("DELETE FROM meta WHERE name = ?", (name,))


def _unused(path: Path) -> Path:
    """A name to keep the file under, by which no earlier one is kept."""
    names = (path.with_name(f"{path.name}{KEPT_SUFFIX}{number or ''}") for number in range(10_000))
    return next(name for name in names if not name.exists())


def _merge(sources: Sequence[sqlite3.Connection], new: sqlite3.Connection) -> int:
    """Write the entries of all sources into ``new``, by room and time. Returns their number."""
    state, room = WriterState(new), ""
    seqs: list[list[int]] = []
    for number, original in heapq.merge(*map(_numbered, range(len(sources)), sources), key=_sort_key):
        if original.room != room:
            room, seqs = original.room, [[] for _ in sources]
        seqs[number].append(_store(state, original, seqs[number]))
    (count,) = new.execute("SELECT count(*) FROM entry").fetchone()
    return int(count)


def _numbered(number: int, source: sqlite3.Connection) -> Iterator[tuple[int, CanonicalEntry]]:
    return ((number, original) for original in read_entries(source))


def _sort_key(numbered: tuple[int, CanonicalEntry]) -> tuple[str, int]:
    return numbered[1].room, numbered[1].entry.at


def _store(state: WriterState, original: CanonicalEntry, seqs: Sequence[int]) -> int:
    """Store an entry. ``seqs``: the new seqs of the room's earlier ones in that source. Returns its own."""
    submission = to_submission(original, lambda rank: seqs[rank - 1])
    drafts = submission.draft, with_fields(submission.draft, cid="")  # the same cid may be another message elsewhere
    for draft in drafts:
        plan = sequence([with_fields(submission, draft=draft)], state, original.entry.at)
        (outcome,) = plan.outcomes
        if not isinstance(outcome, Rejected):
            state.store(plan)
            return outcome.seq
    raise StorageError(f"an entry of room {original.room} is refused: {outcome}")


def _merge_read_positions(source: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Who has read a room up to some time there has read it up to that time here."""
    for user, room, seq in source.execute("SELECT user, room, seq FROM read_position").fetchall():
        newest = "SELECT {} FROM entry WHERE room = ? AND {} <= ? ORDER BY id DESC LIMIT 1"
        old, number = room_number(source, room), room_number(new, room)
        read = source.execute(newest.format("at", "id"), (old, old << SEQ_BITS | seq)).fetchone()
        found = read and new.execute(newest.format("id", "at"), (number, *read)).fetchone()
        if found:
            new.execute(
                "INSERT INTO read_position VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
                (user, room, found[0] - (number << SEQ_BITS)),
            )


def _copy_attachments(source: Path, target: Path) -> None:
    if not source.exists():
        return
    connect_attachments(source).close()  # checks it, and upgrades it
    with closing(connect_attachments(target)) as db:
        db.execute("ATTACH ? AS former", (str(source),))
        with transaction(db):
            db.execute(
                "INSERT INTO part SELECT * FROM former.part WHERE named != ? "
                "ON CONFLICT (room, sha256) DO UPDATE SET named = excluded.named WHERE excluded.named",
                (HIDDEN,),
            )


def _copy_moderation(source: Path, target: Path) -> None:
    """Keep rooms closed and members muted that are so in either history."""
    if moderation_path(source).exists():
        merged = ModerationState(moderation_path(target), time.time)
        for key, value in ModerationState(moderation_path(source), time.time).export_values():
            merged.apply(key, value)
        merged.write_file(moderation_path(target))


def _remove(path: Path) -> None:
    for end in ("", *SQLITE_COMPANIONS):
        path.with_name(path.name + end).unlink(missing_ok=True)
