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
from bqserver.jetstream import api as nats_queries
from bqserver.jetstream.client import Link
from bqserver.jetstream.connection import LOST, explained
from bqserver.jetstream.kv import Bucket, until_answered
from bqserver.model import RoomView
from bqserver.storage.sqlite import queries as sqlite_queries
from bqserver.storage.sqlite.schema import connect
from bqwidget.protocol import encode

from . import replica_state as nats_shelf
from .consumers import Feeds
from .replica import View, Worked
from .snapshot import Page, page_of, read_page

NAME = "pages"
QUIET = 2.0
"""Seconds without news after which a room's page is written."""
APART = 10.0
"""Seconds between two pages of one room."""
FLYING = 8
"""Pages on their way at once."""
PACE = 0.08
"""Seconds between such rounds while anything is said: a node writes 100 pages a second at the most then, and those that
are due longest first. When nobody has said anything for ``QUIET`` seconds it writes as many as the cluster takes.
"""
AGAIN = 10.0
"""Seconds for which a bucket that failed is left alone."""
WAIT = 1.0
"""Seconds that a reader waits for a page, and for the word that it is the newest."""

_log = logging.getLogger("bqserver.nats")


class _Due(NamedTuple):
    at: float
    """When it may be written (the loop's clock)."""
    seq: int
    """The message for which it is."""


