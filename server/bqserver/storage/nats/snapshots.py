"""Snapshots of rooms in a shared bucket, for nodes that have nothing of a room yet.

A room's last messages follow from all of its messages, and NATS reads all files of the stream to find those of one
room. So nodes store a snapshot of each room, with the stream's seq up to which it is exact. A reader asks the
stream's leader whether the room has a newer message, and uses the snapshot only if not. So it does not matter who
wrote a snapshot and when: a lost or outdated one only costs a fill.

The node that published a room's last message writes its snapshot once the room is quiet, as does a node that needed
one and found none.
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
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.kv import KeyValue, retry_startup
from bqserver.model import RoomView
from bqserver.storage.sqlite import queries
from bqserver.storage.sqlite.schema import connect
from bqwidget.protocol import encode

from .consumers import Consumers
from .replica import Applied, Replica
from .snapshot import Snapshot, decode_snapshot, take_snapshot

BUCKET = "pages"
QUIET_PERIOD = 2.0
"""Seconds without a new message after which a room's snapshot is written."""
MIN_WRITE_INTERVAL = 10.0
"""Seconds between two snapshots of one room."""
MAX_CONCURRENT_WRITES = 8
BUSY_INTERVAL = 0.08
"""Seconds between two rounds of writes while messages arrive: a node then writes at most 100 snapshots a second, the
longest due first. ``QUIET_PERIOD`` after the last message it writes as many as the cluster takes.
"""
RETRY_INTERVAL = 10.0
"""Seconds after a failure during which the bucket is not used."""
READ_TIMEOUT = 1.0
"""Seconds that a reader waits for the snapshot and for the leader's last seq."""

_log = logging.getLogger("bqserver.nats")


class _Due(NamedTuple):
    at: float
    """When it may be written (the loop's clock)."""
    seq: int
    """The message that made it due."""


