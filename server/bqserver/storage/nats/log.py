"""The distributed log: rooms in one JetStream stream, served by every node from a view of its own.

An append publishes what is asked for and is settled when it has come back in the stream's order: the quorum has
it on disk then, and every node works out the same from the entries before it (nats_view). So two nodes need no
lock, no leader and no second round when they append to one room at once; ``seq`` is the stream's, and not dense.
What can be seen to be refused (an edit of another's message) is refused before it takes a place there.

Reads come from the view, brought up to the stream first. Where NATS does not answer, they go on with what is
there, and publisher wait for it (publisher).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path

from bqserver.errors import QueueFull, StorageError
from bqserver.jetstream import api
from bqserver.jetstream.address import parse_address
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.jetstream.durability import check_sync
from bqserver.jetstream.stream import REPLICAS, ensure_stream
from bqserver.jetstream.watched_kv import ControlState
from bqserver.model import Bounds, Outcome, RoomRow, RoomView, Stored, Submission
from bqserver.storage.interface import Listener, read_view
from bqserver.storage.sequencer import deduplicate
from bqserver.storage.sqlite import queries

from .attachments import NatsAttachments
from .consumers import Consumers
from .health import HealthMonitor
from .precheck import Prechecker
from .publisher import PUBLISH_TIMEOUT, STOPPING, STREAM_REPLACED, PendingSend, Publisher
from .replica import Applied, Replica
from .retention import TRIM_KEY_PREFIX, Retention, Rule, parse_rules
from .snapshots import Snapshots

MAX_PENDING = 20_000
LIVE_TIMEOUT = 0.1
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
    address, rules = parse_address(url), parse_rules(retain)
    await check_sync(monitors)
    client, aside = (JetStreamClient(address, credentials, ca) for _ in range(2))
    try:
        await client.open()
        await aside.open()
        epoch = await ensure_stream(client, address, single=single)
        return NatsLog(client, aside, epoch, view, replicas=1 if single else REPLICAS, rules=rules)
    except BaseException:
        await aside.close()
        await client.close()
        raise


class NatsLog:
    """MessageLog over a stream. Made by ``open_log``. ``aside``: a second connection, for what takes NATS long."""

    def __init__(
        self,
        client: JetStreamClient,
        aside: JetStreamClient,
        epoch: str,
        view: Path,
        *,
        replicas: int = REPLICAS,
        rules: Sequence[Rule] = (),
        max_pending: int = MAX_PENDING,
    ) -> None:
        self.epoch = epoch
        self.client = client
        self._aside = aside
        self.replica = Replica(view, epoch, self._on_applied)
        self.attachments = NatsAttachments(client, replicas)
        self.replicas = replicas
        self._control: ControlState | None = None
        self._rules = rules
        self._running: list[asyncio.Task[None]] = []
        self._publisher = Publisher(client, self._on_accepted)
        self._max_pending = max_pending
        self._read = self.replica.readers.read
        self._listeners: list[Listener] = []
        self.consumers = Consumers(client, aside, self.replica)
        self._snapshots = Snapshots(client, self.replica, self.consumers, self._publisher.node, replicas)
        self._prechecker = Prechecker(self.consumers, self.replica, self._publisher)
        self._pending = 0
        self._idle = asyncio.Event()
        self._resolving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self.health = HealthMonitor(client, epoch, self.consumers, self._publisher, self.replica)

    # ---- MessageLog

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        done: asyncio.Future[list[Outcome]] = self._loop.create_future()
        if not batch or self._closing or self.health.replaced:
            done.set_result([STREAM_REPLACED if self.health.replaced else STOPPING] * len(batch))
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
            self._prechecker.submit(submission, partial(answer, index))
        return done

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def healthy(self) -> bool:
        return self.health.healthy()

    async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
        await self.consumers.reach(room, min_seq)
        return await self.replica.bounds(room)

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        await self.consumers.refresh(room, upto)
        return await self._read(queries.count, room, after, upto, limit)

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        await self.consumers.refresh(room, upto)
        return await self.replica.entries(room, after, upto, limit)

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[bytes]:
        if (
            before is None
            and after is None
            and (page := await self._snapshots.messages(room, limit)) is not None
        ):
            return page
        await self.consumers.refresh(room, None if before is None else before - 1)
        return await self._read(queries.messages, room, limit, before, after)

    async def room_view(self, room: str, *, limit: int) -> RoomView:
        return await self._snapshots.glance(room, limit) or await read_view(self, room, limit)

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        await self.consumers.refresh(room)
        return await self.replica.readers.search(room, words, limit)

    async def rooms(self) -> list[RoomRow]:
        """Of a room that this node has not served yet, the seq is the stream's newest there."""
        known = {row.name: row for row in await self._read(queries.rooms)}
        with contextlib.suppress(*CONNECTION_ERRORS):
            names = await api.room_names(self.client)
            known = {name: row for name, row in known.items() if name in names}
            newest = await api.last_seqs(self.client, sorted(names - self.consumers.filled_rooms()))
            known.update({name: RoomRow(name, seq) for name, seq in newest.items()})
        return [known[name] for name in sorted(known)]

    async def close(self) -> None:
        self._closing = True
        if self._pending and self.client.connected.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), PUBLISH_TIMEOUT)
        self.health.close()
        self._snapshots.close()
        for task in [*self._running, *self._resolving]:
            task.cancel()
        self._prechecker.close()
        self._publisher.close()
        await self.consumers.close()
        if self._control is not None:
            self._control.close()
        await self._aside.close()
        await self.client.close()
        await self.replica.close()

    # ---- what belongs to a node

    async def open_control(
        self, on_value: Callable[[str, bytes], None], on_change: Callable[[], None]
    ) -> ControlState:
        """Open the cluster's shared state and start retention. ``on_value`` gets what is not for the log itself;
        ``on_change`` is called after a batch of values. Raises StorageError.
        """

        def learn(key: str, value: bytes) -> None:
            if key.startswith(TRIM_KEY_PREFIX):
                self.replica.trim(key.removeprefix(TRIM_KEY_PREFIX), int(value))
                self._snapshots.trimmed(key.removeprefix(TRIM_KEY_PREFIX))
            else:
                on_value(key, value)

        self._control = ControlState(self.client, self.replicas, learn, on_change)
        await self._control.open()
        await asyncio.wait(
            [self.replica.apply(())], timeout=PUBLISH_TIMEOUT
        )  # or a page shows what was let go
        if self._rules:
            self.run_until_closed(Retention(self.client, self._control, self._rules, time.time).run())
        return self._control

    def run_until_closed(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` on a task that is cancelled before the connection is closed."""
        self._running.append(self._loop.create_task(work))

    # ---- appending

    def _on_accepted(self, sending: PendingSend) -> None:
        """The quorum has it, or has had it before."""
        if sending.dup:
            task = self._loop.create_task(self._resolve_duplicate(sending))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)
        else:
            self._loop.call_later(LIVE_TIMEOUT, self._fill_if_behind, sending)

    def _fill_if_behind(self, sending: PendingSend) -> None:
        """By now it should have been heard."""
        consumer = self.consumers.get(sending.submission.room)
        if consumer is not None and consumer.last < sending.seq:
            consumer.fill()

    async def _resolve_duplicate(self, sending: PendingSend) -> None:
        """It is in the stream already: what became of it there?"""
        room, seq = sending.submission.room, sending.seq
        with contextlib.suppress(StorageError, asyncio.TimeoutError):
            consumer = await self.consumers.open(room)
            await asyncio.wait_for(consumer.reach(seq), max(0.0, sending.deadline - self._loop.time()))
            found = await self._read(queries.entries, room, seq - 1, seq, 1)
            if self._publisher.settle(sending):
                if found:
                    sending.answer(deduplicate(found[0], sending.submission))
                else:
                    self._publisher.resend(sending)

    def _on_applied(self, worked: Sequence[Applied]) -> None:
        """The view has got further: senders first, then followers, all in one turn."""
        for sending, outcome in self._publisher.applied(worked):
            sending.answer(outcome)
        self._snapshots.applied(worked)
        entries = [outcome for _, outcome in worked if isinstance(outcome, Stored) and not outcome.dup]
        if entries:
            for listener in self._listeners:
                listener(entries)
