"""The default log: one SQLite file, one writer thread, and one commit for all appends that are queued.

Acknowledged means durable: WAL with ``synchronous=FULL``, and outcomes leave the writer only after the commit.
There is no timer: appends that arrive during one commit form the next one. An added delay only made it slower,
and one commit per request reached 1.2 k acknowledged entries per second instead of 10 k (DESIGN 4).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from bqserver.errors import QueueFull, StorageError
from bqserver.model import Bounds, Outcome, References, Rejected, Stored, Submission
from bqserver.storage.batching import PendingAppend, WriterTask, take_batch
from bqserver.storage.interface import Listener, read_view
from bqserver.storage.purge import request_path, serve_requests
from bqserver.storage.retention import Rule
from bqserver.storage.sequencer import Plan, sequence
from bqwidget.protocol import encode

from . import queries
from .attachments import SqliteAttachments
from .compaction import log_compactor
from .lock import HistoryLock, OpenFiles
from .read_positions import SqliteReadPositions
from .readers import ReaderPool
from .retention import Retention
from .schema import connect, explain_failure, read_epoch, renew_wal
from .writer_state import WriterState

MAX_COMMIT_ENTRIES = 512
"""A longer commit would delay the ack of its first sender."""
MAX_PENDING_ENTRIES, MAX_PENDING_BYTES = 20_000, 64 * 1024 * 1024
PROBE_INTERVAL = 0.5
"""Seconds between two checks of the files while nothing is appended, and between two attempts to write after a failed
commit."""
CHECK_INTERVAL = 0.1
"""Seconds between two checks of the files while commits follow each other. Each check releases the interpreter
lock, so that a check for every commit would slow it."""

_T = TypeVar("_T")

_log = logging.getLogger("bqserver.log")


class SqliteLog:
    """MessageLog in one SQLite file.

    ``append`` raises QueueFull when ``max_pending`` entries, or ``max_pending_bytes`` of them, wait for the disk.
    ``retain``: rules by which old messages are removed. Raises StorageError if the file can't be used, or another
    server uses it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: str = "FULL",
        max_pending: int = MAX_PENDING_ENTRIES,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        retain: Sequence[Rule] = (),
    ) -> None:
        self.path = Path(path).resolve()  # one lock per file, however many links lead to it
        self._lock = HistoryLock(self.path, create=True)
        with contextlib.ExitStack() as opened:
            opened.callback(self._lock.release)
            self._db = connect(self.path, synchronous=synchronous)
            opened.callback(self._db.close)
            self._files = OpenFiles(self.path)
            self.epoch = read_epoch(self._db)
            self.attachments = SqliteAttachments(self.path)
            self.attachments.hide_unreferenced(self.path)
            opened.pop_all()
        self._max_pending, self._max_pending_bytes = max_pending, max_pending_bytes
        self._pending = self._pending_bytes = 0
        self._healthy = True
        self._checked_at = 0.0
        self._closing = False
        self._listeners: list[Listener] = []
        self._state = WriterState(self._db)
        self._queue: queue.SimpleQueue[PendingAppend | WriterTask | None] = queue.SimpleQueue()
        self._readers = ReaderPool(self.path, self._files.check)
        self.rooms = partial(self._readers.read, queries.rooms)
        self.live_messages = partial(self._readers.read, queries.live_messages)
        self.room_view = partial(read_view, self)
        self.read_positions = SqliteReadPositions(self._db, self._readers, self._on_writer)
        self._loop = asyncio.get_running_loop()
        self._compactor = log_compactor(self._truncate, self.attachments, self._readers)
        self.compact = self._compactor.run
        self._writer = threading.Thread(target=self._write, name="bqserver-write")
        self._writer.start()
        works = [serve_requests(self, request_path(self.path))]
        if retain:
            works.append(Retention(retain, self._readers, self._trim).run())
        self._tasks = [self._loop.create_task(work) for work in works]
        self._compactor.schedule()  # the process before this one may have been killed in between

    # ---- on the event loop

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        done: asyncio.Future[list[Outcome]] = self._loop.create_future()
        if self._closing:
            done.set_result([_STOPPING] * len(batch))
            return done
        size = sum([len(encode(submission.draft)) for submission in batch])
        full = self._pending + len(batch) > self._max_pending
        if self._pending and (full or self._pending_bytes + size > self._max_pending_bytes):
            raise QueueFull(self._pending)
        self._pending += len(batch)
        self._pending_bytes += size
        self._queue.put(PendingAppend(batch, size, done))
        return done

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def healthy(self) -> bool:
        return self._healthy and self.attachments.healthy

    async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
        del min_seq  # this log is never behind
        return await self._readers.read(queries.bounds, room)

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        return await self._readers.read(queries.count, room, after, upto, limit)

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        return await self._readers.read(queries.entries, room, after, upto, limit)

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None, pinned: bool = False
    ) -> list[bytes]:
        return await self._readers.read(partial(queries.messages, pinned=pinned), room, limit, before, after)

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        return await self._readers.search(room, words, limit)

    async def close(self) -> None:
        """The writer closes its connection last: SQLite then merges the write-ahead log, and one file is left."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        self._compactor.close()
        await self._readers.close()
        await self.attachments.close()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._writer.join)
        self._lock.release()

    def _on_commit(self, appends: list[PendingAppend], plan: Plan) -> None:
        """Resolve the futures of the senders, then call the listeners, all in one turn of the loop."""
        start = 0
        for batch, size, done in appends:
            self._pending -= len(batch)
            self._pending_bytes -= size
            stop = start + len(batch)
            if not done.done():
                done.set_result(plan.outcomes[start:stop])
            start = stop
        if plan.rows:
            if plan.references.named or plan.references.freed:
                self.attachments.settle(plan.references)
            if plan.redacted:
                self._compactor.schedule()
            entries = [row.entry for row in plan.rows]
            for listener in self._listeners:
                listener(entries)

    async def _truncate(self) -> bool:
        """Remove former texts from the write-ahead log."""
        # When closing, the last connection removes the whole file.
        return self._closing or await self._on_writer(partial(renew_wal, self._db))

    async def _trim(self, room: str, upto: int) -> None:
        """Remove the room's entries up to that seq, and the attachments that only they reference."""
        freed = await self._on_writer(partial(self._state.commit_trim, room, upto))
        self.attachments.settle(References(freed=[(room, sha256) for sha256 in freed]))
        self._compactor.schedule()

    async def _on_writer(self, work: Callable[[], _T]) -> _T:
        """Returns ``work()``, which runs on the writer's thread between two commits."""
        done: asyncio.Future[_T] = self._loop.create_future()
        self._queue.put(WriterTask(work, done))
        return await done

    # ---- on the writer's thread

    def _write(self) -> None:
        renew_wal(self._db)
        taken: list[PendingAppend | WriterTask | None] = []
        while not taken or taken[-1] is not None:
            taken = take_batch(self._next(), self._queue, MAX_COMMIT_ENTRIES)
            appends = [work for work in taken if isinstance(work, PendingAppend)]
            plan = self._commit([one for work in appends for one in work.batch]) if appends else Plan()
            self._report(appends, plan)
            for work in taken:
                if isinstance(work, WriterTask):
                    work.run()
        self._db.close()

    def _report(self, appends: list[PendingAppend], plan: Plan) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no sender is left
            self._loop.call_soon_threadsafe(self._on_commit, appends, plan)

    def _next(self) -> PendingAppend | WriterTask | None:
        """Wait for work. Check the files meanwhile; after a failure also the disk, so that ``healthy`` recovers."""
        while True:
            try:
                return self._queue.get(timeout=PROBE_INTERVAL)
            except queue.Empty:
                self._probe()

    def _probe(self) -> None:
        try:
            self._check_files()
            if not self._healthy:
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (str(time.time()),))
        except (sqlite3.Error, StorageError) as error:
            self._mark_failed(error)
        else:
            self._mark_healthy()

    def _check_files(self) -> None:
        """Raises StorageError if the log's files are no longer those that were opened."""
        self._checked_at = time.monotonic()
        self._lock.keep()
        self.attachments.check_files()
        self._files.check()

    def _commit(self, batch: Sequence[Submission]) -> Plan:
        try:
            if not self._healthy or time.monotonic() - self._checked_at > CHECK_INTERVAL:
                self._check_files()
            plan = self._store_new(batch) or self._store_checked(batch)
        except Exception as error:  # noqa: BLE001 - every sender gets an answer
            self._rollback()
            self._mark_failed(error)
            why = "its file is missing on the server" if isinstance(error, StorageError) else str(error)
            rejected = Rejected("unavailable", f"the message could not be stored: {why}; try again", 503, 5.0)
            return Plan(outcomes=[rejected] * len(batch))
        self._mark_healthy()
        return plan

    def _store_new(self, batch: Sequence[Submission]) -> Plan | None:
        """Store a batch without searching for duplicates, which are rare: the unique index on cids detects them.

        None, with nothing stored, if there was a duplicate or a rejection (a duplicate can cause one).
        """
        try:
            plan = self._plan(batch, assume_new=True)
            if len(plan.rows) == len(batch):
                self._save(plan)
                return plan
        except sqlite3.IntegrityError:
            pass
        self._rollback()
        return None

    def _store_checked(self, batch: Sequence[Submission]) -> Plan:
        plan = self._plan(batch)
        self._save(plan)
        return plan

    def _plan(self, batch: Sequence[Submission], *, assume_new: bool = False) -> Plan:
        self._db.execute("BEGIN IMMEDIATE")
        return sequence(batch, self._state, int(time.time() * 1000), assume_new=assume_new)

    def _save(self, plan: Plan) -> None:
        self._state.store(plan)
        self._db.execute("COMMIT")

    def _rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._state.reset()

    def _mark_failed(self, error: Exception) -> None:
        if self._healthy:
            sentence = f"messages can't be stored: {explain_failure(error, self.path)}"
            _log.error(sentence)  # no arguments: another fault is no repetition (RepeatFilter)
            self._healthy = False

    def _mark_healthy(self) -> None:
        if not self._healthy:
            _log.warning("messages can be stored again")
            self._healthy = True


_STOPPING = Rejected("restart", "the server is stopping: it will be back", 503, 1.0)
