"""Backups of the SQLite log: taken while the server runs, and put back under a new epoch.

A log's attachments lie beside it, and a backup's in the same way beside the backup: whatever is done with one
file is done with the other.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from bqserver.errors import StorageError
from bqserver.files import LockFile, make_folder, replace, sync_file, sync_folder

from .attachments import attachments_path, connect_attachments
from .check import Contents, count_attachments, count_contents, find_problems
from .schema import connect, explain, set_new_epoch


def backup(log: Path, target: Path) -> Contents:
    """Copy the log to ``target``, a new file, as it is at one moment; its server may go on meanwhile.

    Raises StorageError; ``target`` is there only when it is whole, and its attachments beside it.
    """
    for file in (target, attachments_path(target)):
        if file.exists():
            raise StorageError(f"{file} is there already: give a new file's name")
    with contextlib.closing(connect(log, readonly=True)) as source, _new_file(target) as (part, copy):
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            wrong = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            found = count_contents(copy)
        except sqlite3.DatabaseError as error:
            raise StorageError(explain(error, log)) from error
        if wrong != "ok":
            raise StorageError(
                f"{log} is damaged ({wrong}), so there is no backup: look with 'bqserver check'"
            )
        # After the log: what a message names was stored before it.
        _copy_attachments(attachments_path(log), attachments_path(target))
        try:
            _finish(part, copy, target)
        except OSError:
            attachments_path(target).unlink(missing_ok=True)
            raise
    return found._replace(attachments=count_attachments(attachments_path(target)))


def restore(log: Path, source: Path) -> tuple[Contents, Path | None]:
    """Put a backup in the log's place, under a new epoch, so that every client reads its rooms anew.

    Also returns where the former log is kept, if there was one. Raises StorageError, the log untouched, where a
    server uses it or the backup isn't whole.
    """
    log = log.resolve()  # where SQLite keeps what belongs to it
    if log.exists() and source.exists() and log.samefile(source):
        raise StorageError(f"{source} is the log itself: give a backup's file")
    lock = LockFile(log)
    try:
        with contextlib.closing(connect(source, readonly=True)) as given:
            wrong = next(find_problems(given), None)
            if wrong is not None:
                raise StorageError(f"{source} is not whole ({wrong}): restore another backup")
            with _new_file(log) as (part, copy):
                given.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
                set_new_epoch(copy)
                found = count_contents(copy)
                former = _set_aside(
                    log, log.with_name(f"{log.name}.before-restore-{time.strftime('%Y%m%d-%H%M%S')}")
                )
                _finish(part, copy, log)
        if attachments_path(source).exists():
            _restore_attachments(attachments_path(source), attachments_path(log), former)
    except sqlite3.DatabaseError as error:
        raise StorageError(explain(error, log)) from error
    except OSError as error:
        raise StorageError(f"{log} can't be replaced: {error}") from error
    finally:
        lock.release()
    return found._replace(attachments=count_attachments(attachments_path(log))), former


def _copy_attachments(source: Path, target: Path) -> None:
    """Raises StorageError."""
    if not source.exists():
        return
    with (
        contextlib.closing(connect_attachments(source, readonly=True)) as given,
        _new_file(target) as (part, copy),
    ):
        try:
            given.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            wrong = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise StorageError(explain(error, source)) from error
        if wrong != "ok":
            raise StorageError(f"{source} is damaged ({wrong}): look with 'bqserver check'")
        _finish(part, copy, target)


def _restore_attachments(source: Path, target: Path, former: Path | None) -> None:
    """Those that were there go with the former log, to whose messages they belong."""
    fresh = target.with_name(f"{target.name}.new")
    fresh.unlink(missing_ok=True)
    _copy_attachments(source, fresh)
    if former is None:
        former = target.with_name(f"{target.name}.before-restore")
    _set_aside(target, attachments_path(former))
    replace(fresh, target)


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A database beside ``target``, for this user alone, that is gone again unless it is finished."""
    part = target.with_name(f"{target.name}.part")
    try:
        make_folder(target.parent)
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
    except OSError as error:
        raise StorageError(f"{target} can't be written: {error.strerror}") from error
    copy = sqlite3.connect(part, isolation_level=None)
    try:
        yield part, copy
    finally:
        copy.close()
        part.unlink(missing_ok=True)


def _finish(part: Path, copy: sqlite3.Connection, target: Path) -> None:
    copy.close()
    sync_file(part)
    replace(part, target)


def _set_aside(log: Path, former: Path) -> Path | None:
    """Set the file ``log`` aside as ``former``, whole, if there is one; its own name is never without a file.

    A write-ahead log is folded into it. Where that can't be, for the file is damaged, it is set aside too:
    SQLite may drop it while trying.
    """
    beside = [log.with_name(log.name + end) for end in ("-wal", "-shm")]
    there = log.exists()
    if there:
        spare = former.with_name(f"{former.name}-wal")
        if beside[0].exists():
            shutil.copy2(beside[0], spare)
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(log)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            spare.unlink(missing_ok=True)
        try:
            former.hardlink_to(log)
        except OSError:  # not every file system can
            shutil.copy2(log, former)
    for file in beside:
        file.unlink(missing_ok=True)  # read into the new file, they would damage it
    sync_folder(log.parent)
    return former if there else None
