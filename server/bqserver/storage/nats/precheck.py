"""The entrance to the stream: what is sure to be refused is refused here, and takes no place in it.

A change or an answer is held against the view first; what comes behind it in its room waits meanwhile, so that
the order in which a member publisher is kept. Whatever passes is decided by the stream's order all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from bqserver.errors import StorageError
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.model import Outcome, Rejected, Submission
from bqserver.storage.sequencer import deduplicate, make_entry, target_seq, validate

from .consumers import Consumers
from .publisher import RETRY_AFTER_SECONDS, STOPPING, Publisher
from .replica import Replica

Answer = Callable[[Outcome], None]


class Prechecker:
    def __init__(self, consumers: Consumers, replica: Replica, publisher: Publisher) -> None:
        self._consumers = consumers
        self._replica = replica
        self._publisher = publisher
        self._queues: dict[str, deque[tuple[Submission, Answer]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, submission: Submission, answer: Answer) -> None:
        """Publish it, at once where nothing stands in the way."""
        room = submission.room
        queue = self._queues.get(room)
        if queue is not None:
            queue.append((submission, answer))
        elif target_seq(submission.draft) is None and self._consumers.get(room) is not None:
            self._publisher.send(submission, answer)
        else:
            self._queues[room] = deque([(submission, answer)])
            task = asyncio.get_running_loop().create_task(self._work(room))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for queue in self._queues.values():
            for _, answer in queue:
                answer(STOPPING)

    async def _work(self, room: str) -> None:
        queue = self._queues[room]
        with contextlib.suppress(StorageError):
            await self._consumers.open(room)  # else what is published is not heard when it comes back
        while queue:
            submission, answer = queue[0]
            outcome = None
            if target_seq(submission.draft) is not None:
                try:
                    outcome = await self._precheck(submission)
                except (StorageError, *CONNECTION_ERRORS) as error:
                    outcome = Rejected("unavailable", f"{error}; try again", 503, RETRY_AFTER_SECONDS)
            queue.popleft()
            if outcome is None:
                self._publisher.send(submission, answer)
            else:
                answer(outcome)
        del self._queues[room]

    async def _precheck(self, submission: Submission) -> Outcome | None:
        """What becomes of it, where that is sure already: it is there, or it is refused. None: publish it."""
        room, principal, draft, verified, _ = submission
        about = target_seq(draft)
        assert about is not None
        entry = make_entry(draft, room, 0, 0, verified=verified)
        await self._consumers.open(room)
        for fresh in (False, True):
            if fresh:  # a view may be behind: nothing is refused for that
                await self._consumers.refresh(room)
            if draft.cid and (first := await self._replica.known((room, principal, draft.cid))):
                return deduplicate(first, submission)
            refused = validate(submission, entry, await self._replica.target(room, about))
            if refused is None:
                return None
        return refused
