"""The distributed log: rooms in one JetStream stream, served by every node from a view of its own.

An append publishes what is asked for and is settled when it has come back in the stream's order: the quorum has
it on disk then, and every node works out the same from the entries before it (nats_view). So two nodes need no
lock, no leader and no second round when they append to one room at once; ``seq`` is the stream's, and not dense.
What can be seen to be refused (an edit of another's message) is refused before it takes a place there.

Reads come from the view, brought up to the stream first. Where NATS does not answer, they go on with what is
there, and sends wait for it (nats_sends).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path

from bqserver.errors import QueueFull, StorageError
from bqserver.jetstream import api as nats_queries
from bqserver.jetstream.client import Link
from bqserver.jetstream.connection import LOST
from bqserver.jetstream.durability import check_sync
from bqserver.jetstream.stream import REPLICAS, parse, stream_epoch
from bqserver.jetstream.watched_kv import NatsOrders
from bqserver.model import Bounds, Outcome, RoomRow, RoomView, Stored, Submission
from bqserver.storage.interface import Listener, read_view
from bqserver.storage.sequencer import deduplicate
from bqserver.storage.sqlite import queries as sqlite_queries

from .attachments import NatsParts
from .consumers import Feeds
from .health import Watch
from .precheck import Entrance
from .publisher import PATIENCE, REPLACED, STOPPING, Sending, Sends
from .replica import View, Worked
from .retention import KEY, Retention, Rule, parse_rules
from .snapshots import Pages

MAX_PENDING = 20_000
SLOW = 0.1
"""Seconds after which what the quorum has is fetched, where it was not heard live."""


async def open_log(
    url: str,
    view: Path,
    *,
    single: bool = False,
    credentials: str = "",
    ca: str = "",
    monitors: Sequence[str] = (),
    retain: Sequence[str] = (),
) -> NatsLog:
    """Connect, make or check the stream, and open the view. Raises StorageError, and leaves nothing behind then."""
    address, rules = parse(url), parse_rules(retain)
    await check_sync(monitors)
    link, aside = (Link(address, credentials, ca) for _ in range(2))
    try:
        await link.open()
        await aside.open()
        epoch = await stream_epoch(link, address, single=single)
        return NatsLog(link, aside, epoch, view, replicas=1 if single else REPLICAS, rules=rules)
    except BaseException:
        await aside.close()
        await link.close()
        raise


class NatsLog:
    """MessageLog over a stream. Made by ``open_log``. ``aside``: a second connection, for what takes NATS long."""

    def __init__(
        self,
        link: Link,
        aside: Link,
        epoch: str,
        view: Path,
        *,
        replicas: int = REPLICAS,
        rules: Sequence[Rule] = (),
        max_pending: int = MAX_PENDING,
    ) -> None:
        self.epoch = epoch
        self.link = link
        self._aside = aside
        self.view = View(view, epoch, self._worked)
        self.attachments = NatsParts(link, replicas)
        self.replicas = replicas
        self._orders: NatsOrders | None = None
        self._rules = rules
        self._running: list[asyncio.Task[None]] = []
        self._sends = Sends(link, self._taken)
        self._max_pending = max_pending
        self._read = self.view.reading.read
        self._listeners: list[Listener] = []
        self.feeds = Feeds(link, aside, self.view)
        self._pages = Pages(link, self.view, self.feeds, self._sends.node, replicas)
        self._entrance = Entrance(self.feeds, self.view, self._sends)
        self._pending = 0
        self._idle = asyncio.Event()
        self._finding: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self.health = Watch(link, epoch, self.feeds, self._sends, self.view)

    # ---- MessageLog

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        done: asyncio.Future[list[Outcome]] = self._loop.create_future()
        if not batch or self._closing or self.health.replaced:
            done.set_result([REPLACED if self.health.replaced else STOPPING] * len(batch))
            return done
        if self._pending and self._pending + len(batch) > self._max_pending:
            raise QueueFull(self._pending)
        self._pending += len(batch)
        self._idle.clear()
        outcomes: dict[int, Outcome] = {}

        def answer(index: int, outcome: Outcome) -> None:
            self._pending -= 1
            if not self._pending:
                self._idle.set()
            outcomes[index] = outcome
            if len(outcomes) == len(batch) and not done.done():
                done.set_result([outcomes[index] for index in range(len(batch))])

        for index, submission in enumerate(batch):
            self._entrance.enter(submission, partial(answer, index))
        return done

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def healthy(self) -> bool:
        return self.health.healthy()

    async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
        await self.feeds.reach(room, min_seq)
        return await self.view.bounds(room)

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        await self.feeds.fresh(room, upto)
        return await self._read(sqlite_queries.count, room, after, upto, limit)

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        await self.feeds.fresh(room, upto)
        return await self.view.entries(room, after, upto, limit)

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[bytes]:
        if before is None and after is None and (page := await self._pages.messages(room, limit)) is not None:
            return page
        await self.feeds.fresh(room, None if before is None else before - 1)
        return await self._read(sqlite_queries.messages, room, limit, before, after)

    async def room_view(self, room: str, *, limit: int) -> RoomView:
        return await self._pages.glance(room, limit) or await read_view(self, room, limit)

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        await self.feeds.fresh(room)
        return await self.view.reading.search(room, words, limit)

    async def rooms(self) -> list[RoomRow]:
        """Of a room that this node has not served yet, the seq is the stream's newest there."""
        known = {row.name: row for row in await self._read(sqlite_queries.rooms)}
        with contextlib.suppress(*LOST):
            names = await nats_queries.names(self.link)
            known = {name: row for name, row in known.items() if name in names}
            newest = await nats_queries.latest(self.link, sorted(names - self.feeds.filled()))
            known.update({name: RoomRow(name, seq) for name, seq in newest.items()})
        return [known[name] for name in sorted(known)]

    async def close(self) -> None:
        self._closing = True
        if self._pending and self.link.connected.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), PATIENCE)
        self.health.close()
        self._pages.close()
        for task in [*self._running, *self._finding]:
            task.cancel()
        self._entrance.close()
        self._sends.close()
        await self.feeds.close()
        if self._orders is not None:
            self._orders.close()
        await self._aside.close()
        await self.link.close()
        await self.view.close()

    # ---- what belongs to a node

    async def open_control(
        self, on_value: Callable[[str, bytes], None], on_change: Callable[[], None]
    ) -> NatsOrders:
        """Open the cluster's shared state and start retention. ``on_value`` gets what is not for the log itself;
        ``on_change`` is called after a batch of values. Raises StorageError.
        """

        def learn(key: str, value: bytes) -> None:
            if key.startswith(KEY):
                self.view.trim(key.removeprefix(KEY), int(value))
                self._pages.trimmed(key.removeprefix(KEY))
            else:
                on_value(key, value)

        self._orders = NatsOrders(self.link, self.replicas, learn, on_change)
        await self._orders.open()
        await asyncio.wait([self.view.add(())], timeout=PATIENCE)  # or a page shows what was let go
        if self._rules:
            self.run_until_closed(Retention(self.link, self._orders, self._rules, time.time).run())
        return self._orders

    def run_until_closed(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` on a task that is cancelled before the connection is closed."""
        self._running.append(self._loop.create_task(work))

    # ---- appending

    def _taken(self, sending: Sending) -> None:
        """The quorum has it, or has had it before."""
        if sending.dup:
            task = self._loop.create_task(self._find(sending))
            self._finding.add(task)
            task.add_done_callback(self._finding.discard)
        else:
            self._loop.call_later(SLOW, self._fetch, sending)

    def _fetch(self, sending: Sending) -> None:
        """By now it should have been heard."""
        feed = self.feeds.now(sending.submission.room)
        if feed is not None and feed.last < sending.seq:
            feed.fill()

    async def _find(self, sending: Sending) -> None:
        """It is in the stream already: what became of it there?"""
        room, seq = sending.submission.room, sending.seq
        with contextlib.suppress(StorageError, asyncio.TimeoutError):
            feed = await self.feeds.open(room)
            await asyncio.wait_for(feed.reach(seq), max(0.0, sending.deadline - self._loop.time()))
            found = await self._read(sqlite_queries.entries, room, seq - 1, seq, 1)
            if self._sends.settle(sending):
                if found:
                    sending.answer(deduplicate(found[0], sending.submission))
                else:
                    self._sends.resend(sending)

    def _worked(self, worked: Sequence[Worked]) -> None:
        """The view has got further: senders first, then followers, all in one turn."""
        for sending, outcome in self._sends.worked(worked):
            sending.answer(outcome)
        self._pages.heard(worked)
        entries = [outcome for _, outcome in worked if isinstance(outcome, Stored) and not outcome.dup]
        if entries:
            for listener in self._listeners:
                listener(entries)
