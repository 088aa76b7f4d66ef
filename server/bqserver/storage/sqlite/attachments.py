"""Attachments on disk: one SQLite file next to the log, with one row per attachment.

It is a separate file so that a commit of ten megabytes does not delay any message. It belongs to the log of the
same name, whose lock also protects it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from bqserver.errors import ServerStopping, StorageError
from bqserver.model import References
from bqserver.storage.attachments import REMOVAL_DELAY, StoredAttachment
from bqwidget.protocol import Part

from .lock import OpenFiles
from .readers import is_cancelling
from .schema import SEQ_BITS, enable_durability, explain, open_file, transaction, truncate_wal

APPLICATION_ID = 0x62717074  # "bqpt"
SCHEMA_VERSION = 1
UNREFERENCED_LIFETIME = 24 * 3600.0
"""Seconds after which an upload that no message references is deleted."""
SWEEP_INTERVAL = 3600.0
"""Seconds between two deletions of such uploads."""
REFERENCED, HIDDEN = 1, 2
"""Values of ``named``; 0: no message has referenced it yet."""

_SCHEMA = """
CREATE TABLE part (
  room TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  mime TEXT NOT NULL,
  size INTEGER NOT NULL,
  width INTEGER,
  height INTEGER,
  at REAL NOT NULL,
  named INTEGER NOT NULL DEFAULT 0,
  body BLOB NOT NULL
);
CREATE UNIQUE INDEX once ON part (room, sha256);
CREATE INDEX unnamed ON part (at) WHERE NOT named;
"""
_HIDDEN_INDEX = f"CREATE INDEX IF NOT EXISTS hidden ON part (at) WHERE named = {HIDDEN}"
_NOT_REFERENCED = f"""
SELECT room, sha256 FROM part INDEXED BY once
EXCEPT SELECT room.name, sha256 FROM log.reference AS one JOIN log.room AS room ON room.id = one.id >> {SEQ_BITS}
"""

_T = TypeVar("_T")

_log = logging.getLogger("bqserver.parts")


def attachments_path(log: Path) -> Path:
    """The file with the attachments of ``log``, which may be a backup."""
    return log.with_name(f"{log.name}-parts")


class SqliteAttachments:
    """AttachmentStore in one file, created by the first upload. Raises StorageError if it can't be used."""

    def __init__(self, log: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = attachments_path(log)
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._files: OpenFiles | None = None
        self.healthy = True
        """Whether the file is still the one that was opened; ``check_files`` updates it."""
        if self.path.exists():
            self._open()
        self._last_sweep = 0.0
        self._thread = ThreadPoolExecutor(1, "bqserver-parts")

    async def put(self, room: str, attachment: StoredAttachment) -> None:
        await self._run(self._put, room, attachment)

    async def get(self, room: str, sha256: str) -> StoredAttachment | None:
        return await self._run(self._get, room, sha256)

    async def reference(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        return await self._run(self._reference, room, list(hashes))

    def settle(self, references: References) -> None:
        with suppress(RuntimeError):  # stopping: the next start makes up for it
            self._thread.submit(self._logged, self._settle, references)

    def hide_unreferenced(self, log: Path) -> None:
        """Hide what messages have referenced and do no longer: the process before this one may have been killed."""
        self._thread.submit(self._logged, self._hide_unreferenced, log)

    async def compact(self) -> bool:
        """Remove what has been hidden for ``REMOVAL_DELAY`` from the file. Returns False if more is hidden by now."""
        return await self._run(self._compact)

    async def close(self) -> None:
        shutdown = partial(self._thread.shutdown, cancel_futures=True)
        await asyncio.get_running_loop().run_in_executor(None, shutdown)
        if self._db is not None:
            self._db.close()

    def check_files(self) -> None:
        """Update ``healthy``, and log a change. May be called on any thread."""
        try:
            if self._files is not None:
                self._files.check()
        except StorageError as error:
            if self.healthy:
                _log.error("attachments can't be stored or read: %s", error)
            self.healthy = False
        else:
            if not self.healthy:
                _log.warning("attachments can be stored and read again")
            self.healthy = True

    def _open(self) -> sqlite3.Connection:
        """Raises StorageError."""
        db = connect_attachments(self.path)
        self._db, self._files = db, OpenFiles(self.path)
        return db

    async def _run(self, function: Callable[..., _T], *args: object) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except sqlite3.Error as error:
            raise StorageError(explain(error, self.path)) from error
        except RuntimeError:  # the executor is shut down
            raise ServerStopping from None
        except asyncio.CancelledError:
            if is_cancelling():
                raise
            raise ServerStopping from None

    # ---- on the thread

    def _find_db(self) -> sqlite3.Connection | None:
        """The connection, if there is a file. Raises StorageError if it is no longer the one that was opened."""
        if self._files is not None:
            self._files.check()
        return self._db

    def _put(self, room: str, attachment: StoredAttachment) -> None:
        db = self._find_db() or self._open()
        part, now = attachment.part, self._clock()
        with transaction(db):
            if now - self._last_sweep > SWEEP_INTERVAL:
                self._last_sweep = now
                db.execute("DELETE FROM part WHERE NOT named AND at < ?", (now - UNREFERENCED_LIFETIME,))
            db.execute(
                "INSERT INTO part (room, sha256, mime, size, width, height, at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT (room, sha256) DO UPDATE SET at = excluded.at, named = named = {REFERENCED}",
                (room, part.sha256, part.mime, part.size, part.width, part.height, now, attachment.body),
            )

    def _get(self, room: str, sha256: str) -> StoredAttachment | None:
        db = self._find_db()
        if db is None:
            return None
        row = db.execute(
            "SELECT sha256, mime, size, width, height, body FROM part "
            f"WHERE room = ? AND sha256 = ? AND named != {HIDDEN}",
            (room, sha256),
        ).fetchone()
        return StoredAttachment(_part(row[:-1]), row[-1]) if row else None

    def _reference(self, room: str, hashes: list[str]) -> dict[str, Part]:
        db = self._find_db()
        if db is None:
            return {}
        where = f"room = ? AND sha256 IN ({','.join('?' * len(hashes))})"
        rows = db.execute(
            f"SELECT sha256, mime, size, width, height, named FROM part WHERE {where}", (room, *hashes)
        ).fetchall()
        if not all(named == REFERENCED for *_, named in rows):
            with transaction(db):
                db.execute(f"UPDATE part SET named = {REFERENCED} WHERE {where}", (room, *hashes))
        return {row[0]: _part(row[:-1]) for row in rows}

    def _logged(self, work: Callable[..., None], *args: object) -> None:
        """Run work that is not waited for: ``hide_unreferenced`` makes up for it at the next start."""
        try:
            if self._db is not None:
                work(*args)
        except sqlite3.Error as error:
            _log.error("attachments of deleted messages are not hidden: %s", explain(error, self.path))

    def _settle(self, references: References) -> None:
        assert self._db is not None
        with transaction(self._db):
            self._db.executemany(
                f"UPDATE part SET named = {REFERENCED} WHERE room = ? AND sha256 = ? AND named != {REFERENCED}",
                references.named,
            )
            self._hide(references.freed, self._clock())

    def _hide(self, keys: Iterable[tuple[str, str]], at: float) -> None:
        assert self._db is not None
        self._db.executemany(
            f"UPDATE part SET named = {HIDDEN}, at = {at} WHERE room = ? AND sha256 = ? AND named = {REFERENCED}", keys
        )

    def _hide_unreferenced(self, log: Path) -> None:
        assert self._db is not None
        self._db.execute("ATTACH ? AS log", (str(log),))
        try:
            found = self._db.execute(_NOT_REFERENCED).fetchall()
        finally:
            self._db.execute("DETACH log")
        with transaction(self._db):  # kept for a day: the log may be another one by mistake
            self._hide(found, self._clock() + UNREFERENCED_LIFETIME)

    def _compact(self) -> bool:
        if self._db is None:
            return True
        hidden, now = f"FROM part WHERE named = {HIDDEN} AND at", self._clock()
        with transaction(self._db):
            self._db.execute(f"DELETE {hidden} <= ?", (now - REMOVAL_DELAY,))
        more = self._db.execute(f"SELECT 1 {hidden} <= ? LIMIT 1", (now,)).fetchone()
        return truncate_wal(self._db) and not more


def connect_attachments(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection to a file of attachments; unless ``readonly``, creates it. Raises StorageError."""

    def set_up(db: sqlite3.Connection) -> None:
        _check_application(db, path)
        if not readonly:
            _prepare(db, path)

    return open_file(path, set_up, readonly=readonly)


def _check_application(db: sqlite3.Connection, path: Path) -> None:
    tables, application, version = db.execute(
        "SELECT (SELECT count(*) FROM sqlite_master), application_id, user_version "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if tables and application != APPLICATION_ID:
        raise StorageError(f"{path} is the database of another program, but attachments are stored there: move it away")
    if version > SCHEMA_VERSION:
        raise StorageError(f"{path} was written by a newer bqserver (schema {version}): upgrade bqwidget")


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """As durable as the log: an acknowledged message may reference an attachment that was uploaded just before."""
    enable_durability(db, path)
    if db.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
        with transaction(db):
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute(_HIDDEN_INDEX)


def _part(row: tuple[str, str, int, int | None, int | None]) -> Part:
    sha256, mime, size, width, height = row
    return Part(mime=mime, sha256=sha256, size=size, width=width, height=height)
