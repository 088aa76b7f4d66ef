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
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import nats_queries, sqlite_queries
from .log import Bounds, Listener, LogError, LogFull, Outcome, Refused, RoomRow, Stored, Submission
from .nats_feed import Feed
from .nats_link import LOST, Link
from .nats_neighbours import NatsNeighbours
from .nats_orders import NatsOrders
from .nats_parts import NatsParts
from .nats_sends import PATIENCE, RETRY_AFTER, STOPPING, Sending, Sends
from .nats_stream import REPLICAS, parse, stream_epoch
from .nats_sync import check_sync
from .nats_view import View, Worked
from .sequencer import about_of, again, compose, objection

if TYPE_CHECKING:
    from .hub import Hub

MAX_PENDING = 20_000
SILENCE = 2.0
"""Seconds without a message after which a room is compared with the stream."""
REACH = 5.0
"""Seconds to look for what a client says to have seen."""
SLOW = 0.1
"""Seconds after which what the quorum has is fetched, where it was not heard live."""

Answer = Callable[[Outcome], None]


async def open_log(
    url: str,
    view: Path,
    *,
    single: bool = False,
    credentials: str = "",
    ca: str = "",
    monitors: Sequence[str] = (),
) -> NatsLog:
    """Connect, make or check the stream, and open the view. Raises LogError, and leaves nothing behind then."""
    address = parse(url)
    await check_sync(monitors)
    link = Link(address, credentials, ca)
    await link.open()
    try:
        epoch = await stream_epoch(link, address, single=single)
        return NatsLog(link, epoch, view, replicas=1 if single else REPLICAS)
    except BaseException:
        await link.close()
        raise


