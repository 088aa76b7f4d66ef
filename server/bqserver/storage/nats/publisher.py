"""Publishes submissions to the stream, and repeats each until the quorum has acknowledged it.

Every publication of a send has the same ``Nats-Msg-Id``, so the stream stores it once even if an acknowledgement is
lost. An acknowledged send is settled when the replica has applied it. A send that the stream does not acknowledge
within ``PUBLISH_TIMEOUT`` is rejected as unavailable: its sender may repeat it with the same cid.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from secrets import token_hex

from nats.aio.msg import Msg

from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.model import STOPPING, Outcome, Rejected, Submission

from .records import encode_record, message_id
from .replica import Applied

PUBLISH_TIMEOUT = 10.0
"""Seconds that a send may wait for the cluster: longer than the election of a new leader takes."""
ACK_TIMEOUT = 3.0
"""Seconds without an answer after which a send is published again."""
RETRY_INTERVAL = 0.25
"""Seconds after a failed publication until the next."""
TICK_INTERVAL = 0.1
MAX_IN_FLIGHT = 512
"""Sends published and not settled: more would only wait inside JetStream."""
RETRY_AFTER_SECONDS = 2.0

_log = logging.getLogger("bqserver.nats")


@dataclass(slots=True, eq=False)
class PendingSend:
    """One submission until it is settled. ``retry_at``: when it is published again (the loop's clock)."""

    number: int
    submission: Submission
    answer: Callable[[Outcome], None]
    deadline: float
    message_id: str
    retry_at: float = 0.0
    seq: int = 0
    """Its seq in the stream; 0: not acknowledged yet."""
    dup: bool = False
    """The stream already had a message with this id."""
    rejections: int = 0
    """How many earlier messages with this cid were rejected."""


class Publisher:
    """``on_accepted(pending)`` is called when the stream has the message, new or earlier, at ``pending.seq``."""

    def __init__(self, client: NatsClient, on_accepted: Callable[[PendingSend], None]) -> None:
        self.node = token_hex(8)
        self.failed_at = -PUBLISH_TIMEOUT
        """When a send last timed out (the loop's clock), if none has succeeded since."""
        self._client = client
        self._on_accepted = on_accepted
        self._numbers = count(1)
        self._waiting: deque[PendingSend] = deque()
        self._in_flight: dict[int, PendingSend] = {}
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks = [self._loop.create_task(work) for work in (self._publish_waiting(), self._tick())]
        client.on_change.append(self._on_connection_change)

    def send(self, submission: Submission, answer: Callable[[Outcome], None]) -> None:
        number = next(self._numbers)
        draft, now = submission.draft, self._loop.time()
        msg_id = (
            message_id(submission.room, submission.principal, draft.cid)
            if draft.cid
            else f"{self.node}-{number}"  # without a cid, only repeated publications are recognized
        )
        self._enqueue(PendingSend(number, submission, answer, now + PUBLISH_TIMEOUT, msg_id))

    def resend(self, pending: PendingSend) -> None:
        """Publish under a new id: the message with the current id was rejected."""
        pending.rejections += 1
        failed = pending.submission
        pending.message_id = message_id(failed.room, failed.principal, failed.draft.cid, pending.rejections)
        pending.seq, pending.retry_at = 0, 0.0
        self._enqueue(pending)

    def settle_applied(self, batch: Sequence[Applied]) -> list[tuple[PendingSend, Outcome]]:
        """Remove and return this node's sends among the messages that the replica has applied."""
        settled = []
        for message, outcome in batch:
            record = message.record
            if record is not None and record.node == self.node:
                pending = self._in_flight.pop(record.number, None)
                if pending is not None:
                    settled.append((pending, outcome))
        if settled:
            self.failed_at = -PUBLISH_TIMEOUT
            self._wake.set()
        return settled

    def settle(self, pending: PendingSend) -> bool:
        """Remove a send. Returns False if it was settled already."""
        self._wake.set()
        return self._in_flight.pop(pending.number, None) is not None

    def close(self) -> None:
        """Reject what is not settled; it may be stored nevertheless."""
        for task in self._tasks:
            task.cancel()
        for pending in [*self._in_flight.values(), *self._waiting]:
            pending.answer(STOPPING)
        self._in_flight.clear()
        self._waiting.clear()

    # ---- publishing

    def _enqueue(self, pending: PendingSend) -> None:
        self._waiting.append(pending)
        self._wake.set()

    async def _publish_waiting(self) -> None:
        while True:
            self._wake.clear()
            while self._waiting and len(self._in_flight) < MAX_IN_FLIGHT and self._client.connected.is_set():
                pending = self._waiting.popleft()
                self._in_flight[pending.number] = pending
                await self._publish(pending)
            await self._wake.wait()

    async def _publish(self, pending: PendingSend) -> None:
        pending.retry_at = self._loop.time() + ACK_TIMEOUT
        subject = self._client.address.subject(pending.submission.room)
        payload = encode_record(pending.submission, self.node, pending.number)
        reply = self._client.open_inbox(partial(self._on_ack, pending.number), f"p{pending.number}")
        try:
            await self._client.publish(subject, payload, reply, {"Nats-Msg-Id": pending.message_id})
        except CONNECTION_ERRORS:
            pending.retry_at = self._loop.time() + RETRY_INTERVAL

    def _on_ack(self, number: int, msg: Msg) -> None:
        self._client.close_inbox(msg.subject)
        pending = self._in_flight.get(number)
        if pending is None:
            return
        answer = json.loads(msg.data or b"{}")  # empty if JetStream does not answer
        if "seq" not in answer:
            _log.debug("the stream did not take a message: %s", answer.get("error", msg.headers))
            pending.retry_at = self._loop.time() + RETRY_INTERVAL
            return
        pending.seq = int(answer["seq"])
        pending.dup = bool(answer.get("duplicate"))
        self._on_accepted(pending)

    async def _tick(self) -> None:
        """Publish what is due again, and reject what has timed out."""
        while True:
            await asyncio.sleep(TICK_INTERVAL)
            now = self._loop.time()
            expired = [one for one in self._in_flight.values() if one.deadline <= now]
            while self._waiting and self._waiting[0].deadline <= now:
                expired.append(self._waiting.popleft())
            for pending in expired:
                self._in_flight.pop(pending.number, None)
                self._client.close_inbox(f".p{pending.number}")
                self.failed_at = now
                pending.answer(_UNAVAILABLE)
            if expired:
                self._wake.set()
            if self._client.connected.is_set():
                due = [one for one in self._in_flight.values() if not one.seq and one.retry_at <= now]
                for pending in due:
                    await self._publish(pending)

    def _on_connection_change(self) -> None:
        """Publish again on a new connection: what was sent on the old one may be lost."""
        if self._client.connected.is_set():
            for pending in self._in_flight.values():
                if not pending.seq:
                    pending.retry_at = 0.0
            self._wake.set()


_UNAVAILABLE = Rejected(
    "unavailable",
    f"the cluster did not take the message within {PUBLISH_TIMEOUT:g} s: try again, with the same cid",
    503,
    RETRY_AFTER_SECONDS,
)
STREAM_REPLACED = Rejected(
    "unavailable", "the cluster's stream was replaced by another one: restart this server", 503, 5.0
)
