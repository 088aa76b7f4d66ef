"""Receiving: the verbs that take messages as they come: waits, streams, and polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from bqwidget import dispatch
from bqwidget._client.message_list import Messages
from bqwidget._client.subscription import MessageStream, Predicate, Subscription
from bqwidget.errors import WaitTimeout
from bqwidget.protocol import Hello, Message, ServerFrame, is_empty

from .arguments import check_predicate, check_timeout
from .callbacks.verbs import HandlerMixin


class _Unread(NamedTuple):
    """The messages since the last ``pending``, up to ``last_seq``. ``older``: those that the room no longer keeps."""

    kept: list[Message]
    last_seq: int | None
    older: Future[list[Message]] | None


class ReceiveMixin(HandlerMixin):
    """Waits, streams and ``pending`` work while a cell is busy."""

    def __init__(self) -> None:
        super().__init__()
        self._pending_seq: int | None = None

    # ---- waiting ----

    def next_message(
        self,
        predicate: Predicate | None = None,
        timeout: float | None = None,
        *,
        after: Message | int | None = None,
    ) -> Coroutine[Any, Any, Message]:
        """``wait_for`` for code that awaits. Messages between the call and the await count.

        Example: ``message = await room.next_message(timeout=60)``
        """
        return self._next_match(predicate, timeout, after, self._loop_guard.receive)

    def wait_for(
        self,
        predicate: Predicate | None = None,
        timeout: float | None = None,
        *,
        after: Message | int | None = None,
    ) -> Message:
        """Block until a message arrives for which ``predicate(message)`` is true (None: any), and return it.

        ``timeout``: seconds, None without limit. ``after``: a Message or a seq; the first match newer than that,
        instead of newer than the call. The callbacks of all rooms run meanwhile. Raises WaitTimeout, RoomClosed.
        Example: ``room.wait_for(lambda message: message.text == "go", timeout=60)``
        """
        return self._loop_guard.receive(dispatch.wait(self._next_match(predicate, timeout, after)))

    def stream(self, predicate: Predicate | None = None, *, after: Message | int | None = None) -> MessageStream:
        """An async iterator over all messages since the call, or since ``after`` (a Message or a seq), own ones too.

        ``predicate``: only messages for which it is true. Ends when this Room is closed; raises RoomClosed if the
        server closes it. Example::

            async for message in room.stream():
                print(message.user, message.text)
        """
        matches = check_predicate(predicate)
        return MessageStream(self, self._subscribe(after), matches, self._loop_guard.receive)

    def pending(self) -> Messages:
        """The messages of others since the last call; first, since the join; before the join, none.

        For polling in a long loop. Raises ConnectionRefused if messages must be fetched and can't be, RoomClosed.
        Example: ``stop = any(message.text == "stop" for message in room.pending())``
        """
        unread = self._unread()
        return self._mark_read(unread, unread.older.result() if unread.older else [])

    async def apending(self) -> Messages:
        """``pending`` for code that awaits. Example: ``new = await room.apending()``"""
        unread = self._unread()
        return self._mark_read(unread, await asyncio.wrap_future(unread.older) if unread.older else [])

    def _unread(self) -> _Unread:
        connection, session = self._connection, self._connection.session
        with connection.lock:
            after = session.joined_seq if self._pending_seq is None else self._pending_seq
            if after is None:
                return _Unread([], None, None)
            kept, last_seq, gapless_after = (
                session.messages.finished_after(after),
                session.last_seq,
                session.messages.gapless_after,
            )
        if after >= gapless_after:
            return _Unread(kept, last_seq, None)
        return _Unread(kept, last_seq, connection.request(lambda http: http.messages_between(after, gapless_after)))

    def _mark_read(self, unread: _Unread, older: list[Message]) -> Messages:
        self._pending_seq = unread.last_seq
        new = (*(message for message in older if not message.live), *unread.kept)
        return Messages(message for message in new if not self._is_own(message) and not is_empty(message))

    def _next_match(
        self,
        predicate: Predicate | None,
        timeout: float | None,
        after: Message | int | None,
        received: Callable[[Message], Message] = lambda message: message,
    ) -> Coroutine[Any, Any, Message]:
        """``next_message`` that returns what ``received`` makes of the match, where it is awaited."""
        matches, timeout = check_predicate(predicate), check_timeout(timeout)
        return self._first_match(self._subscribe(after), matches, timeout, received)

    async def _first_match(
        self,
        subscription: Subscription | Callable[[], Awaitable[Subscription]],
        matches: Predicate,
        timeout: float | None,  # noqa: ASYNC109 - raises WaitTimeout
        received: Callable[[Message], Message],
    ) -> Message:
        try:
            async with asyncio.timeout(timeout) as limit:
                if not isinstance(subscription, Subscription):
                    subscription = await subscription()
                while not matches(message := await subscription.next()):
                    pass
                return received(message)
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(f"no matching message within {timeout:g} s", timeout=timeout or 0) from None

    def _subscribe(self, after: Message | int | None) -> Subscription | Callable[[], Awaitable[Subscription]]:
        """Subscribes with this call; with ``after``, at the first await, which finds earlier messages too."""
        if after is None:
            return self._connection.subscribe()
        seq = self._seq_of(after, "after", least=0)
        kept = self._connection.find(seq)  # what is new after an own one may answer its begin
        return partial(self._connection.subscribe_after, seq, heard=kept is None or not self._is_own(kept))

    def _on_frames(self, accepted: Sequence[ServerFrame]) -> None:
        super()._on_frames(accepted)
        if any(isinstance(frame, Hello) for frame in accepted):  # the list was reloaded: what it contains is not new
            self._pending_seq = None
