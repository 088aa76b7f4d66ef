"""The SQLite file: its tables, its version, and opening a connection to it.

The entries of a room are adjacent in one B-tree: ``id = room << 40 | seq``. Changes are stored as entries;
``folded`` holds the JSON of a message after its changes, and the partial index ``message`` finds the last 50
messages without reading the changes between them.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bqserver.errors import StorageError
from bqserver.files import create_private, make_folder, make_private, unwritable_error

from .redaction import HAS_ADDITION, HAS_CHANGED_TEXT, redact_former_texts

APPLICATION_ID = 0x62717764  # "bqwd": identifies the files of this program
SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
SQLITE_COMPANIONS = "-wal", "-shm", "-journal"
"""Ends of the names of files that SQLite keeps next to a database."""

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

_VERSION_2 = f"""
CREATE INDEX edit ON entry (room, target) WHERE {HAS_CHANGED_TEXT};
CREATE TABLE reference (id INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (id, sha256)) WITHOUT ROWID;
CREATE INDEX referenced ON reference (sha256, id)
"""

_VERSION_3 = "CREATE TABLE IF NOT EXISTS trimmed (room TEXT PRIMARY KEY, upto INTEGER NOT NULL) WITHOUT ROWID"
"""Entries of a room up to this seq were removed. The replica of a cluster may have the table already."""

_VERSION_4 = f"CREATE INDEX addition ON entry (room, target) WHERE {HAS_ADDITION}"

_VERSION_5 = "CREATE TABLE live (id INTEGER PRIMARY KEY, author TEXT NOT NULL)"
"""The messages that are being written, and ``Submission.author`` of each."""

_VERSION_6 = """
CREATE TABLE read_position (
  user TEXT NOT NULL, room TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (user, room)
) WITHOUT ROWID
"""
"""How far verified members have read."""

IS_PINNED = "target IS NULL AND folded IS NOT NULL AND CAST(folded AS TEXT) GLOB '*\"pinned\":[1-9]*'"
"""Whether a message is pinned; a reaction of that name has users in place of a time."""

_VERSION_7 = f"CREATE INDEX IF NOT EXISTS pinned ON entry (id) WHERE {IS_PINNED}"

BUSY_TIMEOUT_MS, TRUNCATE_TIMEOUT_MS = 10_000, 200
"""Milliseconds to wait for another connection; for readers, before the write-ahead log is truncated."""

WAL_KEPT_BYTES = 64 * 1024 * 1024
"""Bytes that the write-ahead log keeps on disk after a burst or a backup has made it longer."""

WAL_INITIAL_BYTES = 4_000_000
"""Bytes after which SQLite starts again at the beginning of the write-ahead log."""


def _version_2(db: sqlite3.Connection) -> None:
    """Find the edits of a message, and the messages that reference an attachment; remove texts that are superseded."""
    for statement in _VERSION_2.split(";"):
        db.execute(statement)
    redact_former_texts(db)


MIGRATIONS: list[str | Callable[[sqlite3.Connection], None]] = [
    _VERSION_1,
    _version_2,
    _VERSION_3,
    _VERSION_4,
    _VERSION_5,
    _VERSION_6,
    _VERSION_7,
]
"""Step N upgrades a file from version N to N + 1. Never edit a released step."""


def connect(path: str | Path, *, synchronous: str = "FULL", readonly: bool = False) -> sqlite3.Connection:
    """Open a log. Raises StorageError, which says what to do about the file.

    Durability needs ``synchronous=FULL``: NORMAL lost 1,280 of 61,984 acknowledged rows in a simulated
    power cut, FULL none (DESIGN 4; tests/chaos/test_power_cut.py shows both).
    """
    path = Path(path)
    if not readonly:
        return open_file(path, lambda db: _prepare(db, path, synchronous))
    if not path.is_file():
        raise StorageError(f"{path} does not exist: give the file of the server with --log=sqlite:PATH")
    return open_file(path, lambda db: check_application(db, path), readonly=True)


def open_file(
    path: Path, set_up: Callable[[sqlite3.Connection], None], *, readonly: bool = False
) -> sqlite3.Connection:
    """A connection, prepared by ``set_up``, that one thread at a time may use. Raises StorageError."""
    if not readonly:
        create_database(path)
    with ExitStack() as opened:
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000)
            opened.callback(db.close)
            if readonly:
                db.execute("PRAGMA query_only = ON")
            set_up(db)
        except sqlite3.DatabaseError as error:
            raise StorageError(explain(error, path)) from error
        opened.pop_all()
    return db


def enable_durability(
    db: sqlite3.Connection, path: Path, *, synchronous: str = "FULL", wal_kept_bytes: int = 0
) -> None:
    """Make commits survive a power cut. ``wal_kept_bytes`` of the write-ahead log stay allocated."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageError(f"the file system of {path} does not support a write-ahead log: use a local disk")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
    # On macOS fsync alone reaches only the cache of the drive. No effect on other systems.
    db.execute("PRAGMA fullfsync = ON")
    db.execute("PRAGMA checkpoint_fullfsync = ON")
    db.execute(f"PRAGMA journal_size_limit = {wal_kept_bytes}")


