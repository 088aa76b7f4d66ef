"""Backups of the SQLite log: made while the server runs, and restored under a new epoch.

The attachments of a log are in a second file next to it, and those of a backup next to the backup. Both files are
always copied together.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from bqserver.errors import StorageError
from bqserver.files import copy_private, create_private, make_folder, replace, sync_file, sync_folder

from .attachments import HIDDEN, attachments_path, connect_attachments
from .check import Contents, count_attachments, count_contents, find_problems
from .lock import HistoryLock
from .schema import connect, explain, set_new_epoch


def backup(log: Path, target: Path) -> Contents:
    """Copy the log, as it is at one moment, to the new file ``target``. The server may keep running.

    Raises StorageError. ``target`` exists only if it is complete and its attachments are next to it.
    """
    for file in (target, attachments_path(target)):
        if file.exists():
            raise StorageError(f"{file} exists already: give the name of a new file")
    with contextlib.closing(connect(log, readonly=True)) as source, _new_file(target) as (part, copy):
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a write-ahead log
            wrong = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            found = count_contents(copy)
        except sqlite3.DatabaseError as error:
            raise StorageError(explain(error, log)) from error
        if wrong != "ok":
            raise StorageError(f"{log} is damaged ({wrong}) and was not backed up: inspect it with 'bqserver check'")
        # After the log: an attachment is stored before the message that references it.
        _copy_attachments(attachments_path(log), attachments_path(target))
        try:
            _finish(part, copy, target)
        except OSError:
            attachments_path(target).unlink(missing_ok=True)
            raise
    return found._replace(attachments=count_attachments(attachments_path(target)))


def restore(log: Path, source: Path) -> tuple[Contents, Path | None]:
    """Replace the log with a backup under a new epoch, so that every client reads its rooms again.

    Also returns the path to which the former log was moved, if there was one. Raises StorageError, and leaves the
    log unchanged, if a server uses it or the backup is not complete.
    """
    log = log.resolve()  # SQLite keeps its other files there
    if log.exists() and source.exists() and log.samefile(source):
        raise StorageError(f"{source} is the log itself: give the file of a backup")
    lock = HistoryLock(log)
    try:
        with contextlib.closing(connect(source, readonly=True)) as given:
            wrong = next(find_problems(given), None)
            if wrong is not None:
                raise StorageError(f"{source} is not complete ({wrong}): restore another backup")
            with _new_file(log) as (part, copy):
                given.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
                set_new_epoch(copy)
                found = count_contents(copy)
                former = _set_aside(log, log.with_name(f"{log.name}.before-restore-{time.strftime('%Y%m%d-%H%M%S')}"))
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
            copy.execute("PRAGMA secure_delete = ON")
            copy.execute(f"DELETE FROM part WHERE named = {HIDDEN}")
            wrong = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise StorageError(explain(error, source)) from error
        if wrong != "ok":
            raise StorageError(f"{source} is damaged ({wrong}): inspect it with 'bqserver check'")
        _finish(part, copy, target)


def _restore_attachments(source: Path, target: Path, former: Path | None) -> None:
    """Replace the attachments. The former ones are moved with the former log, whose messages reference them."""
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    _copy_attachments(source, new)
    if former is None:
        former = target.with_name(f"{target.name}.before-restore")
    _set_aside(target, attachments_path(former))
    replace(new, target)


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A temporary database next to ``target``, with mode 0600, deleted at the end unless ``_finish`` moved it."""
    part = target.with_name(f"{target.name}.part")
    try:
        make_folder(target.parent)
        part.unlink(missing_ok=True)
        create_private(part)
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
    """Keep the file ``log``, if it exists, as ``former`` too. A file named ``log`` exists at every moment.

    A write-ahead log is merged into it. If that fails because the file is damaged, the write-ahead log is kept
    too, copied before the attempt: SQLite may delete it.
    """
    companions = [log.with_name(log.name + end) for end in ("-wal", "-shm")]
    existed = log.exists()
    if existed:
        spare = former.with_name(f"{former.name}-wal")
        if companions[0].exists():
            copy_private(companions[0], spare)
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(log)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            spare.unlink(missing_ok=True)
        try:
            former.hardlink_to(log)
        except OSError:  # not every file system supports hard links
            copy_private(log, former)
    for file in companions:
        file.unlink(missing_ok=True)  # SQLite would apply them to the new file and damage it
    sync_folder(log.parent)
    return former if existed else None
