"""The SQLite file: its tables, its version, and how a connection to it is opened.

A room's entries lie together in one B-tree: ``id = room << 40 | seq``. Changes are entries like any other;
``folded`` holds how a message reads after them, and the partial index ``message`` finds the last 50
messages without reading the changes between them.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

from bqserver.errors import StorageError
from bqserver.files import make_folder

APPLICATION_ID = 0x62717764  # "bqwd": tells our files from other people's
SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1

_VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE room (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE entry (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  room INTEGER NOT NULL REFERENCES room,
  principal TEXT NOT NULL,
  cid TEXT,
  target INTEGER,
  body BLOB NOT NULL,
  folded BLOB
);
CREATE UNIQUE INDEX once ON entry (room, principal, cid) WHERE cid IS NOT NULL;
CREATE INDEX message ON entry (id) WHERE target IS NULL;
"""

WAL_KEPT_BYTES = 64 * 1024 * 1024
"""Bytes that the write-ahead log keeps on disk after a burst, or a backup, made it longer."""

WAL_INITIAL_BYTES = 4_000_000
"""Bytes after which SQLite begins the write-ahead log anew, in the same place."""

MIGRATIONS: list[str | Callable[[sqlite3.Connection], None]] = [_VERSION_1]
"""Step N brings a file from version N to N + 1; never edit one that was released."""


def connect(path: str | Path, *, synchronous: str = "FULL", readonly: bool = False) -> sqlite3.Connection:
    """A connection as the server uses it. Raises StorageError with what to do about the file.

    ``synchronous=FULL`` is the promise: NORMAL lost 1,280 of 61,984 acknowledged rows in a simulated
    power cut, FULL none (DESIGN 4; tests/chaos/test_power_cut.py shows both).
    """
    path = Path(path)
    if not readonly:
        return open_file(path, lambda db: _prepare(db, path, synchronous))
    if not path.is_file():
        raise StorageError(f"{path} does not exist: name the server's file with --log=sqlite:PATH")
    return open_file(path, lambda db: check_application(db, path), readonly=True)


def open_file(
    path: Path, set_up: Callable[[sqlite3.Connection], None], *, readonly: bool = False
) -> sqlite3.Connection:
    """A connection for any one thread at a time, once ``set_up`` finds nothing wrong. Raises StorageError."""
    if not readonly:
        create_private(path)
    db = None
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        if readonly:
            db.execute("PRAGMA query_only = ON")
        set_up(db)
    except sqlite3.DatabaseError as error:
        if db is not None:
            db.close()
        raise StorageError(explain(error, path)) from error
    except StorageError:
        if db is not None:
            db.close()
        raise
    return db


def enable_durability(
    db: sqlite3.Connection, path: Path, *, synchronous: str = "FULL", kept: int = 0
) -> None:
    """What is committed survives a power cut; ``kept`` bytes of the write-ahead log stay allocated."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageError(f"the file system of {path} can't hold a write-ahead log: keep it on a local disk")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    # On macOS fsync alone stops at the drive's cache; no effect elsewhere.
    db.execute("PRAGMA fullfsync = ON")
    db.execute("PRAGMA checkpoint_fullfsync = ON")
    db.execute(f"PRAGMA journal_size_limit = {kept}")


def _prepare(db: sqlite3.Connection, path: Path, synchronous: str) -> None:
    """Make it the one connection that writes."""
    if any(
        db.execute(
            "SELECT (SELECT count(*) FROM sqlite_master), application_id FROM pragma_application_id"
        ).fetchone()
    ):
        check_application(db, path)
    enable_durability(db, path, synchronous=synchronous, kept=WAL_KEPT_BYTES)
    db.execute("PRAGMA cache_size = -65536")
    _migrate(db, path)


def preallocate_wal(db: sqlite3.Connection) -> None:
    """Give the write-ahead log its size before it is needed, in some 20 ms; the file gets an eighth of that.

    Syncing a file that also became longer costs more: 4,000 messages right after the start were 13 % slower
    (tests/benchmarks), and few servers take more than that between two starts.
    """
    for _ in range(8):
        db.execute("INSERT OR REPLACE INTO meta VALUES ('room', zeroblob(?))", (WAL_INITIAL_BYTES // 8,))
        db.execute("DELETE FROM meta WHERE name = 'room'")
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # waits for no reader


def read_epoch(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0])


def set_new_epoch(db: sqlite3.Connection) -> str:
    """Say that seqs may mean something else from here on, as after a restore."""
    epoch = secrets.token_hex(8)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
    return epoch


def check_application(db: sqlite3.Connection, path: Path) -> None:
    """Raises StorageError where the file is somebody else's, or newer than this program."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise StorageError(
            f"{path} is some other program's database: give another file with --log=sqlite:PATH"
        )
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StorageError(
            f"{path} was written by a newer bqserver (schema {version}, this one knows {len(MIGRATIONS)}): "
            "upgrade bqwidget"
        )


def explain(error: sqlite3.Error, path: Path) -> str:
    """SQLite's error in words that say what to do."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_NOTADB":
        return f"{path} is not a bqserver database: give another file with --log=sqlite:PATH"
    if name.startswith("SQLITE_CORRUPT"):
        return f"{path} is damaged: look with 'bqserver check', then restore a backup with 'bqserver restore'"
    if name == "SQLITE_FULL":
        return f"the disk of {path} is full: make room on it"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"{path} can't be written ({error}): see to its permissions, and its folder's"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk of {path} fails ({error}): see to it"
    return f"{path} can't be used: {error}"


def create_private(path: Path) -> None:
    """People's words are nobody else's on this machine: the file is made 0600, its new folder 0700.

    Its name becomes durable with SQLite's first sync of the write-ahead log, which syncs the folder too.
    """
    try:
        make_folder(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StorageError(
            f"{path} can't be written ({error.strerror}): give another file with --log=sqlite:PATH"
        ) from error


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        try:
            db.execute("BEGIN IMMEDIATE")
            if callable(step):
                step(db)
            else:
                for statement in step.split(";"):
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number}")
            if number == 1:
                set_new_epoch(db)
            db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise StorageError(
                f"{path} could not be brought to schema {number}; it is unchanged: {explain(error, path)}"
            ) from error
