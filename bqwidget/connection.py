"""Connection: what other threads call on the rooms' thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from bqwidget._client.http_client import Attachment, HttpClient
from bqwidget._client.live.drafts import LiveDraft
from bqwidget._client.outbox import Delivery
from bqwidget._client.session_task import SessionTask, now_ms
from bqwidget._client.subscription import Subscription

from .errors import ConnectionRefused, RoomClosed
from .protocol import Draft, Ending, Message, SetStep, plain

Result = TypeVar("Result")


class Connection(SessionTask):
    """The futures that its methods return are completed on the rooms' thread."""

    def request(
        self, request: Callable[[HttpClient], Coroutine[Any, Any, Result]], timeout: float | None = None
    ) -> Future[Result]:
        """The result of ``request``, which runs on this thread once the room is open.

        Raises ConnectionRefused if it is not open within ``timeout`` seconds.
        """
        self.check_process()
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()

        async def run() -> Result:
            await self._wait_until_open(timeout)
            return await self.requests.run(request)

        def start() -> None:
            self.requests.start(run).add_done_callback(finish)

        def finish(task: asyncio.Task[Result]) -> None:
            if task.cancelled():
                future.set_exception(self.close_error or RoomClosed(f"{self.session.room} is closed"))
            elif (error := task.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

        with self.lock:
            if self.close_error is not None:
                future.set_exception(self.close_error)
            else:
                self.call_soon(start)
        return future

    async def _wait_until_open(self, timeout: float | None) -> None:  # noqa: ASYNC109 - raises ConnectionRefused
        try:
            async with asyncio.timeout(timeout):
                await self.requests.room_is_open.wait()
        except TimeoutError:
            room, reason = self.session.room, self.error or "no answer"
            raise ConnectionRefused(f"room {room} is {self.session.state}: {reason}", url="") from None

    def submit(self, draft: Draft, attachments: Sequence[Attachment] = ()) -> Future[Delivery]:
        """Queue ``draft`` until it is acknowledged, refused (MessageRefused) or the room is closed (RoomClosed).

        Its attachments are uploaded first. Drafts that are submitted meanwhile do not wait for that.
        """
        self.check_process()
        draft = plain(draft)
        with self.lock:
            if draft.cid in self._futures:
                return self._futures[draft.cid]
            future: Future[Delivery] = Future()
            future.set_running_or_notify_cancel()  # a waiter may stop waiting, but not cancel the draft
            if self.close_error is not None:
                future.set_exception(self.close_error)
                return future
            self._futures[draft.cid] = future
            if attachments:
                self.call_soon(self.requests.start, partial(self._put_after, draft, attachments))
            else:
                self.call_soon(self._put, draft)
        return future

    def submit_live(self, draft: LiveDraft) -> tuple[Future[Delivery], Future[Delivery]]:
        """Queue the message that ``draft`` writes. Returns the futures of its first entry, and of its end."""
        end: Future[Delivery] = Future()
        end.set_running_or_notify_cancel()
        with self.lock:
            if self.close_error is not None:
                end.set_exception(self.close_error)
            else:
                self._futures[draft.end_cid] = end
                self.call_soon(self.session.live_drafts.add, draft)
            return self.submit(draft.send), end

    def submit_step(self, draft: LiveDraft, step: SetStep) -> None:
        """Add ``step`` to the live message, or change it, after the text that was added before."""
        self.call_soon(draft.set_step, step)
        self.advance(draft)

    def end_live(self, draft: LiveDraft, ending: Ending) -> None:
        """End the live message after all of its text. The first call counts."""
        self.call_soon(draft.end, ending)
        self.call_soon(self._advance, [])

    def advance(self, draft: LiveDraft) -> None:
        """Send what has been added to ``draft``; many calls are one."""
        if not draft.is_woken:
            draft.is_woken = True
            self.call_soon(self._send_live, draft)

    def _send_live(self, draft: LiveDraft) -> None:
        draft.is_woken = False
        self._advance([])

    def has_joined_or_closed(self) -> bool:
        """Whether there is nothing to wait for: the room is open, or closed permanently."""
        return self.session.state in ("open", "closed")

    def find(self, seq: int) -> Message | None:
        """The message with this seq as it reads now, if the list has it."""
        with self.lock:
            return self.session.messages.find(seq)

    def subscribe(self) -> Subscription:
        """A subscription to every message that is accepted from now on."""
        self.check_process()
        with self.lock:
            return self._new_subscription([])

    async def subscribe_after(self, seq: int, *, heard: bool) -> Subscription:
        """A subscription to every message above ``seq``, earlier ones included. Runs on any event loop.

        ``heard``: if ``seq`` was a live message, what is new begins with its end, else with its begin.
        """
        self.check_process()
        if self.session.joined_seq is None:
            await asyncio.wrap_future(self.request(_nothing))
        with self.lock:
            messages = self.session.messages
            gapless_after = messages.gapless_after
            begin, seq = seq, messages.end_of(seq) if heard else seq
            newer = [message for message in messages.finished_after(seq) if message.seq != begin]
            subscription = self._new_subscription(newer)
        if seq < gapless_after:
            request = self.request(lambda http: http.messages_between(seq, gapless_after))
            earlier = await asyncio.wrap_future(request)
            subscription.prepend(earlier)
        return subscription

    def _new_subscription(self, messages: Iterable[Message]) -> Subscription:
        subscription = Subscription(messages)
        if self.close_error is not None:
            subscription.close(self.close_error)
        self._subscriptions.add(subscription)
        return subscription

    def wait_until(self, condition: Callable[[], object], timeout: float | None) -> bool:
        """Wait until ``condition()`` is true; it is called after every step. False after ``timeout`` seconds."""
        self.check_process()
        with self.lock:
            return bool(self.lock.wait_for(condition, timeout))

    def server_time_ms(self) -> int:
        """The server's time, by which questions end, in milliseconds since the epoch."""
        return self.session.server_time_ms(self._loop.time(), now_ms())


async def _nothing(_: HttpClient) -> None:
    """A request that only waits until the room is open."""
