"""One room's messages in the stream's order: live as they are republished, gaps filled from the stream.

A republished message may be lost or late (it is plain NATS), but each names the one before it in its room. So
what fits is taken, and what doesn't starts a fill: batch direct gets of everything above the last. A fill is
also asked for where somebody has seen more than we have, and by whoever must not miss what is there now.

The first fill of a room goes over a connection of its own: it may have NATS look through the whole stream, and NATS
takes nothing else from that connection meanwhile. With 1,000,000 messages, other rooms' pages took 290 ms at the most
for that, and 35 since (``python tests/benchmarks/cluster.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from nats.aio.msg import Msg

from bqserver.jetstream import api
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS

from .records import StreamMessage, decode_stream_message

BATCH_SIZE = 500
"""Messages of one batch direct get."""
MIN_RETRY_INTERVAL, MAX_RETRY_INTERVAL = 0.02, 1.0
"""Seconds until a fill that brought too little is tried again: a replica may be behind its leader."""

_log = logging.getLogger("bqserver.nats")

Apply = Callable[[Sequence[StreamMessage]], asyncio.Future[None]]


class Consumer:
    """``add`` takes what comes, each once and in order, from above ``last`` on, and says when it can be read.
    ``aside``: the connection for the first fill.

    ``last``: the seq of the newest one taken; ``heard``: when one came last (the loop's clock).
    """

    def __init__(
        self, room: str, last: int, client: JetStreamClient, aside: JetStreamClient, add: Apply
    ) -> None:
        self.room = room
        self.last = last
        self.filled = False
        """Whether a fill has come to the end of what there was, once."""
        self._client = client
        self._aside: JetStreamClient | None = aside
        self._apply = add
        self._loop = asyncio.get_running_loop()
        self.received_at = self._loop.time()
        self._readable: asyncio.Future[None] = self._loop.create_future()
        self._readable.set_result(None)
        self._held: dict[int, StreamMessage] = {}
        self._refreshes: list[asyncio.Future[bool]] = []
        self._waiting_for: list[tuple[int, asyncio.Future[None]]] = []
        self._filling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen first, so that nothing falls between a fill and what comes live."""
        await self._client.subscribe(self._client.address.live_subject(self.room), self._on_live)

    async def close(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
        _resolve(self._refreshes, answered=False)
        await self._client.unsubscribe(self._client.address.live_subject(self.room))

    @property
    def idle(self) -> bool:
        """Whether everything that was taken can be read, and nothing is missing or waited for."""
        return self._filling is None and self._readable.done() and not self._held

    # ---- what is asked of it

    async def refresh(self) -> bool:
        """Take everything that is there by now. False: NATS does not answer."""
        if not self._client.connected.is_set():
            return False
        wanted: asyncio.Future[bool] = self._loop.create_future()
        self._refreshes.append(wanted)
        self.fill()
        return await wanted

    async def reach(self, seq: int) -> None:
        """Wait until ``seq`` was taken and can be read; however long that is."""
        if seq > self.last:
            reached: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for.append((seq, reached))
            self.fill()
            await reached
        await asyncio.shield(self._readable)

    def fill(self) -> None:
        """Something may be missing."""
        if self._filling is None:
            self._filling = self._loop.create_task(self._fill())

    # ---- what comes

    def _on_live(self, msg: Msg) -> None:
        if not msg.headers or "Nats-Last-Sequence" not in msg.headers:
            return  # somebody talks there who is not JetStream
        placed = decode_stream_message(self.room, msg.headers, msg.data)
        self.received_at = self._loop.time()
        if placed.seq <= self.last:
            return
        self._held[placed.seq] = placed
        self._take([])
        if self._held:
            self.fill()

    def _take(self, batch: Sequence[StreamMessage]) -> None:
        """What is new of ``batch``, and then what was held and fits now."""
        new = []
        for placed in batch:
            if placed.seq > self.last:
                new.append(placed)
                self.last = placed.seq
        for seq in sorted(self._held):
            if seq <= self.last:
                del self._held[seq]
            elif self._held[seq].prev == self.last:
                new.append(self._held.pop(seq))
                self.last = seq
            else:
                break
        if new:
            self._readable = self._apply(new)
        arrived = [reached for seq, reached in self._waiting_for if seq <= self.last and not reached.done()]
        self._waiting_for = [one for one in self._waiting_for if one[0] > self.last and not one[1].done()]
        for reached in arrived:
            reached.set_result(None)

    async def _fill(self) -> None:
        pause = MIN_RETRY_INTERVAL
        wanted: list[asyncio.Future[bool]] = []
        while True:
            wanted += self._refreshes
            self._refreshes.clear()
            before = self.last
            try:
                more = await self._fetch()
                await asyncio.shield(self._readable)
            except CONNECTION_ERRORS as error:
                _log.debug("room %s could not be filled: %s", self.room, error)
                _resolve(wanted, answered=False)
                _resolve(self._refreshes, answered=False)
                await self._client.connected.wait()
            else:
                if more:
                    continue
                self.filled = True
                _resolve(wanted, answered=True)
                if not self._refreshes and not self._behind():
                    self._filling = None
                    return
            pause = MIN_RETRY_INTERVAL if self.last != before else min(2 * pause, MAX_RETRY_INTERVAL)
            if not self._refreshes:
                await asyncio.sleep(pause)

    async def _fetch(self) -> bool:
        """One batch. Returns whether there is more. Raises LOST."""
        address = self._client.address
        client = self._aside if self._aside is not None and self._aside.connected.is_set() else self._client
        try:
            messages, more = await api.get_batch(
                client,
                address.stream,
                seq=self.last + 1,
                batch=BATCH_SIZE,
                next_by_subj=address.subject(self.room),
            )
        except CONNECTION_ERRORS:
            if client is self._client:
                raise
            messages, more = [], False
        self._take([decode_stream_message(self.room, one.headers or {}, one.data) for one in messages])
        if client is not self._client and not more:
            # Its server may be cut off, and know less than there is: the client has the last word.
            self._aside = None
            return True
        return more

    def _behind(self) -> bool:
        self._waiting_for = [one for one in self._waiting_for if not one[1].done()]
        return bool(self._held or self._waiting_for)


def _resolve(wanted: list[asyncio.Future[bool]], *, answered: bool) -> None:
    for one in wanted:
        if not one.done():
            one.set_result(answered)
    wanted.clear()
