"""The default log: one SQLite file, one writer thread, and a commit for everything that queued meanwhile.

Acknowledged means durable: WAL with ``synchronous=FULL``, and outcomes leave the writer only after the
commit. Nothing waits for a timer: while one commit runs, the next one's batch gathers by itself (an added
delay only hurt; a commit per request fell from 10 k to 1.2 k acknowledged a second, DESIGN 4).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .lockfile import LockFile
from .log import Bounds, Listener, LogFull, Outcome, Refused, RoomRow, Stored, Submission
from .schema import SEQ_BITS, SEQ_MASK, connect, epoch_of
from .sequencer import Head, Key, Plan, Target, sequence

BATCH = 512
"""Entries in one commit at the most: a longer one would keep its first sender waiting."""
READERS = 2

_log = logging.getLogger("bqserver.log")
_T = TypeVar("_T")


class _Work(NamedTuple):
    batch: Sequence[Submission]
    done: asyncio.Future[list[Outcome]]


class SqliteLog:
    """MessageLog in one SQLite file.

    ``max_pending``: entries that may wait for the disk before ``append`` raises LogFull.
    Raises LogError where the file can't be used, or another server uses it.
    """

    def __init__(self, path: str | Path, *, synchronous: str = "FULL", max_pending: int = 20_000) -> None:
        self.path = Path(path)
        self._lock = LockFile(self.path)
        try:
            self._db = connect(self.path, synchronous=synchronous)
        except BaseException:
            self._lock.release()
            raise
        self.epoch = epoch_of(self._db)
        self._max_pending = max_pending
        self._pending = 0
        self._healthy = True
        self._listeners: list[Listener] = []
        self._shelf = _Shelf(self._db)
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(READERS, "bqserver-read")
        self._loop = asyncio.get_running_loop()
        self._writer = threading.Thread(target=self._write, name="bqserver-write")
        self._writer.start()

    # ---- on the event loop

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        if self._pending + len(batch) > self._max_pending:
            raise LogFull(self._pending)
        self._pending += len(batch)
        done: asyncio.Future[list[Outcome]] = self._loop.create_future()
        self._queue.put(_Work(batch, done))
        return done

    def follow(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def healthy(self) -> bool:
        return self._healthy

    async def bounds(self, room: str) -> Bounds:
        return await self._read(_bounds, room)

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        return await self._read(_entries, room, after, upto, limit)

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[bytes]:
        return await self._read(_messages, room, limit, before, after)

    async def rooms(self) -> list[RoomRow]:
        return await self._read(_rooms)

    async def close(self) -> None:
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._writer.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        self._lock.release()

    def _committed(self, works: list[_Work], plan: Plan) -> None:
        """Back on the loop: senders first, then followers, all in one turn."""
        self._pending -= len(plan.outcomes)
        start = 0
        for batch, done in works:
            stop = start + len(batch)
            if not done.done():
                done.set_result(plan.outcomes[start:stop])
            start = stop
        if plan.rows:
            entries = [row.entry for row in plan.rows]
            for listener in self._listeners:
                listener(entries)

    async def _read(self, query: Callable[..., _T], *args: Any) -> _T:
        return await self._loop.run_in_executor(self._readers, self._reading, query, args)

    # ---- on a reader's thread

    def _reading(self, query: Callable[..., _T], args: tuple[Any, ...]) -> _T:
        if not hasattr(self._local, "db"):
            self._local.db = connect(self.path, readonly=True)
        return query(self._local.db, *args)

    # ---- on the writer's thread

    def _write(self) -> None:
        while (work := self._queue.get()) is not None:
            works, size, last = [work], len(work.batch), False
            while size < BATCH:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                works.append(more)
                size += len(more.batch)
            plan = self._commit([one for work in works for one in work.batch])
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._committed, works, plan)
            if last:
                break
        self._db.close()

    def _commit(self, batch: Sequence[Submission]) -> Plan:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            plan = sequence(batch, self._shelf, int(time.time() * 1000))
            self._shelf.store(plan)
            db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it was, every sender gets an answer
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._shelf.forget()
            self._healthy = False
            _log.error("a batch of %d could not be written: %s", len(batch), error)
            refused = Refused("unavailable", f"the message could not be stored: {error}; try again", 503, 5.0)
            return Plan(outcomes=[refused] * len(batch))
        self._healthy = True
        return plan


class _Shelf:
    """What the writer knows: heads and room numbers in memory, the rest by its own connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rooms: dict[str, int] = {}
        self._heads: dict[str, Head] = {}

    def head(self, room: str) -> Head:
        head = self._heads.get(room)
        if head is None:
            low, high = _span(self._number(room))
            row = self._db.execute(
                "SELECT id, at FROM entry WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", (low, high)
            ).fetchone()
            head = self._heads[room] = Head(row[0] & SEQ_MASK, row[1]) if row else Head(0, 0)
        return head

    def known(self, keys: Iterable[Key]) -> dict[Key, Stored]:
        """One statement for all keys: each ``execute`` gives up the interpreter lock once."""
        places = {(self._number(room), who, cid): room for room, who, cid in keys}
        if not places:
            return {}
        found = self._db.execute(
            f"WITH wanted(room, principal, cid) AS (VALUES {_values(3, len(places))}) "
            "SELECT room, principal, cid, id, at, body, target FROM wanted JOIN entry USING (room, principal, cid)",
            [value for place in places for value in place],
        )
        known = {}
        for number, who, cid, key, at, body, target in found:
            room, seq = places[number, who, cid], key & SEQ_MASK
            known[room, who, cid] = Stored(room, seq, seq - 1, at, body, target is not None)
        return known

    def target(self, room: str, seq: int) -> Target | None:
        row = self._db.execute(
            "SELECT principal, coalesce(folded, body) FROM entry WHERE id = ? AND target IS NULL",
            (self._number(room) << SEQ_BITS | seq,),
        ).fetchone()
        return Target(*row) if row else None

    def store(self, plan: Plan) -> None:
        for start in range(0, len(plan.rows), BATCH):
            rows = plan.rows[start : start + BATCH]
            values: list[Any] = []
            for entry, submission, target in rows:
                number = self._rooms[entry.room]
                values += (
                    number << SEQ_BITS | entry.seq,
                    entry.at,
                    number,
                    submission.principal,
                    submission.draft.cid or None,
                    target,
                    entry.body,
                )
            self._db.execute(
                "INSERT INTO entry (id, at, room, principal, cid, target, body) VALUES "
                + _values(7, len(rows)),
                values,
            )
        for (room, seq), body in plan.folded.items():
            self._db.execute(
                "UPDATE entry SET folded = ? WHERE id = ?", (body, self._rooms[room] << SEQ_BITS | seq)
            )

    def forget(self) -> None:
        """After a rollback nothing remembered can be trusted."""
        self._rooms.clear()
        self._heads.clear()

    def _number(self, room: str) -> int:
        number = self._rooms.get(room)
        if number is None:
            self._db.execute("INSERT OR IGNORE INTO room (name) VALUES (?)", (room,))
            number = self._rooms[room] = _number_of(self._db, room)
        return number


