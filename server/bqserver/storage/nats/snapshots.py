"""Pages: the last messages of each room as some node has worked them out, for a node that has nothing of it yet.

What became of a room's messages is known only from all of them, and NATS reads all of the stream's files to find
those of one room. So a page is kept in a bucket, with the stream's seq up to which it is exact; whoever reads it
asks the stream's leader whether the room has anything newer. It is right or it is not used, whoever wrote it and
when: one that is lost, or replaced by an older one, costs a fill and nothing else.

Whoever published a room's newest message writes its page once the room is quiet, and so does who missed one.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import nats.errors

from bqserver.errors import StorageError
from bqserver.jetstream import api
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.kv import KeyValue, retry_startup
from bqserver.model import RoomView
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.schema import connect
from bqwidget.protocol import encode

from . import replica_state
from .consumers import Consumers
from .replica import Applied, Replica
from .snapshot import Snapshot, decode_snapshot, take_snapshot

BUCKET = "pages"
QUIET_PERIOD = 2.0
"""Seconds without news after which a room's page is written."""
MIN_WRITE_INTERVAL = 10.0
"""Seconds between two pages of one room."""
MAX_CONCURRENT_WRITES = 8
"""Pages on their way at once."""
BUSY_INTERVAL = 0.08
"""Seconds between such rounds while anything is said: a node writes 100 pages a second at the most then, and those that
are due longest first. When nobody has said anything for ``QUIET`` seconds it writes as many as the cluster takes.
"""
RETRY_INTERVAL = 10.0
"""Seconds for which a bucket that failed is left alone."""
READ_TIMEOUT = 1.0
"""Seconds that a reader waits for a page, and for the word that it is the newest."""

_log = logging.getLogger("bqserver.nats")


class _Due(NamedTuple):
    at: float
    """When it may be written (the loop's clock)."""
    seq: int
    """The message for which it is."""


