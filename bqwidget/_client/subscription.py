"""Subscriptions and streams: messages from the rooms' thread to a reader on any thread and event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from threading import Lock

from bqwidget.errors import RoomClosed
from bqwidget.protocol import Message, is_empty

Predicate = Callable[[Message], object]


class Subscription:
    """A queue of messages for one reader, without deleted ones and those that are still being written. The connection refers to it weakly."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages = deque(_kept(messages))
        self._close_error: BaseException | None = None
        self._lock = Lock()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def put(self, messages: Iterable[Message]) -> None:
        with self._lock:
            self._messages.extend(_kept(messages))
            self._wake()

    def prepend(self, messages: Sequence[Message]) -> None:
        """Add ``messages`` before those in the queue."""
        with self._lock:
            self._messages.extendleft(reversed(_kept(messages)))

    def close(self, error: BaseException) -> None:
        """Make ``next`` raise ``error`` after the queued messages."""
        with self._lock:
            self._close_error = error
            self._wake()

    async def next(self) -> Message:
        while True:
            with self._lock:
                if self._messages:
                    return self._messages.popleft()
                if self._close_error is not None:
                    raise self._close_error
                loop = asyncio.get_running_loop()
                future = loop.create_future()
                self._waiter = (loop, future)
            await future

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            loop, future = waiter
            try:
                loop.call_soon_threadsafe(_resolve, future)
            except RuntimeError:  # the reader's loop is closed, so nothing waits
                return


class MessageStream(AsyncIterator[Message]):
    """``async for message in room.stream()``: every message since the call, until the room is closed."""

    def __init__(
        self,
        room: object,
        subscription: Subscription | Callable[[], Awaitable[Subscription]],
        matches: Predicate,
        received: Callable[[Message], Message],
    ) -> None:
        self._room = room  # kept alive by its reader
        self._subscription = subscription
        self._matches = matches
        self._received = received

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> Message:
        while True:
            try:
                if not isinstance(self._subscription, Subscription):
                    self._subscription = await self._subscription()
                message = await self._subscription.next()
            except RoomClosed as error:
                if error.close_code is None and error.__cause__ is None:
                    raise StopAsyncIteration from None  # closed by room.close()
                raise
            if self._matches(message):
                return self._received(message)


def _kept(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if not is_empty(message) and not message.live]


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
