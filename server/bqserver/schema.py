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

from .log import LogError

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

MIGRATIONS: list[str | Callable[[sqlite3.Connection], None]] = [_VERSION_1]
"""Step N brings a file from version N to N + 1; never edit one that was released."""


def connect(path: str | Path, *, synchronous: str = "FULL", readonly: bool = False) -> sqlite3.Connection:
    """A connection as the server uses it. Raises LogError with what to do about the file.

    ``synchronous=FULL`` is the promise: NORMAL lost 1,280 of 61,984 acknowledged rows in a simulated
    power cut, FULL none (DESIGN 4).
    """
    if not readonly:
        _make_private(Path(path))
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        db.execute("PRAGMA mmap_size = 268435456")
        if readonly:
            db.execute("PRAGMA query_only = ON")
            return db
        _check_ours(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("PRAGMA cache_size = -65536")
        _migrate(db, path)
    except sqlite3.DatabaseError as error:
        raise LogError(_explain(error, path)) from error
    return db


def epoch_of(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0])


def new_epoch(db: sqlite3.Connection) -> str:
    """Say that seqs may mean something else from here on, as after a restore."""
    epoch = secrets.token_hex(8)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
    return epoch


def _make_private(path: Path) -> None:
    """People's words are nobody else's on this machine: the file is made 0600, its new folder 0700."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise LogError(
            f"{path} can't be written ({error.strerror}): give another file with --log=sqlite:PATH"
        ) from error


def _check_ours(db: sqlite3.Connection, path: str | Path) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (application or tables):
        raise LogError(f"{path} is some other program's database: give another file with --log=sqlite:PATH")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise LogError(
            f"{path} was written by a newer bqserver (schema {version}, this one knows {len(MIGRATIONS)}): "
            "upgrade bqwidget"
        )


def _migrate(db: sqlite3.Connection, path: str | Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            if callable(step):
                step(db)
            else:
                for statement in step.split(";"):
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number}")
            if number == 1:
                new_epoch(db)
            db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            db.execute("ROLLBACK")
            raise LogError(
                f"{path} could not be brought to schema {number} ({error}); it is unchanged"
            ) from error


def _explain(error: sqlite3.DatabaseError, path: str | Path) -> str:
    text = str(error)
    if "not a database" in text:
        return f"{path} is not a bqserver database: give another file with --log=sqlite:PATH"
    if "malformed" in text:
        return f"{path} is damaged: look with 'bqserver check', then restore a backup with 'bqserver restore'"
    if "full" in text:
        return f"no room left on the disk of {path}: make some, then start again"
    return f"{path} can't be used: {text}"
