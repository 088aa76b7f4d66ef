"""Hearing: the verbs that react to a room: handlers, waits, streams, and polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar, overload
from weakref import WeakMethod

from bqwidget import dispatch
from bqwidget._client.subscription import MessageStream, Predicate, Subscription
from bqwidget._threads.callback import Callback
from bqwidget.errors import WaitTimeout
from bqwidget.protocol import Hello, Message, MessageFrame, ServerFrame

from .handlers import HandlerRegistry
from .sending import SendMixin

MessageHandler = TypeVar("MessageHandler", bound=Callable[[Message], object])
ReconnectHandler = TypeVar("ReconnectHandler", bound=Callable[[], object])


class ReceiveMixin(SendMixin):
    """Handlers run under the thread rule; waits, streams and ``pending`` are live while a cell is busy."""

    def __init__(self) -> None:
        super().__init__()
        is_own = WeakMethod(self._is_own)
        self._handlers = HandlerRegistry(lambda message: (method := is_own()) is not None and method(message))
        self._reconnect_callbacks: dict[object, Callback] = {}
        self._pending_seq: int | None = None

    # ---- handlers ----

    @overload
    def on_message(self, function: MessageHandler) -> MessageHandler: ...
    @overload
    def on_message(
        self, *, where: Predicate | None = None, background: bool = False, own: bool = False
    ) -> Callable[[MessageHandler], MessageHandler]: ...

    def on_message(
        self,
        function: Callable[[Message], object] | None = None,
        *,
        where: Predicate | None = None,
        background: bool = False,
        own: bool = False,
    ) -> Any:
        """Call ``function(message)`` for each new message for which ``where(message)`` is true; a decorator.

        A function of the same name replaces the earlier one, so a cell may be run again. ``own``: hear also
        what this room's verbs sent. ``background``: on a thread of its own, at once, even while a cell is busy.
        """
        if function is None:
            return partial(self._register_handler, where=where, background=background, own=own)
        return self._register_handler(function, where=where, background=background, own=own)

    def _register_handler(
        self, function: Callable[[Message], object], *, where: Predicate | None, background: bool, own: bool
    ) -> Callable[[Message], object]:
        if not callable(function):
            raise TypeError(f"on_message takes a function, not {type(function).__name__}")
        if where is not None:
            _checked_predicate(where)
        callback = self._make_callback(function)
        with self._connection.lock:
            since = self._connection.session.last_seq
        self._handlers.add(
            callback, self._callback_loop, since=since, where=where, background=background, own=own
        )
        return function

    def off_message(self, function: Callable[..., object]) -> bool:
        """Forget a handler, by itself or by its name; False where there is none."""
        return self._handlers.remove(function)

    def on_reconnect(self, function: ReconnectHandler) -> ReconnectHandler:
        """Call ``function()`` whenever the room is open again after a loss; a decorator."""
        key = (function.__module__, getattr(function, "__qualname__", id(function)))
        self._reconnect_callbacks[key] = self._make_callback(function)
        return function

    # ---- waiting ----

    def next_message(
        self,
        predicate: Predicate | None = None,
        timeout: float | None = None,
        *,
        after: Message | int | None = None,
    ) -> Coroutine[Any, Any, Message]:
        """``wait_for`` for a cell or handler that awaits: what is said between the call and the await counts."""
        return self._first_match(self._subscribe(after), _checked_predicate(predicate), timeout)

    def wait_for(
        self,
        predicate: Predicate | None = None,
        timeout: float | None = None,
        *,
        after: Message | int | None = None,
    ) -> Message:
        """The first message for which ``predicate(message)`` is true: newer than the call, or than ``after``.

        Raises WaitTimeout after ``timeout`` seconds, RoomClosed when the room ends. The callbacks of all rooms
        run meanwhile.
        """
        return dispatch.wait(self.next_message(predicate, timeout, after=after))

    def stream(
        self, predicate: Predicate | None = None, *, after: Message | int | None = None
    ) -> MessageStream:
        """``async for message in room.stream()``: everything since the call, own messages too; ends with the room."""
        return MessageStream(self, self._subscribe(after), _checked_predicate(predicate))

    def pending(self) -> list[Message]:
        """What others said since the last call (at first: since joining). Before the room is joined: nothing."""
        connection, session = self._connection, self._connection.session
        with connection.lock:
            after = session.joined_seq if self._pending_seq is None else self._pending_seq
            if after is None:
                return []
            messages, last, floor = (
                session.messages.after(after),
                session.last_seq,
                session.messages.gapless_after,
            )
        if after < floor:  # more was said than the room keeps
            messages = [
                *connection.request(lambda rest: rest.messages_between(after, floor)).result(),
                *messages,
            ]
        self._pending_seq = last
        return [message for message in messages if not self._is_own(message)]

    async def _first_match(
        self,
        feed: Subscription | Callable[[], Awaitable[Subscription]],
        matches: Predicate,
        timeout: float | None,  # noqa: ASYNC109 - it becomes a WaitTimeout
    ) -> Message:
        try:
            async with asyncio.timeout(timeout) as limit:
                if not isinstance(feed, Subscription):
                    feed = await feed()
                while not matches(message := await feed.next()):
                    pass
                return message
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(
                f"nothing that was waited for came within {timeout:g} s", timeout=timeout or 0
            ) from None

    def _subscribe(self, after: Message | int | None) -> Subscription | Callable[[], Awaitable[Subscription]]:
        """Begun with this call; with ``after`` there is time, for what was said meanwhile is found later too."""
        if after is None:
            return self._connection.subscribe()
        return partial(self._connection.subscribe_after, _seq(after))

    # ---- on the room's thread ----

    def _on_frames(self, accepted: Sequence[ServerFrame]) -> None:
        """Hand new messages to the handlers, each in its home."""
        messages: list[Message] = []
        for frame in accepted:
            if isinstance(frame, MessageFrame):
                messages.append(frame.entry)
            elif isinstance(frame, Hello):  # the log begins anew: what is in it now isn't news
                messages.clear()
                self._handlers.reset()
                self._pending_seq = None
        if messages:
            for home in self._handlers.loops():
                home.post(self._handlers.handle, messages, home)

    def _on_reconnected(self) -> None:
        for callback in list(self._reconnect_callbacks.values()):
            self._callback_loop.post(callback)


def _seq(message: Message | int) -> int:
    return message.seq if isinstance(message, Message) else message


def _checked_predicate(predicate: Predicate | None) -> Predicate:
    if predicate is not None and not callable(predicate):
        raise TypeError(
            f"expected a function that takes a message, not {predicate!r}: lambda message: message.text == ..."
        )
    return predicate or _anything


def _anything(_: Message) -> bool:
    return True
