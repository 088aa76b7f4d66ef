"""One room's messages in the stream's order: received live as they are republished, gaps filled from the stream.

A republished message is plain NATS, so it may be lost or late; but each names the message before it in its room. A
message that follows the last one is taken; any other starts a fill, by batch direct gets of everything above the last
seq. A fill also starts when a later seq is known to exist, or when a reader needs the newest state.

The first fill of a room uses a connection of its own: NATS may search the whole stream for it, and serves no other
request of that connection meanwhile. With 1,000,000 messages, other rooms' pages took up to 290 ms because of that,
and 35 ms since (``python tests/benchmarks/cluster.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nats.aio.msg import Msg

from bqserver.jetstream import api
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS

from .erasure import Remains
from .records import StreamMessage, decode_stream_message

BATCH_SIZE = 500
"""Messages of one batch direct get."""
MIN_RETRY_INTERVAL, MAX_RETRY_INTERVAL = 0.02, 1.0
"""Seconds until an incomplete fill is repeated: a replica of the stream may be behind its leader."""

_log = logging.getLogger("bqserver.nats")

Apply = Callable[[Sequence[StreamMessage]], asyncio.Future[None]]


class Consumer:
    """``apply`` gets each message above ``last_seq`` once and in order; its result is done when they can be read.
    ``bulk_client``: the connection for the first fill.

    ``last_seq``: of the last message taken; ``received_at`` and ``used_at``: when a message came last, and when the
    consumer was last requested (the loop's clock).
    """

    def __init__(self, room: str, last_seq: int, client: NatsClient, bulk_client: NatsClient, apply: Apply) -> None:
        self.room = room
        self.last_seq = last_seq
        self.filled = False
        """Whether a fill has reached the end of the stream once."""
        self._client = client
        self._bulk_client: NatsClient | None = bulk_client
        self._remains = Remains(client, room)
        self._apply = apply
        self._loop = asyncio.get_running_loop()
        self.received_at = self.used_at = self._loop.time()
        self._readable: asyncio.Future[None] = self._loop.create_future()
        self._readable.set_result(None)
        self._held: dict[int, StreamMessage] = {}
        """Messages by seq that do not follow ``last_seq``."""
        self._refreshes: list[asyncio.Future[bool]] = []
        self._waiting_for: list[tuple[int, asyncio.Future[None]]] = []
        self._filling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Subscribe before the first fill, so no message falls between the two."""
        await self._client.subscribe(self._client.address.live_subject(self.room), self._on_live)

    async def close(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
        _resolve(self._refreshes, answered=False)
        await self._client.unsubscribe(self._client.address.live_subject(self.room))

    @property
    def idle(self) -> bool:
        """Whether every message taken can be read, and none is missing or awaited."""
        return self._filling is None and self._readable.done() and not self._held

    # ---- requests

    async def refresh(self) -> bool:
        """Take everything that is in the stream now. Returns False if NATS does not answer."""
        if not self._client.connected.is_set():
            return False
        refreshed: asyncio.Future[bool] = self._loop.create_future()
        self._refreshes.append(refreshed)
        self.fill()
        return await refreshed

    async def reach(self, seq: int) -> None:
        """Wait, without a limit, until the messages up to ``seq`` can be read."""
        if seq > self.last_seq:
            reached: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for.append((seq, reached))
            self.fill()
            await reached
        await asyncio.shield(self._readable)

    def fill(self) -> None:
        """Start a fill, if none is running: a message may be missing."""
        if self._filling is None:
            self._filling = self._loop.create_task(self._fill())

    # ---- messages

    def _on_live(self, msg: Msg) -> None:
        if not msg.headers or "Nats-Last-Sequence" not in msg.headers:
            return  # published to this subject by another program than JetStream
        message = decode_stream_message(self.room, msg.headers, msg.data)
        self.received_at = self._loop.time()
        if message.seq <= self.last_seq:
            return
        self._held[message.seq] = message
        self._take([])
        if self._held:
            self.fill()

    def _take(self, batch: Sequence[StreamMessage]) -> None:
        """Apply the new messages of ``batch``, and then the held ones that follow them."""
        new = []
        for message in batch:
            if message.seq > self.last_seq:
                new.append(message)
                self.last_seq = message.seq
        for seq in sorted(self._held):
            if seq <= self.last_seq:
                del self._held[seq]
            elif self._held[seq].prev == self.last_seq:
                new.append(self._held.pop(seq))
                self.last_seq = seq
            else:
                break
        if new:
            self._readable = self._apply(new)
        reached = [future for seq, future in self._waiting_for if seq <= self.last_seq and not future.done()]
        self._waiting_for = [one for one in self._waiting_for if one[0] > self.last_seq and not one[1].done()]
        for future in reached:
            future.set_result(None)

    async def _fill(self) -> None:
        pause = MIN_RETRY_INTERVAL
        refreshes: list[asyncio.Future[bool]] = []
        while True:
            refreshes += self._refreshes
            self._refreshes.clear()
            before = self.last_seq
            try:
                more = await self._fetch()
                await asyncio.shield(self._readable)
            except CONNECTION_ERRORS as error:
                _log.debug("room %s could not be filled: %s", self.room, error)
                _resolve(refreshes, answered=False)
                _resolve(self._refreshes, answered=False)
                await self._client.connected.wait()
            else:
                if more:
                    continue
                self.filled = True
                _resolve(refreshes, answered=True)
                if not self._refreshes and not self._is_behind():
                    self._filling = None
                    return
            pause = MIN_RETRY_INTERVAL if self.last_seq != before else min(2 * pause, MAX_RETRY_INTERVAL)
            if not self._refreshes:
                await asyncio.sleep(pause)

    async def _fetch(self) -> bool:
        """Take one batch. Returns whether more follows. Raises CONNECTION_ERRORS."""
        address = self._client.address
        client = self._client
        if self._bulk_client is not None and self._bulk_client.connected.is_set():
            client = self._bulk_client
        try:
            messages, more = await api.get_batch(
                client,
                address.stream,
                seq=self.last_seq + 1,
                batch=BATCH_SIZE,
                next_by_subj=address.subject(self.room),
            )
        except CONNECTION_ERRORS:
            if client is self._client:
                raise
            messages, more = [], False
        stored = [decode_stream_message(self.room, msg.headers or {}, msg.data) for msg in messages]
        self._take(await self._remains.fill_in(self.last_seq, stored))
        if client is not self._client and not more:
            # The server of the bulk connection may be cut off and incomplete: the last batch comes from the other.
            self._bulk_client = None
            return True
        return more

    def _is_behind(self) -> bool:
        self._waiting_for = [one for one in self._waiting_for if not one[1].done()]
        return bool(self._held or self._waiting_for)


def _resolve(refreshes: list[asyncio.Future[bool]], *, answered: bool) -> None:
    for refreshed in refreshes:
        if not refreshed.done():
            refreshed.set_result(answered)
    refreshes.clear()