class Snapshots:
    """``node``: the id in this node's records. No method raises: in doubt, there is no snapshot."""

    def __init__(self, client: NatsClient, replica: Replica, consumers: Consumers, node: str, replicas: int) -> None:
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

    # ---- reading

    async def messages(self, room: str, limit: int) -> list[bytes] | None:
        """The room's newest messages from a snapshot. None: this node has the room, or there is no exact snapshot."""
        if self._consumers.is_filled(room):
            return None
        snapshot = await self._read_current(room)
        found = None if snapshot is None else snapshot.without(await self._trimmed(room)).last(limit)
        if found is not None:
            self._consumers.fill_later(room)
        return found

    async def room_view(self, room: str, limit: int) -> RoomView | None:
        """The same with the room's bounds."""
        if self._consumers.is_filled(room):
            return None
        snapshot = await self._read_current(room)
        if snapshot is None or (found := snapshot.last(limit)) is None:
            return None
        if await self._trimmed(room) > snapshot.trimmed:
            self._schedule(room, snapshot.seq)  # its bounds are outdated
            return None
        self._consumers.fill_later(room)
        return RoomView(snapshot.bounds, found)

    async def _read_current(self, room: str) -> Snapshot | None:
        """The room's snapshot if the stream has nothing newer. The leader is asked after the read began, so the
        snapshot has every message that was acknowledged before.
        """
        if not self._client.connected.is_set() or self._loop.time() < self._paused_until:
            return None
        reading = asyncio.gather(self._read(room), api.leader_last_seq(self._client, room))
        try:
            snapshot, last_seq = await asyncio.wait_for(reading, READ_TIMEOUT)
        except CONNECTION_ERRORS as error:
            self._paused_until = self._loop.time() + RETRY_INTERVAL
            _log.debug("no snapshot of the room %s: %s", room, error_text(error))
            return None
        if snapshot is not None and snapshot.epoch == self._replica.epoch and snapshot.seq == last_seq:
            return snapshot
        if last_seq:
            self._schedule(room, last_seq)
        return None

    async def _read(self, room: str) -> Snapshot | None:
        try:
            found = await self._bucket.get_direct(room)
        except nats.errors.NoRespondersError:
            return None  # the bucket does not exist: the first write creates it
        return decode_snapshot(found.value) if found else None

    async def _trimmed(self, room: str) -> int:
        return await self._replica.read(queries.trimmed, room)

    # ---- writing

    def applied(self, batch: Sequence[Applied]) -> None:
        """Schedule the snapshots of rooms to which this node has published, and cancel those of other nodes."""
        self._applied_at = self._loop.time()
        for message, _ in batch:
            if message.record is None:
                continue
            if message.record.node == self._node:
                self._schedule(message.room, message.seq)
            elif message.room in self._scheduled and self._scheduled[message.room].seq < message.seq:
                del self._scheduled[message.room]

    def trimmed(self, room: str) -> None:
        """The room was trimmed, as was its snapshot; but a node that did not know may have written it again."""
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
                await self._write_due()
            except Exception:  # noqa: BLE001 - one failure must not end the writing of snapshots
                _log.exception("snapshots are not written for %g s", RETRY_INTERVAL)
                await asyncio.sleep(RETRY_INTERVAL)

    async def _write_due(self) -> None:
        """One round: write the snapshots that are due longest, or wait."""
        while not self._scheduled:
            self._wake.clear()
            await self._wake.wait()
        now = self._loop.time()
        pause = max(0.0, min(BUSY_INTERVAL, self._applied_at + QUIET_PERIOD - now))
        self._written_at = {room: at for room, at in self._written_at.items() if at > now - MIN_WRITE_INTERVAL}
        first = heapq.nsmallest(MAX_CONCURRENT_WRITES, self._scheduled, key=lambda room: self._scheduled[room].at)
        due = [room for room in first if self._scheduled[room].at <= now]
        if not due:
            # A snapshot scheduled meanwhile is due QUIET_PERIOD later at the earliest.
            await asyncio.sleep(min(QUIET_PERIOD, max(pause, self._scheduled[first[0]].at - now)))
            return
        if not all(await asyncio.gather(*map(self._write, due))):
            await asyncio.sleep(RETRY_INTERVAL)
        await asyncio.sleep(pause)

    async def _write(self, room: str) -> bool:
        """Write what the replica has of the room now. Returns False if the cluster does not take it; it stays due."""
        due, consumer = self._scheduled.pop(room, None), self._consumers.get(room)
        if due is None or (consumer is None and not self._consumers.is_opening(room)):
            return True  # another node writes it, or the room is no longer consumed here
        if consumer is None or not consumer.filled:
            self._scheduled[room] = due._replace(at=self._loop.time() + QUIET_PERIOD)
            return True
        try:
            if not self._created:
                await self._bucket.create()
                self._created = True
            snapshot = await self._replica.read(take_snapshot, self._replica.epoch, room)
            if snapshot is not None:
                await self._bucket.put(room, encode(snapshot))
                self._written_at[room] = self._loop.time()
                if await self._trimmed(room) > snapshot.trimmed:
                    self._schedule(room, due.seq)  # the room was trimmed meanwhile
        except (StorageError, *CONNECTION_ERRORS) as error:
            _log.debug("the snapshot of the room %s could not be written: %s", room, error_text(error))
            self._created = False
            self._scheduled.setdefault(room, due._replace(at=self._loop.time() + RETRY_INTERVAL))
            return False
        return True


async def trim_snapshot(client: NatsClient, room: str, upto: int) -> None:
    """Remove the messages up to that seq from the room's snapshot. Raises CONNECTION_ERRORS or StorageError."""
    bucket = KeyValue(client, BUCKET, 1)
    while await bucket.exists():
        found = await bucket.get(room)  # from the leader: a replica may not have it yet
        snapshot = decode_snapshot(found.value) if found else None
        if found is None or snapshot is None or (trimmed := snapshot.without(upto)) is snapshot:
            return
        if await bucket.put(room, encode(trimmed), last=found.seq):
            return


async def write_all_snapshots(
    client: NatsClient, path: Path, epoch: str, replicas: int, on_progress: Callable[[int, int], None]
) -> None:
    """The snapshots of all rooms of a replica that no process writes to; ``on_progress`` gets (done, all) rooms.
    Raises StorageError.
    """
    bucket = KeyValue(client, BUCKET, replicas)
    await retry_startup(bucket.create, BUCKET)
    with contextlib.closing(connect(path, readonly=True)) as db:
        rooms = [row.name for row in queries.rooms(db)]
        for start in range(0, len(rooms), MAX_CONCURRENT_WRITES):
            some = rooms[start : start + MAX_CONCURRENT_WRITES]
            snapshots = [(room, take_snapshot(db, epoch, room)) for room in some]
            await asyncio.gather(
                *[bucket.put(room, encode(snapshot)) for room, snapshot in snapshots if snapshot is not None]
            )
            on_progress(start + len(some), len(rooms))
