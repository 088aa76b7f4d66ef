"""What is on its way into the stream: published, acknowledged by the quorum, and tried again until it is.

Every try of a send carries one ``Nats-Msg-Id``, so that the stream takes it once, whatever became of the answers.
What the stream has taken is settled when the view has worked it out. A send that the stream does not take within
``PATIENCE`` is refused, clearly and not for good: its sender may try again with the same cid.
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

from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, NO_RESPONDERS_STATUS
from bqserver.model import Outcome, Rejected, Submission

from .records import encode_record, message_id
from .replica import Applied

PUBLISH_TIMEOUT = 10.0
"""Seconds that a send may wait for the cluster: longer than it takes to elect a new leader."""
ACK_TIMEOUT = 3.0
"""Seconds without an answer after which a send is published again."""
RETRY_INTERVAL = 0.25
"""Seconds until one is published again that could not be taken just then."""
TICK_INTERVAL = 0.1
MAX_IN_FLIGHT = 512
"""Sends on their way at once: more of them would only wait inside of JetStream."""
RETRY_AFTER_SECONDS = 2.0

_log = logging.getLogger("bqserver.nats")


@dataclass(slots=True, eq=False)
class PendingSend:
    """One submission until it is settled. ``due``: when it is published again."""

    number: int
    submission: Submission
    answer: Callable[[Outcome], None]
    deadline: float
    message_id: str
    retry_at: float = 0.0
    seq: int = 0
    """Where the stream has put it; 0: not known yet."""
    dup: bool = False
    """The stream had it there already."""
    rejections: int = 0
    """How often that had been refused there."""


class Publisher:
    """``taken(sending)`` hears when the stream has it, at ``sending.seq``, or has had it before there."""

    def __init__(self, client: JetStreamClient, taken: Callable[[PendingSend], None]) -> None:
        self.node = token_hex(8)
        self.failed_at = -PUBLISH_TIMEOUT
        """When a send was last given up (the loop's clock), and none was taken since."""
        self._client = client
        self._on_accepted = taken
        self._numbers = count(1)
        self._waiting: deque[PendingSend] = deque()
        self._in_flight: dict[int, PendingSend] = {}
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._publishing = self._loop.create_task(self._publish())
        self._ticking = self._loop.create_task(self._tick())
        client.on_change.append(self._on_connection_change)

    def send(self, submission: Submission, answer: Callable[[Outcome], None]) -> None:
        number = next(self._numbers)
        draft, now = submission.draft, self._loop.time()
        once = (
            message_id(submission.room, submission.principal, draft.cid)
            if draft.cid
            else f"{self.node}-{number}"  # it can't be told from another one, except by our own tries
        )
        self._enqueue(PendingSend(number, submission, answer, now + PUBLISH_TIMEOUT, once))

    def resend(self, sending: PendingSend) -> None:
        """The stream had it before, when it was refused: ask for it under an id of its own."""
        sending.rejections += 1
        room, principal, draft, *_ = sending.submission
        sending.message_id = message_id(room, principal, draft.cid, sending.rejections)
        sending.seq, sending.retry_at = 0, 0.0
        self._waiting.append(sending)
        self._wake.set()

    def applied(self, worked: Sequence[Applied]) -> list[tuple[PendingSend, Outcome]]:
        """Which of ours are settled by what the view has worked out."""
        settled = []
        for placed, outcome in worked:
            envelope = placed.record
            if envelope is not None and envelope.node == self.node:
                sending = self._in_flight.pop(envelope.number, None)
                if sending is not None:
                    settled.append((sending, outcome))
        if settled:
            self.failed_at = -PUBLISH_TIMEOUT
            self._wake.set()
        return settled

    def settle(self, sending: PendingSend) -> bool:
        """Whether it was still open; it is not any more."""
        self._wake.set()
        return self._in_flight.pop(sending.number, None) is not None

    def close(self) -> None:
        """What is still on its way is refused; it may be stored all the same."""
        self._publishing.cancel()
        self._ticking.cancel()
        for sending in [*self._in_flight.values(), *self._waiting]:
            sending.answer(STOPPING)
        self._in_flight.clear()
        self._waiting.clear()

    # ---- publishing

    def _enqueue(self, sending: PendingSend) -> None:
        self._waiting.append(sending)
        self._wake.set()

    async def _publish(self) -> None:
        while True:
            self._wake.clear()
            while self._waiting and len(self._in_flight) < MAX_IN_FLIGHT and self._client.connected.is_set():
                sending = self._waiting.popleft()
                self._in_flight[sending.number] = sending
                await self._try(sending)
            await self._wake.wait()

    async def _try(self, sending: PendingSend) -> None:
        sending.retry_at = self._loop.time() + ACK_TIMEOUT
        room, *_ = sending.submission
        payload = encode_record(sending.submission, self.node, sending.number)
        reply = self._client.open_inbox(partial(self._on_ack, sending.number), f"p{sending.number}")
        try:
            await self._client.publish(
                self._client.address.subject(room),
                payload,
                reply=reply,
                headers={"Nats-Msg-Id": sending.message_id},
            )
        except CONNECTION_ERRORS:
            sending.retry_at = self._loop.time() + RETRY_INTERVAL

    def _on_ack(self, number: int, msg: Msg) -> None:
        self._client.close_inbox(msg.subject)
        sending = self._in_flight.get(number)
        if sending is None:
            return
        if (msg.headers or {}).get("Status") == NO_RESPONDERS_STATUS:
            sending.retry_at = self._loop.time() + RETRY_INTERVAL
            return
        answer = json.loads(msg.data)
        if error := answer.get("error"):
            _log.debug("a message was not taken: %s", error)
            sending.retry_at = self._loop.time() + RETRY_INTERVAL
            return
        sending.seq = int(answer["seq"])
        sending.dup = bool(answer.get("duplicate"))
        self._on_accepted(sending)

    async def _tick(self) -> None:
        """Publish again what is due; refuse what has waited too long."""
        while True:
            await asyncio.sleep(TICK_INTERVAL)
            now = self._loop.time()
            late = [one for one in self._in_flight.values() if one.deadline <= now]
            while self._waiting and self._waiting[0].deadline <= now:
                late.append(self._waiting.popleft())
            for sending in late:
                self._in_flight.pop(sending.number, None)
                self._client.close_inbox(f".p{sending.number}")
                self.failed_at = now
                sending.answer(_UNAVAILABLE)
            if late:
                self._wake.set()
            if self._client.connected.is_set():
                for sending in [
                    one for one in self._in_flight.values() if not one.seq and one.retry_at <= now
                ]:
                    await self._try(sending)

    def _on_connection_change(self) -> None:
        """What was published on the connection that is gone may have got lost with it."""
        if self._client.connected.is_set():
            for sending in self._in_flight.values():
                if not sending.seq:
                    sending.retry_at = 0.0
            self._wake.set()


_UNAVAILABLE = Rejected(
    "unavailable",
    f"the cluster did not take the message within {PUBLISH_TIMEOUT:g} s: try again, with the same cid",
    503,
    RETRY_AFTER_SECONDS,
)
STREAM_REPLACED = Rejected(
    "unavailable", "the cluster holds another history now: restart this server", 503, 5.0
)
STOPPING = Rejected("restart", "the server is stopping: it will be back", 503, 1.0)
