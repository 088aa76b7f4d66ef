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

from bqserver.jetstream.client import Link
from bqserver.jetstream.connection import LOST, NO_RESPONDERS
from bqserver.model import Outcome, Rejected, Submission

from .records import once_id, seal
from .replica import Worked

PATIENCE = 10.0
"""Seconds that a send may wait for the cluster: longer than it takes to elect a new leader."""
RETRY = 3.0
"""Seconds without an answer after which a send is published again."""
AGAIN = 0.25
"""Seconds until one is published again that could not be taken just then."""
TICK = 0.1
FLYING = 512
"""Sends on their way at once: more of them would only wait inside of JetStream."""
RETRY_AFTER = 2.0

_log = logging.getLogger("bqserver.nats")


@dataclass(slots=True, eq=False)
class Sending:
    """One submission until it is settled. ``due``: when it is published again."""

    number: int
    submission: Submission
    answer: Callable[[Outcome], None]
    deadline: float
    once: str
    due: float = 0.0
    seq: int = 0
    """Where the stream has put it; 0: not known yet."""
    dup: bool = False
    """The stream had it there already."""
    refusals: int = 0
    """How often that had been refused there."""


class Sends:
    """``taken(sending)`` hears when the stream has it, at ``sending.seq``, or has had it before there."""

    def __init__(self, link: Link, taken: Callable[[Sending], None]) -> None:
        self.node = token_hex(8)
        self.failed_at = -PATIENCE
        """When a send was last given up (the loop's clock), and none was taken since."""
        self._link = link
        self._taken = taken
        self._numbers = count(1)
        self._waiting: deque[Sending] = deque()
        self._flying: dict[int, Sending] = {}
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._publishing = self._loop.create_task(self._publish())
        self._ticking = self._loop.create_task(self._tick())
        link.on_change.append(self._changed)

    def send(self, submission: Submission, answer: Callable[[Outcome], None]) -> None:
        number = next(self._numbers)
        draft, now = submission.draft, self._loop.time()
        once = (
            once_id(submission.room, submission.principal, draft.cid)
            if draft.cid
            else f"{self.node}-{number}"  # it can't be told from another one, except by our own tries
        )
        self._queue(Sending(number, submission, answer, now + PATIENCE, once))

    def resend(self, sending: Sending) -> None:
        """The stream had it before, when it was refused: ask for it under an id of its own."""
        sending.refusals += 1
        room, principal, draft, *_ = sending.submission
        sending.once = once_id(room, principal, draft.cid, sending.refusals)
        sending.seq, sending.due = 0, 0.0
        self._waiting.append(sending)
        self._wake.set()

    def worked(self, worked: Sequence[Worked]) -> list[tuple[Sending, Outcome]]:
        """Which of ours are settled by what the view has worked out."""
        settled = []
        for placed, outcome in worked:
            envelope = placed.envelope
            if envelope is not None and envelope.node == self.node:
                sending = self._flying.pop(envelope.number, None)
                if sending is not None:
                    settled.append((sending, outcome))
        if settled:
            self.failed_at = -PATIENCE
            self._wake.set()
        return settled

    def settle(self, sending: Sending) -> bool:
        """Whether it was still open; it is not any more."""
        self._wake.set()
        return self._flying.pop(sending.number, None) is not None

    def close(self) -> None:
        """What is still on its way is refused; it may be stored all the same."""
        self._publishing.cancel()
        self._ticking.cancel()
        for sending in [*self._flying.values(), *self._waiting]:
            sending.answer(STOPPING)
        self._flying.clear()
        self._waiting.clear()

    # ---- publishing

    def _queue(self, sending: Sending) -> None:
        self._waiting.append(sending)
        self._wake.set()

    async def _publish(self) -> None:
        while True:
            self._wake.clear()
            while self._waiting and len(self._flying) < FLYING and self._link.connected.is_set():
                sending = self._waiting.popleft()
                self._flying[sending.number] = sending
                await self._try(sending)
            await self._wake.wait()

    async def _try(self, sending: Sending) -> None:
        sending.due = self._loop.time() + RETRY
        room, *_ = sending.submission
        payload = seal(sending.submission, self.node, sending.number)
        reply = self._link.inbox(partial(self._answered, sending.number), f"p{sending.number}")
        try:
            await self._link.publish(
                self._link.address.subject(room), payload, reply=reply, headers={"Nats-Msg-Id": sending.once}
            )
        except LOST:
            sending.due = self._loop.time() + AGAIN

    def _answered(self, number: int, msg: Msg) -> None:
        self._link.forget(msg.subject)
        sending = self._flying.get(number)
        if sending is None:
            return
        if (msg.headers or {}).get("Status") == NO_RESPONDERS:
            sending.due = self._loop.time() + AGAIN
            return
        answer = json.loads(msg.data)
        if error := answer.get("error"):
            _log.debug("a message was not taken: %s", error)
            sending.due = self._loop.time() + AGAIN
            return
        sending.seq = int(answer["seq"])
        sending.dup = bool(answer.get("duplicate"))
        self._taken(sending)

    async def _tick(self) -> None:
        """Publish again what is due; refuse what has waited too long."""
        while True:
            await asyncio.sleep(TICK)
            now = self._loop.time()
            late = [one for one in self._flying.values() if one.deadline <= now]
            while self._waiting and self._waiting[0].deadline <= now:
                late.append(self._waiting.popleft())
            for sending in late:
                self._flying.pop(sending.number, None)
                self._link.forget(f".p{sending.number}")
                self.failed_at = now
                sending.answer(_UNAVAILABLE)
            if late:
                self._wake.set()
            if self._link.connected.is_set():
                for sending in [one for one in self._flying.values() if not one.seq and one.due <= now]:
                    await self._try(sending)

    def _changed(self) -> None:
        """What was published on the connection that is gone may have got lost with it."""
        if self._link.connected.is_set():
            for sending in self._flying.values():
                if not sending.seq:
                    sending.due = 0.0
            self._wake.set()


_UNAVAILABLE = Rejected(
    "unavailable",
    f"the cluster did not take the message within {PATIENCE:g} s: try again, with the same cid",
    503,
    RETRY_AFTER,
)
REPLACED = Rejected("unavailable", "the cluster holds another history now: restart this server", 503, 5.0)
STOPPING = Rejected("restart", "the server is stopping: it will be back", 503, 1.0)
