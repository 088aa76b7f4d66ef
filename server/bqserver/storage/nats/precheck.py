"""Rejects drafts that are certain to be rejected before they are published, so they take no seq in the stream.

A change or an answer is checked against the replica. Later drafts of its room wait meanwhile, so each sender's order
is kept. The stream's order decides about every draft that passes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from bqserver.errors import StorageError
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.model import STOPPING, Outcome, Rejected, Submission
from bqserver.storage.entries import new_entry, target_seq
from bqserver.storage.redaction import decode_message
from bqserver.storage.rejections import reject_excess
from bqserver.storage.sequencer import deduplicate, validate

from . import replica
from .consumers import Consumers
from .publisher import RETRY_AFTER_SECONDS, Publisher
from .replica import Replica

Answer = Callable[[Outcome], None]


class Prechecker:
    """Checks submissions and passes them to ``publisher``."""

    def __init__(self, consumers: Consumers, replica: Replica, publisher: Publisher) -> None:
        self._consumers = consumers
        self._replica = replica
        self._publisher = publisher
        self._queues: dict[str, deque[tuple[Submission, Answer]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, submission: Submission, answer: Answer) -> None:
        """Publish at once if there is nothing to check or to wait for."""
        room = submission.room
        queue = self._queues.get(room)
        if queue is not None:
            queue.append((submission, answer))
        elif target_seq(submission.draft) is None and self._consumers.get(room) is not None:
            self._publisher.send(submission, answer)
        else:
            self._queues[room] = deque([(submission, answer)])
            task = asyncio.get_running_loop().create_task(self._process_queue(room))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for queue in self._queues.values():
            for _, answer in queue:
                answer(STOPPING)

    async def _process_queue(self, room: str) -> None:
        queue = self._queues[room]
        with contextlib.suppress(StorageError):
            await self._consumers.open(room)  # without it, published messages would not come back
        while queue:
            submission, answer = queue[0]
            outcome = None
            if target_seq(submission.draft) is not None:
                try:
                    outcome = await self._check(submission)
                except (StorageError, *CONNECTION_ERRORS) as error:
                    outcome = Rejected("unavailable", f"{error}; try again", 503, RETRY_AFTER_SECONDS)
            queue.popleft()
            if outcome is None:
                self._publisher.send(submission, answer)
            else:
                answer(outcome)
        del self._queues[room]

    async def _check(self, submission: Submission) -> Outcome | None:
        """The outcome if it is certain: the draft is stored already, or is rejected. None: publish it."""
        room, principal, draft = submission.room, submission.principal, submission.draft
        target = target_seq(draft)
        assert target is not None
        entry = new_entry(submission, 0, 0)
        await self._consumers.open(room)
        for is_fresh in (False, True):
            if is_fresh:  # before a rejection: the replica may have been behind
                await self._consumers.refresh(room)
            if draft.cid:
                first = await self._replica.read(replica.find_stored, (room, principal, draft.cid))
                if first is not None:
                    return deduplicate(first, submission)
            message = await self._replica.read(replica.target, room, target)
            rejected = validate(submission, entry, message)
            if rejected is None and message is not None:
                rejected = reject_excess(decode_message(message.body), entry)
            if rejected is None:
                return None
        return rejected
