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

from bqserver.jetstream import api as nats_queries
from bqserver.jetstream.client import Link
from bqserver.jetstream.connection import LOST

from .records import Placed, unseal

CHUNK = 500
"""Messages of one batch direct get."""
AGAIN, MOST_AGAIN = 0.02, 1.0
"""Seconds until a fill that brought too little is tried again: a replica may be behind its leader."""

_log = logging.getLogger("bqserver.nats")

Add = Callable[[Sequence[Placed]], asyncio.Future[None]]


class Feed:
    """``add`` takes what comes, each once and in order, from above ``last`` on, and says when it can be read.
    ``aside``: the connection for the first fill.

    ``last``: the seq of the newest one taken; ``heard``: when one came last (the loop's clock).
    """

    def __init__(self, room: str, last: int, link: Link, aside: Link, add: Add) -> None:
        self.room = room
        self.last = last
        self.filled = False
        """Whether a fill has come to the end of what there was, once."""
        self._link = link
        self._aside: Link | None = aside
        self._add = add
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()
        self._readable: asyncio.Future[None] = self._loop.create_future()
        self._readable.set_result(None)
        self._held: dict[int, Placed] = {}
        self._wanted: list[asyncio.Future[bool]] = []
        self._reaching: list[tuple[int, asyncio.Future[None]]] = []
        self._filling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen first, so that nothing falls between a fill and what comes live."""
        await self._link.subscribe(self._link.address.live(self.room), self._live)

    async def close(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
        _resolve(self._wanted, answered=False)
        await self._link.unsubscribe(self._link.address.live(self.room))

    @property
    def idle(self) -> bool:
        """Whether everything that was taken can be read, and nothing is missing or waited for."""
        return self._filling is None and self._readable.done() and not self._held

    # ---- what is asked of it

    async def refresh(self) -> bool:
        """Take everything that is there by now. False: NATS does not answer."""
        if not self._link.connected.is_set():
            return False
        wanted: asyncio.Future[bool] = self._loop.create_future()
        self._wanted.append(wanted)
        self.fill()
        return await wanted

    async def reach(self, seq: int) -> None:
        """Wait until ``seq`` was taken and can be read; however long that is."""
        if seq > self.last:
            reached: asyncio.Future[None] = self._loop.create_future()
            self._reaching.append((seq, reached))
            self.fill()
            await reached
        await asyncio.shield(self._readable)

    def fill(self) -> None:
        """Something may be missing."""
        if self._filling is None:
            self._filling = self._loop.create_task(self._fill())

    # ---- what comes

    def _live(self, msg: Msg) -> None:
        if not msg.headers or "Nats-Last-Sequence" not in msg.headers:
            return  # somebody talks there who is not JetStream
        placed = unseal(self.room, msg.headers, msg.data)
        self.heard = self._loop.time()
        if placed.seq <= self.last:
            return
        self._held[placed.seq] = placed
        self._take([])
        if self._held:
            self.fill()

    def _take(self, batch: Sequence[Placed]) -> None:
        """What is new of ``batch``, and then what was held and fits now."""
        new = []
        for placed in batch:
            if placed.seq > self.last:
                new.append(placed)
                self.last = placed.seq
        for seq in sorted(self._held):
            if seq <= self.last:
                del self._held[seq]
            elif self._held[seq].last == self.last:
                new.append(self._held.pop(seq))
                self.last = seq
            else:
                break
        if new:
            self._readable = self._add(new)
        arrived = [reached for seq, reached in self._reaching if seq <= self.last and not reached.done()]
        self._reaching = [one for one in self._reaching if one[0] > self.last and not one[1].done()]
        for reached in arrived:
            reached.set_result(None)

    async def _fill(self) -> None:
        pause = AGAIN
        wanted: list[asyncio.Future[bool]] = []
        while True:
            wanted += self._wanted
            self._wanted.clear()
            before = self.last
            try:
                more = await self._pass()
                await asyncio.shield(self._readable)
            except LOST as error:
                _log.debug("room %s could not be filled: %s", self.room, error)
                _resolve(wanted, answered=False)
                _resolve(self._wanted, answered=False)
                await self._link.connected.wait()
            else:
                if more:
                    continue
                self.filled = True
                _resolve(wanted, answered=True)
                if not self._wanted and not self._behind():
                    self._filling = None
                    return
            pause = AGAIN if self.last != before else min(2 * pause, MOST_AGAIN)
            if not self._wanted:
                await asyncio.sleep(pause)

    async def _pass(self) -> bool:
        """One batch. Returns whether there is more. Raises LOST."""
        address = self._link.address
        link = self._aside if self._aside is not None and self._aside.connected.is_set() else self._link
        try:
            messages, more = await nats_queries.batch(
                link,
                address.stream,
                seq=self.last + 1,
                batch=CHUNK,
                next_by_subj=address.subject(self.room),
            )
        except LOST:
            if link is self._link:
                raise
            messages, more = [], False
        self._take([unseal(self.room, one.headers or {}, one.data) for one in messages])
        if link is not self._link and not more:
            # Its server may be cut off, and know less than there is: the link has the last word.
            self._aside = None
            return True
        return more

    def _behind(self) -> bool:
        self._reaching = [one for one in self._reaching if not one[1].done()]
        return bool(self._held or self._reaching)


def _resolve(wanted: list[asyncio.Future[bool]], *, answered: bool) -> None:
    for one in wanted:
        if not one.done():
            one.set_result(answered)
    wanted.clear()
