"""The feeds of a node: one for each room that somebody wants to know of, for as long as anybody does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from bqserver.errors import ClusterError, StorageError
from bqserver.jetstream import api as nats_queries
from bqserver.jetstream.client import Link
from bqserver.jetstream.connection import LOST

from .consumer import Feed
from .replica import View

SILENCE = 2.0
"""Seconds without a message after which a room is compared with the stream."""
UNWANTED = 300.0
"""Seconds after which a room that nobody has asked for, and nobody is in, is not followed any more."""
NEW = 8.0
"""Seconds to read a room of which this node has nothing: NATS may have to read all of its files for that."""
AGAIN = 0.1
REACH = 5.0
"""Seconds to look for what a client says to have seen."""


class _Opened(NamedTuple):
    feed: Feed
    asked: float
    """When somebody last asked for it (the loop's clock)."""


class Feeds:
    """``attended`` says whether a room has members here; it is followed as long as it has."""

    def __init__(self, link: Link, aside: Link, view: View) -> None:
        self.attended: Callable[[str], bool] = lambda _: False
        self._link = link
        self._aside = aside
        self._view = view
        self._opened: dict[str, _Opened] = {}
        self._opening: dict[str, asyncio.Future[Feed]] = {}
        self._later: dict[str, None] = {}
        self._filling: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def now(self, room: str) -> Feed | None:
        """The room's feed, where it is followed already."""
        opened = self._opened.get(room)
        return None if opened is None else opened.feed

    async def open(self, room: str) -> Feed:
        """The room's feed, filled once. Raises StorageError where nothing of the room is known, or can be."""
        feed, _ = await self._filled(room)
        return feed

    async def fresh(self, room: str, upto: int | None = None) -> Feed:
        """The feed, with everything that is in the stream by now (up to ``upto``), if NATS answers."""
        feed, is_fresh = await self._filled(room)
        if upto is None or upto > feed.last:
            if not is_fresh:
                await feed.refresh()
        else:
            await feed.reach(upto)
        return feed

    async def reach(self, room: str, seq: int) -> None:
        """Bring the room to ``seq``, which somebody says to have seen, if the stream has it."""
        feed = await self.fresh(room)
        if seq <= feed.last or not self._link.connected.is_set():
            return
        try:
            if seq <= await nats_queries.newest(self._link, room):
                await asyncio.wait_for(feed.reach(seq), REACH)
        except LOST:
            return  # what is here is served

    def soon(self, room: str) -> None:
        """Fill it when there is time, one after the other: nobody waits for it yet."""
        self._later[room] = None
        if self._filling is None:
            self._filling = self._loop.create_task(self._fill_later())

    def has(self, room: str) -> bool:
        """Whether this node knows everything of the room, but for what is on its way."""
        feed = self.now(room)
        return feed is not None and feed.filled

    def filled(self) -> set[str]:
        """Rooms of which this node knows everything, but for what is on its way."""
        return {room for room, (feed, _) in self._opened.items() if feed.filled}

    async def compare(self) -> None:
        """Look into the stream for what was not heard in the silent rooms. Raises LOST."""
        since = self._loop.time() - SILENCE
        silent = {room: feed for room, (feed, _) in self._opened.items() if feed.heard < since}
        for room, seq in (await nats_queries.latest(self._link, list(silent))).items():
            if seq > silent[room].last:
                silent[room].fill()

    async def drop_unwanted(self) -> None:
        """A stranger who asks for a thousand rooms must not have them followed for ever."""
        since = self._loop.time() - UNWANTED
        for room, (feed, asked) in list(self._opened.items()):
            if asked < since and feed.idle and not self.attended(room):
                del self._opened[room]
                await feed.close()

    async def close(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
        for feed, _ in self._opened.values():
            await feed.close()

    async def _fill_later(self) -> None:
        try:
            while self._later:
                room = next(iter(self._later))
                with contextlib.suppress(StorageError):
                    await self.open(room)
                del self._later[room]
        finally:
            self._filling = None

    async def _filled(self, room: str) -> tuple[Feed, bool]:
        """The feed, and whether it was filled for whoever asks here: it has what was there when they asked then."""
        feed = self.now(room) or await self._open(room)
        self._opened[room] = _Opened(feed, self._loop.time())
        deadline = self._loop.time() + NEW
        while not feed.filled:
            if await feed.refresh():
                return feed, True
            if feed.last:
                break
            # A stream that has just been made, or moved, has nobody who answers for a moment.
            if self._loop.time() > deadline or not self._link.connected.is_set():
                raise ClusterError("the cluster does not answer, and this node has nothing of the room yet")
            await asyncio.sleep(AGAIN)
        return feed, False

    async def _open(self, room: str) -> Feed:
        opening = self._opening.get(room)
        if opening is not None:
            return await asyncio.shield(opening)
        opening = self._opening[room] = self._loop.create_future()
        try:
            feed = Feed(room, await self._view.cursor(room), self._link, self._aside, self._view.add)
            await feed.open()
        except StorageError as error:
            opening.set_exception(error)
            opening.exception()  # whoever else waits for it hears of it; it is no surprise to anybody
            raise
        else:
            self._opened[room] = _Opened(feed, self._loop.time())
            opening.set_result(feed)
            return feed
        finally:
            del self._opening[room]