def _prepare(db: sqlite3.Connection, path: Path, synchronous: str) -> None:
    """Prepare the only connection that writes, and upgrade the file."""
    if any(
        db.execute("SELECT (SELECT count(*) FROM sqlite_master), application_id FROM pragma_application_id").fetchone()
    ):
        check_application(db, path)
    enable_durability(db, path, synchronous=synchronous, wal_kept_bytes=WAL_KEPT_BYTES)
    db.execute("PRAGMA cache_size = -65536")
    _migrate(db, path)


def preallocate_wal(db: sqlite3.Connection) -> None:
    """Allocate the write-ahead log before it is needed. Takes some 20 ms; the log's file grows by an eighth of that.

    Syncing a file that also grows takes longer: the first 4,000 messages after the start were 13 % slower
    (tests/benchmarks), and few servers receive more than that between two starts.
    """
    for _ in range(8):
        db.execute("INSERT OR REPLACE INTO meta VALUES ('room', zeroblob(?))", (WAL_INITIAL_BYTES // 8,))
        db.execute("DELETE FROM meta WHERE name = 'room'")
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # does not wait for readers


def truncate_wal(db: sqlite3.Connection) -> bool:
    """Remove what the write-ahead log still holds of deleted and superseded texts; False while readers prevent it."""
    db.execute(f"PRAGMA busy_timeout = {TRUNCATE_TIMEOUT_MS}")
    try:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return not busy


def renew_wal(db: sqlite3.Connection) -> bool:
    """Truncate the write-ahead log, and allocate it again; False if it has to be repeated."""
    truncated = False
    with suppress(sqlite3.Error):  # a commit reports a full disk
        truncated = truncate_wal(db)
        preallocate_wal(db)
    return truncated


def read_epoch(db: sqlite3.Connection) -> str:
    """Raises StorageError if the log has none."""
    try:
        (epoch,) = db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone() or ("",)
    except sqlite3.DatabaseError as error:
        raise StorageError(f"the log is damaged ({error}): restore a backup with 'bqserver restore'") from error
    if not epoch:
        raise StorageError("the log is damaged (it has no epoch): restore a backup with 'bqserver restore'")
    return str(epoch)


def set_new_epoch(db: sqlite3.Connection) -> str:
    """Declare that a seq may refer to another entry than before, as after a restore."""
    epoch = secrets.token_hex(8)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
    return epoch


def check_application(db: sqlite3.Connection, path: Path) -> None:
    """Raises StorageError if another program, or a newer version of this one, wrote the file."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise StorageError(f"{path} is the database of another program: give another file with --log=sqlite:PATH")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StorageError(
            f"{path} was written by a newer bqserver (schema {version}, this one knows {len(MIGRATIONS)}): "
            "upgrade bqwidget"
        )


def explain(error: sqlite3.Error, path: Path) -> str:
    """A sentence about an error of SQLite that says what to do."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_NOTADB":
        return f"{path} is not a bqserver database: give another file with --log=sqlite:PATH"
    if name.startswith("SQLITE_CORRUPT"):
        return f"{path} is damaged: inspect it with 'bqserver check', then restore a backup with 'bqserver restore'"
    if name == "SQLITE_FULL":
        return f"the disk of {path} is full: free some space"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"{path} can't be written ({error}): check the permissions of the file and its folder"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk of {path} fails ({error}): check the disk"
    return f"{path} can't be used: {error}"


def explain_failure(error: Exception, path: Path) -> str:
    """A sentence about any error of the log."""
    match error:
        case sqlite3.Error():
            return explain(error, path)
        case StorageError():
            return str(error)
    return repr(error)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, or roll back."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def create_database(path: Path) -> None:
    """Create the file with mode 0600, and a new folder with 0700: other users of the machine can't read it.

    SQLite gives its other files the mode and the owner of this one. Its name becomes durable when SQLite first syncs
    the write-ahead log, which syncs the folder too.
    """
    try:
        make_folder(path.parent)
        create_private(path)
        for end in SQLITE_COMPANIONS:  # left by a crash
            make_private(path.with_name(path.name + end))
    except OSError as error:
        raise unwritable_error(path, error) from error


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
                f"{path} could not be upgraded to schema {number} and is unchanged: {explain(error, path)}"
            ) from error
