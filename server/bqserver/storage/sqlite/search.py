"""Full-text search by SQLite's FTS5: an index of the log, updated room by room when a search runs.

The index is a separate file, so that it adds no cost to a commit of the log. It can be deleted: the next search
builds it again, as it does if an earlier version wrote it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from bqserver.storage.redaction import decode_message
from bqserver.storage.search_text import searchable

from . import queries
from .queries import id_range, room_number
from .schema import SEQ_MASK, connect, create_database, read_epoch, transaction, truncate_wal

MAX_TRANSACTION_ENTRIES = 2_000
"""Entries indexed in one transaction, between which other searches run."""

INDEX_VERSION = 3
"""Of the index, in the file's ``user_version``."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (epoch TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (room INTEGER PRIMARY KEY, id INTEGER NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS found
USING fts5 (user, text, tokenize = "unicode61 remove_diacritics 2", prefix = "1 2 3");
"""


class SearchIndex:
    """Searches one SQLite log. All methods run on one thread and may block it."""

    def __init__(self, log: Path) -> None:
        path = index_path(log)
        with contextlib.ExitStack() as on_error:
            self._log = on_error.enter_context(contextlib.closing(connect(log, readonly=True)))
            epoch = read_epoch(self._log)
            try:
                self._db = _open(path, epoch)
            except sqlite3.DatabaseError:  # damaged, or of another epoch: it holds no data of its own
                path.unlink(missing_ok=True)
                self._db = _open(path, epoch)
            on_error.pop_all()

    @property
    def connections(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        return self._log, self._db

    def search(self, room: str, words: str, limit: int) -> list[bytes]:
        """The newest ``limit`` indexed messages that contain all ``words``, folded, oldest first."""
        number = room_number(self._log, room)
        query = _match(words)
        if not number or not query:
            return []
        low, high = id_range(number)
        rows = self._db.execute(
            "SELECT rowid FROM found WHERE found MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid DESC LIMIT ?",
            (query, low, high, limit),
        ).fetchall()
        bodies = [self._body(key) for (key,) in reversed(rows)]
        return [body for body in bodies if body is not None]

    def rooms(self) -> list[str]:
        """The rooms that are indexed."""
        numbers = {number for (number,) in self._db.execute("SELECT room FROM cursor")}
        return [name for number, name in self._log.execute("SELECT id, name FROM room") if number in numbers]

    def compact(self) -> bool:
        """Remove texts that were edited or deleted from the file. Returns False while another process reads it."""
        self._db.execute("INSERT INTO found (found) VALUES ('optimize')")  # merges away what was deleted
        return truncate_wal(self._db)

    def close(self) -> None:
        for db in self.connections:
            db.close()

    def update(self, room: str) -> bool:
        """Index the next new entries of a room, and remove old ones; False if there were none. For a change, its message
        is indexed again.
        """
        number = room_number(self._log, room)
        low, high = id_range(number)
        trimmed = self._remove_trimmed(low, low + min(queries.trimmed(self._log, room), SEQ_MASK))
        row = self._db.execute("SELECT id FROM cursor WHERE room = ?", (number,)).fetchone()
        cursor = row[0] if row else low
        rows = self._log.execute(
            "SELECT id, target FROM entry WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
            (cursor, high, MAX_TRANSACTION_ENTRIES),
        ).fetchall()
        if rows:
            with transaction(self._db):
                for key in {key if target is None else low | target for key, target in rows}:
                    self._index(key)
                self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (number, rows[-1][0]))
        return bool(rows or trimmed)

    def _remove_trimmed(self, low: int, upto: int) -> bool:
        """Remove the next messages that the log has removed; False if there were none."""
        keys = self._db.execute(
            "SELECT rowid FROM found WHERE rowid BETWEEN ? AND ? LIMIT ?", (low, upto, MAX_TRANSACTION_ENTRIES)
        ).fetchall()
        if keys:
            with transaction(self._db):
                self._db.executemany("DELETE FROM found WHERE rowid = ?", keys)
        return bool(keys)

    def _index(self, key: int) -> None:
        body = self._body(key)
        if body is None:
            return
        message = decode_message(body)
        self._db.execute("DELETE FROM found WHERE rowid = ?", (key,))
        if not message.deleted and not message.live:  # the change that ends it comes here too
            self._db.execute(
                "INSERT INTO found (rowid, user, text) VALUES (?, ?, ?)",
                (key, searchable(message.user), searchable(message.text)),
            )

    def _body(self, key: int) -> bytes | None:
        row = self._log.execute("SELECT coalesce(folded, body) FROM entry WHERE id = ?", (key,)).fetchone()
        return row[0] if row else None


def index_path(log: Path) -> Path:
    """The file of the log's index."""
    return log.with_name(f"{log.name}-search")


def _open(path: Path, epoch: str) -> sqlite3.Connection:
    create_database(path)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, epoch)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, epoch: str) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    # A power cut may lose the newest transactions, which are indexed again, and never splits one.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA secure_delete = ON")
    db.executescript(_SCHEMA)
    row = db.execute("SELECT epoch, user_version FROM meta, pragma_user_version").fetchone()
    if row is None:
        db.execute(f"PRAGMA user_version = {INDEX_VERSION}")
        db.execute("INSERT INTO meta VALUES (?)", (epoch,))
    elif row != (epoch, INDEX_VERSION):
        raise sqlite3.DatabaseError("the index of another epoch or version")


def _match(words: str) -> str:
    """An FTS5 query for all words, the last one as a prefix; quoted, so that no word is an operator."""
    quoted = ['"' + word.replace('"', '""') + '"' for word in map(searchable, words.split()) if word]
    return " ".join(quoted) + "*" if quoted else ""
