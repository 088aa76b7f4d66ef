"""The distributed log: rooms in one JetStream stream; every node serves them from a local replica.

An append publishes the draft, and is settled when the message comes back in the stream's order. The quorum has it on
disk then, and every node computes the same outcome from the earlier messages (``replica``). So nodes that append to
one room at the same time need no lock, no leader and no second round trip; ``seq`` is the stream's, and has gaps.
A draft that is certain to be rejected, as an edit of another user's message, is not published (``precheck``).

Reads come from the replica, after it has caught up with the stream. Without NATS they return what the replica has,
and sends wait (``publisher``).
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
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.jetstream.control_state import ControlState
from bqserver.jetstream.durability import check_sync
from bqserver.jetstream.stream import REPLICAS, ensure_stream
from bqserver.model import STOPPING, Bounds, Outcome, References, RoomRow, RoomView, Stored, Submission
from bqserver.storage.entries import target_seq
from bqserver.storage.interface import Listener, read_view
from bqserver.storage.read_positions import MemoryReadPositions, ReadPositions
from bqserver.storage.retention import Rule, parse_rules
from bqserver.storage.sequencer import Plan, deduplicate
from bqserver.storage.sqlite import queries

from .attachments import NatsAttachments
from .consumers import Consumers
from .erasure import Eraser, Superseded
from .health import HealthMonitor
from .precheck import Prechecker
from .publisher import PUBLISH_TIMEOUT, STREAM_REPLACED, PendingSend, Publisher
from .replica import Applied, Replica
from .retention import TRIM_KEY_PREFIX, Retention
from .snapshots import Snapshots

MAX_PENDING_ENTRIES = 20_000
STOP_TIMEOUT = 1.0
"""Seconds for which the end of the server waits for NATS: unsettled sends are repeated by their senders."""
LIVE_TIMEOUT = 0.1
"""Seconds after an acknowledgement in which the message should arrive live; it is fetched then."""


async def open_log(
    url: str,
    path: Path,
    *,
    single: bool = False,
    credentials: str = "",
    ca: str = "",
    monitors: Sequence[str] = (),
    retain: Sequence[str] = (),
) -> NatsLog:
    """Connect, create or check the stream, and open the replica at ``path``. Raises StorageError or StartError."""
    address, rules = parse_address(url), parse_rules(retain)
    await check_sync(monitors)
    client, bulk_client = (NatsClient(address, credentials, ca) for _ in range(2))
    try:
        await client.open()
        await bulk_client.open()
        epoch = await ensure_stream(client, address, single=single)
        return NatsLog(client, bulk_client, epoch, path, replicas=1 if single else REPLICAS, rules=rules)
    except BaseException:
        await bulk_client.close()
        await client.close()
        raise


class NatsLog:
    """MessageLog over a stream, made by ``open_log``. ``bulk_client``: a second connection for slow requests.
    ``replicas``: of the buckets it creates.
    """

    def __init__(
        self,
        client: NatsClient,
        bulk_client: NatsClient,
        epoch: str,
        path: Path,
        *,
        replicas: int = REPLICAS,
        rules: Sequence[Rule] = (),
    ) -> None:
        self.epoch = epoch
        self.client = client
        self._bulk_client = bulk_client
        self.replica = Replica(path, epoch, self._on_applied)
        self.replica.on_redacted = self._erase
        self.eraser = Eraser(client, replicas)
        self.attachments = NatsAttachments(client, replicas)
        self.attachments.is_referenced = self._is_referenced
        self.replicas = replicas
        self.read_positions: ReadPositions = MemoryReadPositions()  # until the node has joined
        self._control: ControlState | None = None
        self._rules = rules
        self._tasks: set[asyncio.Task[None]] = set()
        self._publisher = Publisher(client, self._on_accepted)
        self._read = self.replica.read
        self.live_messages = partial(self._read, queries.live_messages)
        self._listeners: list[Listener] = []
        self.consumers = Consumers(client, bulk_client, self.replica)
        self._snapshots = Snapshots(client, self.replica, self.consumers, self._publisher.node, replicas)
        self._prechecker = Prechecker(self.consumers, self.replica, self._publisher)
        self._pending, self._closing = 0, False
        self._idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.health = HealthMonitor(client, epoch, self.consumers, self._publisher, self.replica)

    # ---- MessageLog

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        done: asyncio.Future[list[Outcome]] = self._loop.create_future()
        if not batch or self._closing or self.health.replaced:
            done.set_result([STREAM_REPLACED if self.health.replaced else STOPPING] * len(batch))
            return done
        if self._pending and self._pending + len(batch) > MAX_PENDING_ENTRIES:
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
        return await self._read(queries.bounds, room)

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        await self.consumers.refresh(room, upto)
        return await self._read(queries.count, room, after, upto, limit)

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        await self.consumers.refresh(room, upto)
        return await self._read(queries.entries, room, after, upto, limit)

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None, pinned: bool = False
    ) -> list[bytes]:
        if before is None and after is None and not pinned:
            found = await self._snapshots.messages(room, limit)
            if found is not None:
                return found
        await self.consumers.refresh(room, None if before is None else before - 1)
        return await self._read(partial(queries.messages, pinned=pinned), room, limit, before, after)

    async def room_view(self, room: str, *, limit: int) -> RoomView:
        return await self._snapshots.room_view(room, limit) or await read_view(self, room, limit)

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        await self.consumers.refresh(room)
        return await self.replica.readers.search(room, words, limit)

    async def rooms(self) -> list[RoomRow]:
        """For a room that this node has not served yet, the seq is that of the stream's last message in it."""
        known = {row.name: row for row in await self._read(queries.rooms)}
        with contextlib.suppress(*CONNECTION_ERRORS):
            names = await api.room_names(self.client)
            known = {name: row for name, row in known.items() if name in names}
            last_seqs = await api.last_seqs(self.client, sorted(names - self.consumers.filled_rooms()))
            known.update({name: RoomRow(name, seq) for name, seq in last_seqs.items()})
        return [known[name] for name in sorted(known)]

    async def compact(self) -> None:
        """Remove what was deleted from all files now, and what this node deleted from the stream. Raises StorageError."""
        await self.eraser.flush()
        await self.attachments.flush()
        await self.replica.compact()

    async def close(self) -> None:
        self._closing = True
        if self._pending and self.client.connected.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), STOP_TIMEOUT)
        self.health.close()
        self.eraser.close()
        self.attachments.close()
        self._snapshots.close()
        for task in self._tasks:
            task.cancel()
        self._prechecker.close()
        self._publisher.close()
        with contextlib.suppress(*CONNECTION_ERRORS):
            await asyncio.wait_for(self.consumers.close(), STOP_TIMEOUT)
        if self._control is not None:
            self._control.close()
        await asyncio.gather(self._bulk_client.close(), self.client.close())
        await self.replica.close()

    # ---- for the node that serves this log

    async def open_control(self, on_value: Callable[[str, bytes], None], on_change: Callable[[], None]) -> ControlState:
        """Open the cluster's control state, and start retention. ``on_value`` gets the values that are not for this
        log; ``on_change`` is called after a batch of values. Raises StorageError.
        """

        def on_any_value(key: str, value: bytes) -> None:
            if key.startswith(TRIM_KEY_PREFIX):
                room = key.removeprefix(TRIM_KEY_PREFIX)
                self.replica.trim(room, int(value))
                self._snapshots.trimmed(room)
            else:
                on_value(key, value)

        self._control = ControlState(self.client, self.replicas, on_any_value, on_change)
        await self._control.open()
        # The trims are applied before a snapshot is used, which may hold removed messages.
        await asyncio.wait([self.replica.apply(())], timeout=PUBLISH_TIMEOUT)
        if self._rules:
            self.run_until_closed(Retention(self.client, self._control, self._rules, time.time).run())
        return self._control

    def run_until_closed(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` on a task that is cancelled before the connections are closed."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- appending

    def _on_accepted(self, pending: PendingSend) -> None:
        """The quorum has the message, now or from an earlier publication."""
        if pending.dup:
            self.run_until_closed(self._resolve_duplicate(pending))
        else:
            self._loop.call_later(LIVE_TIMEOUT, self._fill_if_behind, pending)

    def _fill_if_behind(self, pending: PendingSend) -> None:
        consumer = self.consumers.get(pending.submission.room)
        if consumer is not None and consumer.last_seq < pending.seq:
            consumer.fill()

    async def _resolve_duplicate(self, pending: PendingSend) -> None:
        """Answer with the outcome of the earlier message; publish again if that was rejected."""
        room, seq = pending.submission.room, pending.seq
        with contextlib.suppress(StorageError, asyncio.TimeoutError):
            consumer = await self.consumers.open(room)
            await asyncio.wait_for(consumer.reach(seq), max(0.0, pending.deadline - self._loop.time()))
            found = await self._read(queries.entries, room, seq - 1, seq, 1)
            if self._publisher.settle(pending):
                if found:
                    pending.answer(deduplicate(found[0], pending.submission))
                else:
                    self._publisher.resend(pending)

    def _on_applied(self, batch: Sequence[Applied]) -> None:
        """The replica has new messages: answer the senders first, then the listeners, in one turn of the loop."""
        for pending, outcome in self._publisher.settle_applied(batch):
            pending.answer(outcome)
        self._snapshots.applied(batch)
        entries = [outcome for _, outcome in batch if isinstance(outcome, Stored) and not outcome.dup]
        if entries:
            for listener in self._listeners:
                listener(entries)

    async def _is_referenced(self, room: str, sha256: str) -> bool:
        await self.consumers.refresh(room)
        return await self._read(queries.is_referenced, room, sha256)

    def _erase(self, batch: Sequence[Applied], plan: Plan) -> None:
        """Erase what messages of this node have superseded; the other nodes do the same with theirs."""
        own = {
            (one.room, target_seq(one.record.draft))
            for one, _ in batch
            if one.record is not None and one.record.node == self._publisher.node
        }
        self.eraser.add(
            Superseded(room, seq, (room, target) in plan.emptied)
            for (room, seq), target in plan.targets.items()
            if (room, target) in own
        )
        rooms = {room for room, _ in own}
        self.attachments.settle(References(freed=[one for one in plan.references.freed if one[0] in rooms]))