class Snapshots:
    """``node``: what this node's messages are marked with. Nothing here raises: in any doubt there is no page."""

    def __init__(
        self, client: JetStreamClient, replica: Replica, consumers: Consumers, node: str, replicas: int
    ) -> None:
        self._client = client
        self._replica = replica
        self._consumers = consumers
        self._node = node
        self._bucket = KeyValue(client, BUCKET, replicas)
        self._created = False
        self._scheduled: dict[str, _Due] = {}
        self._written_at: dict[str, float] = {}
        self._paused_until = 0.0
        self._applied_at = 0.0
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    # ---- for who reads

    async def messages(self, room: str, limit: int) -> list[bytes] | None:
        """The room's newest, where this node would have to fill it first, and a page has them."""
        if self._consumers.is_filled(room):
            return None
        page = await self._read_current(room)
        found = None if page is None else page.without(await self._trimmed(room)).last(limit)
        if found is not None:
            self._consumers.fill_later(room)
        return found

    async def glance(self, room: str, limit: int) -> RoomView | None:
        """The same, and how far the room goes."""
        if self._consumers.is_filled(room):
            return None
        page = await self._read_current(room)
        if page is None or (found := page.last(limit)) is None:
            return None
        if await self._trimmed(room) > page.trimmed:
            self._schedule(room, page.seq)  # what is the oldest entry now, it does not say
            return None
        self._consumers.fill_later(room)
        return RoomView(page.bounds, found)

    async def _read_current(self, room: str) -> Snapshot | None:
        """The room's page if nothing is newer. The leader says so after the read began: whatever was acknowledged
        before then is in the page.
        """
        if not self._client.connected.is_set() or self._loop.time() < self._paused_until:
            return None
        asked = asyncio.gather(self._read(room), api.leader_last_seq(self._client, room))
        try:
            page, newest = await asyncio.wait_for(asked, READ_TIMEOUT)
        except CONNECTION_ERRORS as error:
            self._paused_until = self._loop.time() + RETRY_INTERVAL
            _log.debug("no page of the room %s: %s", room, error_text(error))
            return None
        if page is not None and page.epoch == self._replica.epoch and page.seq == newest:
            return page
        if newest:
            self._schedule(room, newest)
        return None

    async def _read(self, room: str) -> Snapshot | None:
        try:
            found = await self._bucket.get_direct(room)
        except nats.errors.NoRespondersError:
            return None  # nobody has made the bucket: whoever writes the first page does
        return decode_snapshot(found.value) if found else None

    async def _trimmed(self, room: str) -> int:
        return await self._replica.readers.read(replica_state.forgotten, room)

    # ---- for who writes

    def applied(self, worked: Sequence[Applied]) -> None:
        """What the view has worked out, of this node or others: the room's page is due, or somebody else's duty."""
        self._applied_at = self._loop.time()
        for placed, _ in worked:
            if placed.record is None:
                continue
            if placed.record.node == self._node:
                self._schedule(placed.room, placed.seq)
            elif placed.room in self._scheduled and self._scheduled[placed.room].seq < placed.seq:
                del self._scheduled[placed.room]

    def trimmed(self, room: str) -> None:
        """Some of it was let go. Its page was cut, but may have been written again by who did not know yet."""
        if self._consumers.is_filled(room):
            self._schedule(room, 0)

    def close(self) -> None:
        self._task.cancel()

    def _schedule(self, room: str, seq: int) -> None:
        now = self._loop.time()
        at = max(now + QUIET_PERIOD, self._written_at.get(room, -MIN_WRITE_INTERVAL) + MIN_WRITE_INTERVAL)
        self._scheduled[room] = _Due(at, seq)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._round()
            except Exception:  # noqa: BLE001 - a page less is no reason to write none any more
                _log.exception("pages are not written for %g s", RETRY_INTERVAL)
                await asyncio.sleep(RETRY_INTERVAL)

    async def _round(self) -> None:
        """Write those that are due longest."""
        while not self._scheduled:
            self._wake.clear()
            await self._wake.wait()
        now = self._loop.time()
        pace = max(0.0, min(BUSY_INTERVAL, self._applied_at + QUIET_PERIOD - now))
        self._written_at = {
            room: at for room, at in self._written_at.items() if at > now - MIN_WRITE_INTERVAL
        }
        first = heapq.nsmallest(
            MAX_CONCURRENT_WRITES, self._scheduled, key=lambda room: self._scheduled[room].at
        )
        ready = [room for room in first if self._scheduled[room].at <= now]
        if not ready:
            # what is due by news that comes meanwhile is so in QUIET seconds at the earliest
            await asyncio.sleep(min(QUIET_PERIOD, max(pace, self._scheduled[first[0]].at - now)))
            return
        if not all(await asyncio.gather(*map(self._write, ready))):
            await asyncio.sleep(RETRY_INTERVAL)
        await asyncio.sleep(pace)

    async def _write(self, room: str) -> bool:
        """What the view has of the room by now. False: the cluster does not take it, so it stays due."""
        due, consumer = self._scheduled.pop(room, None), self._consumers.get(room)
        if due is None or consumer is None:
            return True  # it is somebody else's by now, or nobody wants it any more
        if not consumer.filled:
            self._scheduled[room] = due._replace(at=self._loop.time() + QUIET_PERIOD)
            return True
        try:
            if not self._created:
                await self._bucket.create()
                self._created = True
            page = await self._replica.readers.read(take_snapshot, self._replica.epoch, room)
            if page is not None:
                await self._bucket.put(room, encode(page))
                self._written_at[room] = self._loop.time()
                if await self._trimmed(room) > page.trimmed:
                    self._schedule(room, due.seq)  # it holds what was let go meanwhile
        except (StorageError, *CONNECTION_ERRORS) as error:
            _log.debug("the page of the room %s could not be written: %s", room, error_text(error))
            self._created = False
            self._scheduled.setdefault(
                room, due._replace(at=self._loop.time() + RETRY_INTERVAL)
            )  # behind the others
            return False
        return True


async def trim_snapshot(client: JetStreamClient, room: str, upto: int) -> None:
    """Let the messages up to there go from the room's page too. Raises LOST or StorageError."""
    bucket = KeyValue(client, BUCKET, 1)
    while await bucket.exists():
        found = await bucket.get(room)  # the leader's: another replica may not have it yet
        page = decode_snapshot(found.value) if found else None
        if found is None or page is None or (left := page.without(upto)) is page:
            return
        if await bucket.put(room, encode(left), last=found.seq):
            return


async def write_all_snapshots(
    client: JetStreamClient, view: Path, epoch: str, replicas: int, told: Callable[[int, int], None]
) -> None:
    """The pages of all rooms of a view that nobody writes to; ``told`` of (done, all). Raises StorageError."""
    bucket = KeyValue(client, BUCKET, replicas)
    await retry_startup(bucket.create, BUCKET)
    with contextlib.closing(connect(view, readonly=True)) as db:
        names = [row.name for row in queries.rooms(db)]
        for start in range(0, len(names), MAX_CONCURRENT_WRITES):
            some = names[start : start + MAX_CONCURRENT_WRITES]
            pages = [(room, take_snapshot(db, epoch, room)) for room in some]
            await asyncio.gather(
                *[bucket.put(room, encode(page)) for room, page in pages if page is not None]
            )
            told(start + len(some), len(names))
