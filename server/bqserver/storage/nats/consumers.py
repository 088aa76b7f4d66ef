"""The consumers of a node: one for each room that somebody wants to know of, for as long as anybody does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from bqserver.errors import ClusterError, StorageError
from bqserver.jetstream import api
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS

from .consumer import Consumer
from .replica import Replica

COMPARE_INTERVAL = 2.0
"""Seconds without a message after which a room is compared with the stream."""
IDLE_TIMEOUT = 300.0
"""Seconds after which a room that nobody has asked for, and nobody is in, is not followed any more."""
FIRST_FILL_TIMEOUT = 8.0
"""Seconds to read a room of which this node has nothing: NATS may have to read all of its files for that."""
RETRY_INTERVAL = 0.1
REACH_TIMEOUT = 5.0
"""Seconds to look for what a client says to have seen."""


class _Opened(NamedTuple):
    consumer: Consumer
    asked: float
    """When somebody last asked for it (the loop's clock)."""


class Consumers:
    """``attended`` says whether a room has members here; it is followed as long as it has."""

    def __init__(self, client: JetStreamClient, aside: JetStreamClient, replica: Replica) -> None:
        self.has_peers: Callable[[str], bool] = lambda _: False
        self._client = client
        self._aside = aside
        self._replica = replica
        self._opened: dict[str, _Opened] = {}
        self._opening: dict[str, asyncio.Future[Consumer]] = {}
        self._fill_queue: dict[str, None] = {}
        self._filling: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def get(self, room: str) -> Consumer | None:
        """The room's consumer, where it is followed already."""
        opened = self._opened.get(room)
        return None if opened is None else opened.consumer

    async def open(self, room: str) -> Consumer:
        """The room's consumer, filled once. Raises StorageError where nothing of the room is known, or can be."""
        consumer, _ = await self._filled(room)
        return consumer

    async def refresh(self, room: str, upto: int | None = None) -> Consumer:
        """The consumer, with everything that is in the stream by now (up to ``upto``), if NATS answers."""
        consumer, is_fresh = await self._filled(room)
        if upto is None or upto > consumer.last:
            if not is_fresh:
                await consumer.refresh()
        else:
            await consumer.reach(upto)
        return consumer

    async def reach(self, room: str, seq: int) -> None:
        """Bring the room to ``seq``, which somebody says to have seen, if the stream has it."""
        consumer = await self.refresh(room)
        if seq <= consumer.last or not self._client.connected.is_set():
            return
        try:
            if seq <= await api.leader_last_seq(self._client, room):
                await asyncio.wait_for(consumer.reach(seq), REACH_TIMEOUT)
        except CONNECTION_ERRORS:
            return  # what is here is served

    def fill_later(self, room: str) -> None:
        """Fill it when there is time, one after the other: nobody waits for it yet."""
        self._fill_queue[room] = None
        if self._filling is None:
            self._filling = self._loop.create_task(self._fill_queued())

    def is_filled(self, room: str) -> bool:
        """Whether this node knows everything of the room, but for what is on its way."""
        consumer = self.get(room)
        return consumer is not None and consumer.filled

    def filled_rooms(self) -> set[str]:
        """Rooms of which this node knows everything, but for what is on its way."""
        return {room for room, (consumer, _) in self._opened.items() if consumer.filled}

    async def compare(self) -> None:
        """Look into the stream for what was not heard in the silent rooms. Raises LOST."""
        since = self._loop.time() - COMPARE_INTERVAL
        silent = {
            room: consumer for room, (consumer, _) in self._opened.items() if consumer.received_at < since
        }
        for room, seq in (await api.last_seqs(self._client, list(silent))).items():
            if seq > silent[room].last:
                silent[room].fill()

    async def close_idle(self) -> None:
        """A stranger who asks for a thousand rooms must not have them followed for ever."""
        since = self._loop.time() - IDLE_TIMEOUT
        for room, (consumer, asked) in list(self._opened.items()):
            if asked < since and consumer.idle and not self.has_peers(room):
                del self._opened[room]
                await consumer.close()

    async def close(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
        for consumer, _ in self._opened.values():
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

    async def _filled(self, room: str) -> tuple[Consumer, bool]:
        """The consumer, and whether it was filled for whoever asks here: it has what was there when they asked then."""
        consumer = self.get(room) or await self._open(room)
        self._opened[room] = _Opened(consumer, self._loop.time())
        deadline = self._loop.time() + FIRST_FILL_TIMEOUT
        while not consumer.filled:
            if await consumer.refresh():
                return consumer, True
            if consumer.last:
                break
            # A stream that has just been made, or moved, has nobody who answers for a moment.
            if self._loop.time() > deadline or not self._client.connected.is_set():
                raise ClusterError("the cluster does not answer, and this node has nothing of the room yet")
            await asyncio.sleep(RETRY_INTERVAL)
        return consumer, False

    async def _open(self, room: str) -> Consumer:
        opening = self._opening.get(room)
        if opening is not None:
            return await asyncio.shield(opening)
        opening = self._opening[room] = self._loop.create_future()
        try:
            consumer = Consumer(
                room, await self._replica.cursor(room), self._client, self._aside, self._replica.apply
            )
            await consumer.open()
        except StorageError as error:
            opening.set_exception(error)
            opening.exception()  # whoever else waits for it hears of it; it is no surprise to anybody
            raise
        else:
            self._opened[room] = _Opened(consumer, self._loop.time())
            opening.set_result(consumer)
            return consumer
        finally:
            del self._opening[room]
