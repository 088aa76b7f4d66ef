"""A node's view of the stream: the SQLite file that it serves from, filled in the stream's order.

The stream says what was asked for and in which order; what becomes of each (an entry, a duplicate, a refusal)
follows from the entries before it in its room, by the same pure rules as everywhere (sequencer). So every node
works out the same, whichever of them published it, and no two have to agree on anything but the stream.

The file holds nothing of its own: deleted, it is filled again.
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
from bqserver.model import Bounds, Outcome, Rejected, Stored
from bqserver.storage.batching import take_batch
from bqserver.storage.sequencer import IdempotencyKey, Plan, Target, sequence
from bqserver.storage.sqlite.readers import ReaderPool
from bqserver.storage.sqlite.schema import connect, explain

from . import replica_state
from .records import StreamMessage, submission_of

MAX_BATCH = 2_000
"""Messages in one commit at the most."""
RETRY_INTERVAL = 1.0
"""Seconds until a disk that refused a commit is tried again."""

_log = logging.getLogger("bqserver.view")

OnApplied = Callable[[Sequence["Applied"]], None]


class Applied(NamedTuple):
    """A message of the stream and what became of it."""

    message: StreamMessage
    outcome: Outcome


class _Work(NamedTuple):
    batch: Sequence[StreamMessage]
    done: asyncio.Future[None]
    trim: tuple[str, int] | None = None


class Replica:
    """``path`` filled from the stream of that ``epoch``; a file of another stream is begun anew. ``told`` hears
    of everything that was worked out, on the event loop, once it can be read. Raises StorageError.
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
        self.healthy = True
        self._on_applied = on_applied
        self._shelf = replica_state.ReplicaState(self._db)
        self._closing = False
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._writer = threading.Thread(target=self._write, name="bqserver-view")
        self._writer.start()

    def apply(self, batch: Sequence[StreamMessage]) -> asyncio.Future[None]:
        """Work out what became of them, in the order in which they are given; done when they can be read."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Work(batch, done))
        return done

    async def cursor(self, room: str) -> int:
        """The stream's seq up to which the view knows that room; 0: nothing of it."""
        return await self.readers.read(replica_state.cursor, room)

    def trim(self, room: str, upto: int) -> None:
        """Let everything of the room up to there go, before anything that is added later is worked out."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Work((), done, (room, upto)))

    async def bounds(self, room: str) -> Bounds:
        return await self.readers.read(replica_state.bounds, room)

    async def entries(self, room: str, after: int, upto: int, limit: int) -> list[Stored]:
        return await self.readers.read(replica_state.entries, room, after, upto, limit)

    async def target(self, room: str, seq: int) -> Target | None:
        return await self.readers.read(replica_state.target, room, seq)

    async def known(self, key: IdempotencyKey) -> Stored | None:
        """The entry of that room, principal and cid."""
        return (await self.readers.read(replica_state.known, key)).get(key)

    async def close(self) -> None:
        await self.readers.close()
        self._closing = True
        self._wake.set()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._writer.join)
        self._lock.release()

    # ---- on the writer's thread

    def _write(self) -> None:
        works: list[_Work | None] = []
        while not works or works[-1] is not None:
            works = take_batch(self._queue.get(), self._queue, MAX_BATCH)
            given = [work for work in works if work is not None]
            batch = [one for work in given for one in work.batch]
            trims = [work.trim for work in given if work.trim is not None]
            outcomes = self._store(batch, trims) if batch or trims else []
            if outcomes is None:
                break  # closing, and the disk is still full: the next start fills it again
            worked = [Applied(*pair) for pair in zip(batch, outcomes, strict=True)]
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._stored, given, worked)
        self._db.close()

    def _store(
        self, batch: Sequence[StreamMessage], trims: Sequence[tuple[str, int]]
    ) -> list[Outcome] | None:
        """Until it succeeds: without these the view can't go on. None where it closes meanwhile."""
        while True:
            try:
                outcomes = self._try(batch, trims)
            except sqlite3.Error as error:
                if self.healthy:
                    _log.error("the view can't be written: %s", explain(error, self.path))
                self.healthy = False
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._shelf.reset()
                self._wake.wait(RETRY_INTERVAL)
                if self._closing:
                    return None
            else:
                self.healthy = True
                return outcomes

    def _try(self, batch: Sequence[StreamMessage], trims: Sequence[tuple[str, int]]) -> list[Outcome]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        for room, upto in trims:
            self._shelf.trim(room, upto)
        good = [(one, one.record) for one in batch if one.record is not None]
        plan = sequence(
            [submission_of(one.room, envelope) for one, envelope in good],
            self._shelf,
            positions=[one.place for one, _ in good],
        )
        self._shelf.store(plan)
        for room, seq in {one.room: one.seq for one in reversed(batch)}.items():
            if seq <= (upto := self._shelf.trimmed(room)):
                self._shelf.trim(room, upto)  # still in the stream when this node came, but not for long
        reached = {one.room: one.seq for one in batch}
        db.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", list(reached.items()))
        db.execute("COMMIT")
        return _outcomes(batch, plan)

    def _stored(self, works: Sequence[_Work], worked: Sequence[Applied]) -> None:
        """Back on the loop."""
        if worked:
            self._on_applied(worked)
        for work in works:
            if not work.done.done():
                work.done.set_result(None)


def _outcomes(batch: Sequence[StreamMessage], plan: Plan) -> list[Outcome]:
    given = iter(plan.outcomes)
    return [_FOREIGN if one.record is None else next(given) for one in batch]


def _open(path: Path, epoch: str) -> sqlite3.Connection:
    """The file as a view of that stream; begun anew where it is a view of another one. Never a log of its own."""
    db = _connect(path)
    row = db.execute("SELECT value FROM meta WHERE name = 'stream'").fetchone()
    if row is None and db.execute("SELECT 1 FROM entry LIMIT 1").fetchone():
        db.close()
        raise StorageError(f"{path} is a log of its own and no node's view of a cluster: give another --view")
    if row is not None and row[0] != epoch:
        db.close()
        for end in ("", "-wal", "-shm", "-search", "-search-wal", "-search-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        db = _connect(path)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('stream', ?)", (epoch,))
    return db


def _connect(path: Path) -> sqlite3.Connection:
    # A power cut takes the newest commits, which are filled again, and never half of one.
    db = connect(path, synchronous="NORMAL")
    db.execute(
        "CREATE TABLE IF NOT EXISTS cursor (room TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE IF NOT EXISTS trimmed (room TEXT PRIMARY KEY, upto INTEGER NOT NULL) WITHOUT ROWID"
    )
    return db


_FOREIGN = Rejected("bad_json", "what is stored there is no message of bqserver", 400)
