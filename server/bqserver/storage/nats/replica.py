"""A node's replica of the stream: a SQLite file, filled in the stream's order, that the node reads from.

The stream holds requests in an order. The outcome of each (an entry, a duplicate or a rejection) follows from the
earlier entries of its room, by the same pure rules as in every log (``sequencer``). So every node computes the same
outcomes, whichever node has published a request, and nodes agree on nothing but the stream.

The file can be deleted: it is filled from the stream again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bqserver.errors import StorageError
from bqserver.files import LockFile
from bqserver.model import Outcome, Rejected, Stored
from bqserver.storage.batching import take_batch
from bqserver.storage.sequencer import IdempotencyKey, Plan, Target, sequence
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.compaction import COMPACTION_DELAY, SEARCH_COMPACTION_DELAY, Compactor
from bqserver.storage.sqlite.readers import ReaderPool
from bqserver.storage.sqlite.schema import connect, explain, truncate_wal
from bqserver.storage.sqlite.writer_state import WriterState

from .records import StreamMessage, submission_of

MAX_COMMIT_MESSAGES = 2_000
RETRY_INTERVAL = 1.0
"""Seconds after a failed commit until the next try."""

_log = logging.getLogger("bqserver.view")

OnApplied = Callable[[Sequence["Applied"]], None]
OnRedacted = Callable[[Sequence["Applied"], Plan], None]


class Applied(NamedTuple):
    """A message of the stream and its outcome."""

    message: StreamMessage
    outcome: Outcome


class _PendingApply(NamedTuple):
    batch: Sequence[StreamMessage]
    done: asyncio.Future[None]
    trim: tuple[str, int] | None = None
    compact: bool = False
    """Truncate the write-ahead log after this commit."""


class Replica:
    """The file ``path``, filled from the stream of ``epoch``; a replica of another stream is deleted first.
    ``on_applied`` gets each batch on the event loop, once it can be read. Raises StorageError.
    """

    def __init__(self, path: Path, epoch: str, on_applied: OnApplied) -> None:
        self.path = path.resolve()
        self.epoch = epoch
        self._lock = LockFile(self.path)
        try:
            self._db = _open(self.path, epoch)
        except BaseException:
            self._lock.release()
            raise
        self.readers = ReaderPool(self.path)
        self.read = self.readers.read
        self.healthy = True
        self._on_applied = on_applied
        self.on_redacted: OnRedacted = lambda *_: None
        """Gets a batch before ``on_applied`` if it has superseded the texts of earlier messages, and its plan."""
        self._state = WriterState(self._db)
        self._closing = self._truncated = False
        self._queue: queue.SimpleQueue[_PendingApply | None] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._compactor = Compactor(
            [(COMPACTION_DELAY, self._truncate), (SEARCH_COMPACTION_DELAY, self.readers.compact_search)]
        )
        self.compact = self._compactor.run
        self._writer = threading.Thread(target=self._write, name="bqserver-view")
        self._writer.start()
        self._compactor.schedule()  # the process before this one may have been killed in between

    def apply(self, batch: Sequence[StreamMessage]) -> asyncio.Future[None]:
        """Compute and store the outcomes of messages in the given order; done when they can be read."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_PendingApply(batch, done))
        return done

    def trim(self, room: str, upto: int) -> None:
        """Remove the room's entries up to that seq, before messages that are applied later."""
        self._queue.put(_PendingApply((), self._loop.create_future(), (room, upto)))

    async def _truncate(self) -> bool:
        """Remove former texts from the write-ahead log."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_PendingApply((), done, compact=True))
        await done
        return self._truncated

    async def close(self) -> None:
        self._compactor.close()
        await self.readers.close()
        self._closing = True
        self._wake.set()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._writer.join)
        self._lock.release()

    # ---- on the writer's thread

    def _write(self) -> None:
        taken: list[_PendingApply | None] = []
        while not taken or taken[-1] is not None:
            taken = take_batch(self._queue.get(), self._queue, MAX_COMMIT_MESSAGES)
            applies = [work for work in taken if work is not None]
            batch = [one for work in applies for one in work.batch]
            trims = [work.trim for work in applies if work.trim is not None]
            plan = self._store(batch, trims) if batch or trims else Plan()
            if plan is None:
                break  # closing, and the disk is still full: the next start fills the file again
            applied = [Applied(*pair) for pair in zip(batch, _outcomes(batch, plan), strict=True)]
            if any(work.compact for work in applies):
                with contextlib.suppress(sqlite3.Error):  # tried again
                    self._truncated = truncate_wal(self._db)
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it all readers
                self._loop.call_soon_threadsafe(self._on_commit, applies, applied, plan)
        self._db.close()

    def _store(self, batch: Sequence[StreamMessage], trims: Sequence[tuple[str, int]]) -> Plan | None:
        """Commit, repeated until it succeeds, because later messages depend on these. None: closed meanwhile."""
        while True:
            try:
                plan = self._commit(batch, trims)
            except sqlite3.Error as error:
                if self.healthy:
                    _log.error("the replica can't be written: %s", explain(error, self.path))
                self.healthy = False
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._state.reset()
                self._wake.wait(RETRY_INTERVAL)
                if self._closing:
                    return None
            else:
                self.healthy = True
                return plan

    def _commit(self, batch: Sequence[StreamMessage], trims: Sequence[tuple[str, int]]) -> Plan:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        for room, upto in trims:
            self._state.trim(room, upto)
        valid = [(one, one.record) for one in batch if one.record is not None]
        plan = sequence(
            [submission_of(one.room, record) for one, record in valid],
            self._state,
            positions=[one.position for one, _ in valid],
        )
        self._state.store(plan)
        for room, seq in {one.room: one.seq for one in reversed(batch)}.items():
            if seq <= (upto := self._state.trimmed(room)):
                self._state.trim(room, upto)  # trimmed, but not purged from the stream yet
        cursors = {one.room: one.seq for one in batch}
        db.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", list(cursors.items()))
        db.execute("COMMIT")
        return plan

    def _on_commit(self, applies: Sequence[_PendingApply], applied: Sequence[Applied], plan: Plan) -> None:
        """Report the outcomes, then resolve the futures, in one turn of the loop."""
        if applied:
            if plan.redacted:
                self._compactor.schedule()
                self.on_redacted(applied, plan)
            self._on_applied(applied)
        for work in applies:
            if not work.done.done():
                work.done.set_result(None)


def _outcomes(batch: Sequence[StreamMessage], plan: Plan) -> list[Outcome]:
    valid = iter(plan.outcomes)
    return [_FOREIGN if one.record is None else next(valid) for one in batch]


def _open(path: Path, epoch: str) -> sqlite3.Connection:
    """The file as a replica of that stream, deleted first if it is one of another stream. Raises StorageError for a log."""
    db = _connect(path)
    row = db.execute("SELECT value FROM meta WHERE name = 'stream'").fetchone()
    if row is None and db.execute("SELECT 1 FROM entry LIMIT 1").fetchone():
        db.close()
        raise StorageError(f"{path} is a log, not the replica of a cluster: give another file as --view")
    if row is not None and row[0] != epoch:
        db.close()
        for end in ("", "-wal", "-shm", "-search", "-search-wal", "-search-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        db = _connect(path)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('stream', ?)", (epoch,))
    return db


def _connect(path: Path) -> sqlite3.Connection:
    # A power cut can lose the last commits, which are filled again, but never part of one.
    db = connect(path, synchronous="NORMAL")
    db.execute("CREATE TABLE IF NOT EXISTS cursor (room TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID")
    return db


_FOREIGN = Rejected("bad_json", "another program has stored this: it is not a message of bqserver", 400)


# ---- reads, on a reader thread


def cursor(db: sqlite3.Connection, room: str) -> int:
    """The seq of the room's last applied message; 0: none."""
    row = db.execute("SELECT seq FROM cursor WHERE room = ?", (room,)).fetchone()
    return int(row[0]) if row else 0


def target(db: sqlite3.Connection, room: str, seq: int) -> Target | None:
    return _ReadOnlyState(db).target(room, seq)


def find_stored(db: sqlite3.Connection, key: IdempotencyKey) -> Stored | None:
    """The entry with that room, principal and cid."""
    return _ReadOnlyState(db).find_stored([key]).get(key)


class _ReadOnlyState(WriterState):
    """A reader's state: it assigns no room numbers."""

    def _number(self, room: str) -> int:
        return queries.room_number(self._db, room)