class Pages:
    """``node``: what this node's messages are marked with. Nothing here raises: in any doubt there is no page."""

    def __init__(self, link: Link, view: View, feeds: Feeds, node: str, replicas: int) -> None:
        self._link = link
        self._view = view
        self._feeds = feeds
        self._node = node
        self._bucket = Bucket(link, NAME, replicas)
        self._made = False
        self._due: dict[str, _Due] = {}
        self._written: dict[str, float] = {}
        self._left_alone_until = 0.0
        self._said_at = 0.0
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    # ---- for who reads

    async def messages(self, room: str, limit: int) -> list[bytes] | None:
        """The room's newest, where this node would have to fill it first, and a page has them."""
        if self._feeds.has(room):
            return None
        page = await self._exact(room)
        found = None if page is None else page.above(await self._trimmed(room)).last(limit)
        if found is not None:
            self._feeds.soon(room)
        return found

    async def glance(self, room: str, limit: int) -> RoomView | None:
        """The same, and how far the room goes."""
        if self._feeds.has(room):
            return None
        page = await self._exact(room)
        if page is None or (found := page.last(limit)) is None:
            return None
        if await self._trimmed(room) > page.trimmed:
            self._want(room, page.seq)  # what is the oldest entry now, it does not say
            return None
        self._feeds.soon(room)
        return RoomView(page.bounds, found)

    async def _exact(self, room: str) -> Page | None:
        """The room's page if nothing is newer. The leader says so after the read began: whatever was acknowledged
        before then is in the page.
        """
        if not self._link.connected.is_set() or self._loop.time() < self._left_alone_until:
            return None
        asked = asyncio.gather(self._kept(room), nats_queries.newest(self._link, room))
        try:
            page, newest = await asyncio.wait_for(asked, WAIT)
        except LOST as error:
            self._left_alone_until = self._loop.time() + AGAIN
            _log.debug("no page of the room %s: %s", room, explained(error))
            return None
        if page is not None and page.epoch == self._view.epoch and page.seq == newest:
            return page
        if newest:
            self._want(room, newest)
        return None

    async def _kept(self, room: str) -> Page | None:
        try:
            found = await self._bucket.glance(room)
        except nats.errors.NoRespondersError:
            return None  # nobody has made the bucket: whoever writes the first page does
        return read_page(found.value) if found else None

    async def _trimmed(self, room: str) -> int:
        return await self._view.reading.read(nats_shelf.forgotten, room)

    # ---- for who writes

    def heard(self, worked: Sequence[Worked]) -> None:
        """What the view has worked out, of this node or others: the room's page is due, or somebody else's duty."""
        self._said_at = self._loop.time()
        for placed, _ in worked:
            if placed.envelope is None:
                continue
            if placed.envelope.node == self._node:
                self._want(placed.room, placed.seq)
            elif placed.room in self._due and self._due[placed.room].seq < placed.seq:
                del self._due[placed.room]

    def trimmed(self, room: str) -> None:
        """Some of it was let go. Its page was cut, but may have been written again by who did not know yet."""
        if self._feeds.has(room):
            self._want(room, 0)

    def close(self) -> None:
        self._task.cancel()

    def _want(self, room: str, seq: int) -> None:
        now = self._loop.time()
        at = max(now + QUIET, self._written.get(room, -APART) + APART)
        self._due[room] = _Due(at, seq)
        self._news.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._round()
            except Exception:  # noqa: BLE001 - a page less is no reason to write none any more
                _log.exception("pages are not written for %g s", AGAIN)
                await asyncio.sleep(AGAIN)

    async def _round(self) -> None:
        """Write those that are due longest."""
        while not self._due:
            self._news.clear()
            await self._news.wait()
        now = self._loop.time()
        pace = max(0.0, min(PACE, self._said_at + QUIET - now))
        self._written = {room: at for room, at in self._written.items() if at > now - APART}
        first = heapq.nsmallest(FLYING, self._due, key=lambda room: self._due[room].at)
        ready = [room for room in first if self._due[room].at <= now]
        if not ready:
            # what is due by news that comes meanwhile is so in QUIET seconds at the earliest
            await asyncio.sleep(min(QUIET, max(pace, self._due[first[0]].at - now)))
            return
        if not all(await asyncio.gather(*map(self._write, ready))):
            await asyncio.sleep(AGAIN)
        await asyncio.sleep(pace)

    async def _write(self, room: str) -> bool:
        """What the view has of the room by now. False: the cluster does not take it, so it stays due."""
        due, feed = self._due.pop(room, None), self._feeds.now(room)
        if due is None or feed is None:
            return True  # it is somebody else's by now, or nobody wants it any more
        if not feed.filled:
            self._due[room] = due._replace(at=self._loop.time() + QUIET)
            return True
        try:
            if not self._made:
                await self._bucket.make()
                self._made = True
            page = await self._view.reading.read(page_of, self._view.epoch, room)
            if page is not None:
                await self._bucket.put(room, encode(page))
                self._written[room] = self._loop.time()
                if await self._trimmed(room) > page.trimmed:
                    self._want(room, due.seq)  # it holds what was let go meanwhile
        except (StorageError, *LOST) as error:
            _log.debug("the page of the room %s could not be written: %s", room, explained(error))
            self._made = False
            self._due.setdefault(room, due._replace(at=self._loop.time() + AGAIN))  # behind the others
            return False
        return True


async def cut(link: Link, room: str, upto: int) -> None:
    """Let the messages up to there go from the room's page too. Raises LOST or StorageError."""
    bucket = Bucket(link, NAME, 1)
    while await bucket.is_there():
        found = await bucket.get(room)  # the leader's: another replica may not have it yet
        page = read_page(found.value) if found else None
        if found is None or page is None or (left := page.above(upto)) is page:
            return
        if await bucket.put(room, encode(left), last=found.seq):
            return


async def write_all(
    link: Link, view: Path, epoch: str, replicas: int, told: Callable[[int, int], None]
) -> None:
    """The pages of all rooms of a view that nobody writes to; ``told`` of (done, all). Raises StorageError."""
    bucket = Bucket(link, NAME, replicas)
    await until_answered(bucket.make, "pages")
    with contextlib.closing(connect(view, readonly=True)) as db:
        names = [row.name for row in sqlite_queries.rooms(db)]
        for start in range(0, len(names), FLYING):
            some = names[start : start + FLYING]
            pages = [(room, page_of(db, epoch, room)) for room in some]
            await asyncio.gather(
                *[bucket.put(room, encode(page)) for room, page in pages if page is not None]
            )
            told(start + len(some), len(names))