# ---- reading, on any connection


def _bounds(db: sqlite3.Connection, room: str) -> Bounds:
    low, high = _span(_number_of(db, room))
    oldest, newest = db.execute(
        "SELECT (SELECT min(id) FROM entry WHERE id BETWEEN ?1 AND ?2), "
        "(SELECT max(id) FROM entry WHERE id BETWEEN ?1 AND ?2)",
        (low, high),
    ).fetchone()
    return Bounds(oldest & SEQ_MASK, newest & SEQ_MASK) if newest else Bounds(0, 0)


def _entries(db: sqlite3.Connection, room: str, after: int, upto: int, limit: int) -> list[Stored]:
    low, _ = _span(_number_of(db, room))
    rows = db.execute(
        "SELECT id, at, body, target FROM entry WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
        (low + min(after, SEQ_MASK), low + min(upto, SEQ_MASK), limit),
    )
    return [
        Stored(room, key & SEQ_MASK, (key & SEQ_MASK) - 1, at, body, target is not None)
        for key, at, body, target in rows
    ]


def _messages(
    db: sqlite3.Connection, room: str, limit: int, before: int | None, after: int | None
) -> list[bytes]:
    low, high = _span(_number_of(db, room))
    first = low + min(after, SEQ_MASK) + 1 if after is not None else low
    last = low + min(before, SEQ_MASK) - 1 if before is not None else high
    order = "ASC" if after is not None else "DESC"
    rows = db.execute(
        "SELECT coalesce(folded, body) FROM entry INDEXED BY message "
        f"WHERE target IS NULL AND id BETWEEN ? AND ? ORDER BY id {order} LIMIT ?",
        (first, last, limit),
    ).fetchall()
    bodies = [row[0] for row in rows]
    return bodies if after is not None else bodies[::-1]


def _rooms(db: sqlite3.Connection) -> list[RoomRow]:
    rows = [
        RoomRow(name, _bounds(db, name).seq) for (name,) in db.execute("SELECT name FROM room ORDER BY name")
    ]
    return [row for row in rows if row.seq]


def _number_of(db: sqlite3.Connection, room: str) -> int:
    row = db.execute("SELECT id FROM room WHERE name = ?", (room,)).fetchone()
    return int(row[0]) if row else 0  # numbers start at 1: 0 is a room without entries


def _span(number: int) -> tuple[int, int]:
    low = number << SEQ_BITS
    return low, low | SEQ_MASK


@functools.cache
def _values(columns: int, rows: int) -> str:
    return ",".join([f"({','.join('?' * columns)})"] * rows)