class NatsLog:
    """MessageLog over a stream. Made by ``open_log``."""

    def __init__(
        self, link: Link, epoch: str, view: Path, *, replicas: int = REPLICAS, max_pending: int = MAX_PENDING
    ) -> None:
        self.epoch = epoch
        self.link = link
        self.view = View(view, epoch, self._worked)
        self.parts = NatsParts(link, replicas)
        self._replicas = replicas
        self._orders: NatsOrders | None = None
        self._sends = Sends(link, self._taken)
        self._max_pending = max_pending
        self._listeners: list[Listener] = []
        self._feeds: dict[str, asyncio.Future[Feed]] = {}
        self._asked: dict[str, deque[tuple[Submission, Answer]]] = {}
        self._pending = 0
        self._idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._reachable = True
        self._closing = False
        self._watching = self._loop.create_task(self._watch())

    # ---- MessageLog

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        done: asyncio.Future[list[Outcome]] = self._loop.create_future()
        if not batch or self._closing:
            done.set_result([STOPPING] * len(batch))
            return done
        if self._pending and self._pending + len(batch) > self._max_pending:
            raise LogFull(self._pending)
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
            self._send(submission, partial(answer, index))
        return done

    def follow(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def healthy(self) -> bool:
        return (
            self._reachable
            and self.link.connected.is_set()
            and self.view.healthy
            and self._loop.time() - self._sends.failed_at > PATIENCE
        )

    async def bounds(self, room: str, *, reach: int = 0) -> Bounds:
        feed = await self._fresh(room)
        if reach > feed.last and self.link.connected.is_set():
            with contextlib.suppress(*LOST):
                if reach <= await nats_queries.newest(self.link, room):
                    await asyncio.wait_for(feed.reach(reach), REACH)
        return await self.view.reading.read(sqlite_queries.bounds, room)

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        await self._fresh(room, upto)
        return await self.view.reading.read(sqlite_queries.count, room, after, upto, limit)

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        await self._fresh(room, upto)
        return await self.view.reading.read(sqlite_queries.entries, room, after, upto, limit)

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[bytes]:
        await self._fresh(room, None if before is None else before - 1)
        return await self.view.reading.read(sqlite_queries.messages, room, limit, before, after)

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        await self._fresh(room)
        return await self.view.reading.search(room, words, limit)

    async def rooms(self) -> list[RoomRow]:
        """Of a room that this node has not served yet, the seq is the stream's newest there."""
        known = {row.name: row for row in await self.view.reading.read(sqlite_queries.rooms)}
        with contextlib.suppress(*LOST):
            names = await nats_queries.names(self.link)
            known = {name: row for name, row in known.items() if name in names}
            newest = await nats_queries.latest(self.link, sorted(names - set(self._feeds)))
            known.update({name: RoomRow(name, seq) for name, seq in newest.items()})
        return [known[name] for name in sorted(known)]

    async def close(self) -> None:
        self._closing = True
        if self._pending and self.link.connected.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), PATIENCE)
        for task in [self._watching, *self._tasks]:
            task.cancel()
        self._sends.close()
        for queue in self._asked.values():
            for _, answer in queue:
                answer(STOPPING)
        for feed in self._open_feeds():
            feed.close()
        if self._orders is not None:
            self._orders.close()
        await self.link.close()
        await self.view.close()

    async def join(self, hub: Hub) -> None:
        """Tell ``hub`` what other nodes know that is in no log, and the other way round. Raises LogError."""
        moderation = hub.policy.moderation
        self._orders = NatsOrders(self.link, self._replicas, moderation.learn, hub.review)
        neighbours = NatsNeighbours(self.link, hub)
        await neighbours.open()
        await self._orders.open()
        moderation.keeper = self._orders
        hub.neighbours = neighbours
        hub.rate.counted = neighbours.counted

    # ---- appending

    def _send(self, submission: Submission, answer: Answer) -> None:
        """Publish it. In a room that is not followed yet, and where it is about another message, that is looked
        at first, and what comes behind it in its room waits.
        """
        room = submission.room
        queue = self._asked.get(room)
        if queue is not None:
            queue.append((submission, answer))
        elif about_of(submission.draft) is None and room in self._feeds and self._feeds[room].done():
            self._sends.send(submission, answer)
        else:
            self._asked[room] = deque([(submission, answer)])
            self._run(self._look(room))

    async def _look(self, room: str) -> None:
        queue = self._asked[room]
        with contextlib.suppress(LogError):
            await self._feed(room)  # else what is published is not heard when it comes back
        while queue:
            submission, answer = queue[0]
            outcome = None
            if about_of(submission.draft) is not None:
                try:
                    outcome = await self._foreseen(submission)
                except (LogError, *LOST) as error:
                    outcome = Refused("unavailable", f"{error}; try again", 503, RETRY_AFTER)
            queue.popleft()
            if outcome is None:
                self._sends.send(submission, answer)
            else:
                answer(outcome)
        del self._asked[room]

    async def _foreseen(self, submission: Submission) -> Outcome | None:
        """What becomes of it, where that is sure already: it is there, or it is refused. None: publish it."""
        room, principal, draft, verified, _ = submission
        about = about_of(draft)
        assert about is not None
        await self._feed(room)
        entry = compose(draft, room, 0, 0, verified=verified)
        for fresh in (False, True):  # a view may be behind: none is refused for that
            if fresh:
                await self._fresh(room)
            if draft.cid and (first := await self.view.known((room, principal, draft.cid))):
                return again(first, submission)
            refused = objection(submission, entry, await self.view.target(room, about))
            if refused is None:
                return None
        return refused

    def _taken(self, sending: Sending) -> None:
        """The quorum has it, or has had it before."""
        if sending.dup:
            self._run(self._find(sending))
        else:
            self._loop.call_later(SLOW, self._fetch, sending)

    def _fetch(self, sending: Sending) -> None:
        """By now it should have been heard."""
        opened = self._feeds.get(sending.submission.room)
        if opened is not None and opened.done() and opened.result().last < sending.seq:
            opened.result().fill()

    async def _find(self, sending: Sending) -> None:
        """It is in the stream already: what became of it there?"""
        room, seq = sending.submission.room, sending.seq
        with contextlib.suppress(LogError, asyncio.TimeoutError):
            feed = await self._feed(room)
            await asyncio.wait_for(feed.reach(seq), max(0.0, sending.deadline - self._loop.time()))
            found = await self.view.reading.read(sqlite_queries.entries, room, seq - 1, seq, 1)
            if self._sends.settle(sending):
                if found:
                    sending.answer(again(found[0], sending.submission))
                else:
                    self._sends.resend(sending)

    def _worked(self, worked: Sequence[Worked]) -> None:
        """The view has got further: senders first, then followers, all in one turn."""
        for sending, outcome in self._sends.worked(worked):
            sending.answer(outcome)
        entries = [outcome for _, outcome in worked if isinstance(outcome, Stored) and not outcome.dup]
        if entries:
            for listener in self._listeners:
                listener(entries)

    # ---- keeping up with the stream

    async def _feed(self, room: str) -> Feed:
        """The room's feed, filled once. Raises LogError where nothing of the room is known, or can be."""
        opened = self._feeds.get(room)
        if opened is None:
            opened = self._feeds[room] = self._loop.create_future()
            try:
                feed = Feed(room, await self.view.cursor(room), self.link, self.view.add)
                await feed.open()
            except BaseException:
                del self._feeds[room]
                opened.cancel()
                raise
            opened.set_result(feed)
        feed = await asyncio.shield(opened)
        if not feed.filled and not await feed.refresh() and not feed.last:
            raise LogError("the cluster does not answer, and this node has nothing of the room yet")
        return feed

    async def _fresh(self, room: str, upto: int | None = None) -> Feed:
        """The feed, with everything that is in the stream by now (up to ``upto``), if NATS answers."""
        feed = await self._feed(room)
        if upto is None or upto > feed.last:
            await feed.refresh()
        else:
            await feed.reach(upto)
        return feed

    def _open_feeds(self) -> list[Feed]:
        return [one.result() for one in self._feeds.values() if one.done() and not one.cancelled()]

    async def _watch(self) -> None:
        """Compare the silent rooms with the stream, and see whether it still takes messages."""
        while True:
            await asyncio.sleep(SILENCE)
            try:
                self._reachable = await nats_queries.has_leader(self.link)
                await self._compare()
            except LOST:
                self._reachable = False

    async def _compare(self) -> None:
        since = self._loop.time() - SILENCE
        silent = {feed.room: feed for feed in self._open_feeds() if feed.heard < since}
        for room, seq in (await nats_queries.latest(self.link, list(silent))).items():
            if seq > silent[room].last:
                silent[room].fill()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
