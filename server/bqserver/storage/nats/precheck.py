"""The entrance to the stream: what is sure to be refused is refused here, and takes no place in it.

A change or an answer is held against the view first; what comes behind it in its room waits meanwhile, so that
the order in which a member sends is kept. Whatever passes is decided by the stream's order all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from bqserver.errors import StorageError
from bqserver.jetstream.connection import LOST
from bqserver.model import Outcome, Rejected, Submission
from bqserver.storage.sequencer import deduplicate, make_entry, target_seq, validate

from .consumers import Feeds
from .publisher import RETRY_AFTER, STOPPING, Sends
from .replica import View

Answer = Callable[[Outcome], None]


class Entrance:
    def __init__(self, feeds: Feeds, view: View, sends: Sends) -> None:
        self._feeds = feeds
        self._view = view
        self._sends = sends
        self._queues: dict[str, deque[tuple[Submission, Answer]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def enter(self, submission: Submission, answer: Answer) -> None:
        """Publish it, at once where nothing stands in the way."""
        room = submission.room
        queue = self._queues.get(room)
        if queue is not None:
            queue.append((submission, answer))
        elif target_seq(submission.draft) is None and self._feeds.now(room) is not None:
            self._sends.send(submission, answer)
        else:
            self._queues[room] = deque([(submission, answer)])
            task = asyncio.get_running_loop().create_task(self._look(room))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for queue in self._queues.values():
            for _, answer in queue:
                answer(STOPPING)

    async def _look(self, room: str) -> None:
        queue = self._queues[room]
        with contextlib.suppress(StorageError):
            await self._feeds.open(room)  # else what is published is not heard when it comes back
        while queue:
            submission, answer = queue[0]
            outcome = None
            if target_seq(submission.draft) is not None:
                try:
                    outcome = await self._foreseen(submission)
                except (StorageError, *LOST) as error:
                    outcome = Rejected("unavailable", f"{error}; try again", 503, RETRY_AFTER)
            queue.popleft()
            if outcome is None:
                self._sends.send(submission, answer)
            else:
                answer(outcome)
        del self._queues[room]

    async def _foreseen(self, submission: Submission) -> Outcome | None:
        """What becomes of it, where that is sure already: it is there, or it is refused. None: publish it."""
        room, principal, draft, verified, _ = submission
        about = target_seq(draft)
        assert about is not None
        entry = make_entry(draft, room, 0, 0, verified=verified)
        await self._feeds.open(room)
        for fresh in (False, True):
            if fresh:  # a view may be behind: nothing is refused for that
                await self._feeds.fresh(room)
            if draft.cid and (first := await self._view.known((room, principal, draft.cid))):
                return deduplicate(first, submission)
            refused = validate(submission, entry, await self._view.target(room, about))
            if refused is None:
                return None
        return refused
