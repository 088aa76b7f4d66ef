"""The consumers of a node: one for each room that is read or has peers here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from bqserver.errors import ClusterError, StorageError
from bqserver.jetstream import api
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.jetstream.retry import retry

from . import replica
from .consumer import Consumer
from .replica import Replica

COMPARE_INTERVAL = 2.0
"""Seconds without a message after which a room is compared with the stream."""
IDLE_TIMEOUT = 300.0
"""Seconds without a read after which a room without peers is no longer consumed."""
FIRST_FILL_TIMEOUT = 8.0
"""Seconds to read a room that this node has nothing of: NATS may have to read all of its files for that."""
RETRY_INTERVAL = 0.1
REACH_TIMEOUT = 5.0
"""Seconds to wait for the seq that a client has seen."""


class Consumers:
    """``has_peers(room)``: whether the room has peers on this node, and so stays consumed."""

    def __init__(self, client: NatsClient, bulk_client: NatsClient, replica: Replica) -> None:
        self.has_peers: Callable[[str], bool] = lambda _: False
        self._client = client
        self._bulk_client = bulk_client
        self._replica = replica
        self._opened: dict[str, Consumer] = {}
        self._opening: dict[str, asyncio.Task[Consumer]] = {}
        self._fill_queue: dict[str, None] = {}
        self._filling: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def get(self, room: str) -> Consumer | None:
        """The room's consumer if it is open."""
        return self._opened.get(room)

    async def open(self, room: str) -> Consumer:
        """The room's consumer, filled once. Raises StorageError if it is empty and can't be filled."""
        consumer, _ = await self._open_filled(room)
        return consumer

    async def refresh(self, room: str, upto: int | None = None) -> Consumer:
        """The consumer with everything that is in the stream now (up to ``upto``), if NATS answers."""
        consumer, is_fresh = await self._open_filled(room)
        if upto is None or upto > consumer.last_seq:
            if not is_fresh:
                await consumer.refresh()
        else:
            await consumer.reach(upto)
        return consumer

    async def reach(self, room: str, seq: int) -> None:
        """Read the room up to ``seq``, which a client has seen, if the stream has it."""
        consumer = await self.refresh(room)
        if seq <= consumer.last_seq or not self._client.connected.is_set():
            return
        with contextlib.suppress(*CONNECTION_ERRORS):  # the room is served as it is
            if seq <= await api.leader_last_seq(self._client, room):
                await asyncio.wait_for(consumer.reach(seq), REACH_TIMEOUT)

    def fill_later(self, room: str) -> None:
        """Fill the room in the background, one room after the other: no reader waits for it yet."""
        self._fill_queue[room] = None
        if self._filling is None:
            self._filling = self._loop.create_task(self._fill_queued())

    def is_opening(self, room: str) -> bool:
        return room in self._opening

    def is_filled(self, room: str) -> bool:
        """Whether this node has the whole room, except for messages on their way."""
        consumer = self.get(room)
        return consumer is not None and consumer.filled

    def filled_rooms(self) -> set[str]:
        return {room for room in self._opened if self.is_filled(room)}

    async def compare(self) -> None:
        """Fill silent rooms that the stream has newer messages of. Raises CONNECTION_ERRORS."""
        since = self._loop.time() - COMPARE_INTERVAL
        silent = {room: one for room, one in self._opened.items() if one.received_at < since}
        for room, seq in (await api.last_seqs(self._client, list(silent))).items():
            if seq > silent[room].last_seq:
                silent[room].fill()

    async def close_idle(self) -> None:
        """Close unused consumers: requests for a thousand rooms must not keep them open."""
        since = self._loop.time() - IDLE_TIMEOUT
        for room, consumer in list(self._opened.items()):
            if consumer.used_at < since and consumer.idle and not self.has_peers(room):
                del self._opened[room]
                await consumer.close()

    async def close(self) -> None:
        for task in (self._filling, *self._opening.values()):
            if task is not None:
                task.cancel()
        for consumer in self._opened.values():
            await consumer.close()

    async def _fill_queued(self) -> None:
        try:
            while self._fill_queue:
                room = next(iter(self._fill_queue))
                with contextlib.suppress(StorageError):
                    await self.open(room)
                del self._fill_queue[room]
        finally:
            self._filling = None

    async def _open_filled(self, room: str) -> tuple[Consumer, bool]:
        """The consumer, and whether this call has filled it: it then has everything stored before the call."""
        consumer = self.get(room) or await self._open(room)
        self._opened[room] = consumer
        consumer.used_at = self._loop.time()

        async def fill() -> bool:
            if consumer.filled:
                return False
            if await consumer.refresh():
                return True
            if consumer.last_seq:
                return False
            if not self._client.connected.is_set():
                raise _nothing_yet()
            raise TimeoutError  # a stream that was just created, or moved, has no replica that answers yet

        is_fresh = await retry(
            fill, _nothing_yet, interval=RETRY_INTERVAL, time_limit=FIRST_FILL_TIMEOUT, errors=(TimeoutError,)
        )
        return consumer, is_fresh

    async def _open(self, room: str) -> Consumer:
        """Open the consumer once for all concurrent calls, even if some of them are cancelled."""
        opening = self._opening.get(room)
        if opening is None:
            opening = self._opening[room] = self._loop.create_task(self._create(room))
            opening.add_done_callback(lambda _: self._opening.pop(room))
        return await asyncio.shield(opening)

    async def _create(self, room: str) -> Consumer:
        last_seq = await self._replica.read(replica.cursor, room)
        consumer = Consumer(room, last_seq, self._client, self._bulk_client, self._replica.apply)
        await consumer.open()
        self._opened[room] = consumer
        return consumer


def _nothing_yet(_: str = "") -> ClusterError:
    return ClusterError("the cluster does not answer, and this node has nothing of the room yet")
