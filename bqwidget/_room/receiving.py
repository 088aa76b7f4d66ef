"""Receiving: the verbs that react to messages: handlers, waits, streams, and polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar, overload
from weakref import WeakMethod

from bqwidget import dispatch
from bqwidget._client.message_list import Messages
from bqwidget._client.subscription import MessageStream, Predicate, Subscription
from bqwidget.errors import ArgumentTypeError, WaitTimeout
from bqwidget.protocol import Hello, Message, MessageFrame, ServerFrame, is_empty

from .arguments import check_flag, check_function, check_timeout, describe, seq_of
from .callbacks.handlers import HandlerRegistration, HandlerRegistry
from .callbacks.membership import earlier_rooms
from .callbacks.registrations import Registration, Registrations, print_note
from .sending import SendMixin

MessageHandler = TypeVar("MessageHandler", bound=Callable[[Message], object])
ReconnectHandler = TypeVar("ReconnectHandler", bound=Callable[[], object])


class _Unread(NamedTuple):
    """The messages since the last ``pending``, up to ``last_seq``. ``older``: those that the room no longer keeps."""

    kept: list[Message]
    last_seq: int | None
    older: Future[list[Message]] | None


class ReceiveMixin(SendMixin):
    """Handlers run under the thread rule; waits, streams and ``pending`` work while a cell is busy."""

    def __init__(self) -> None:
        super().__init__()
        is_own = WeakMethod(self._is_own)
        update_lifetime = WeakMethod(self._update_lifetime)

        def on_change() -> None:
            if (method := update_lifetime()) is not None:
                method()

        self._handlers = HandlerRegistry(
            lambda message: (method := is_own()) is not None and method(message), on_change
        )
        self._reconnect_handlers: Registrations[Registration] = Registrations("on_reconnect", on_change)
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
        """Call ``function(message)`` for each new message; a decorator.

        ``where``: only messages for which ``where(message)`` is true. ``own``: also messages that this Room's verbs
        sent, or those of another Room of this kernel with its name and user. ``background``: call it at once on a thread of its own, even while a cell is busy; else it runs under
        the thread rule. A new run of a cell replaces all that the cell registered, and a function that of the same
        name in another cell. The function may be async. Returns ``function``; raises TypeError if it is not callable.
        Example::

            @room.on_message
            def reply(message):
                room.reply(message, "thanks")
        """
        if where is not None:
            _checked_predicate(where, "where")
        background, own = check_flag("background", background), check_flag("own", own)
        if function is None:
            return partial(self._register_handler, where=where, background=background, own=own)
        return self._register_handler(function, where=where, background=background, own=own)

    def _register_handler(
        self, function: Callable[[Message], object], *, where: Predicate | None, background: bool, own: bool
    ) -> Callable[[Message], object]:
        check_function("function", function, "a function", "on_message")
        callback, loop = self._make_callback(function), self._callback_loop
        session = self._connection.session
        with self._connection.lock:
            since = session.last_seq
        self._handlers.add(
            HandlerRegistration(
                callback,
                loop,
                since=since,
                where=where,
                background=background,
                own=own,
                latest=lambda: session.last_seq,
            )
        )
        self._take_over()
        return function

    def off_message(self, function: Callable[..., object]) -> bool:
        """Remove the handler ``function``, or the one of its name; False if there is none.

        Example: ``room.off_message(reply)``
        """
        check_function("function", function, "the function of a handler", "off_message")
        return self._handlers.remove(function)

    def on_reconnect(self, function: ReconnectHandler) -> ReconnectHandler:
        """Call ``function()`` whenever the room is open again after a lost connection; a decorator.

        Replaced as by ``on_message``. Returns ``function``. Example: ``room.on_reconnect(lambda: print("connected again"))``
        """
        check_function("function", function, "a function", "on_reconnect")
        self._reconnect_handlers.add(Registration(self._make_callback(function)))
        self._take_over()
        return function

    def _take_over(self) -> None:
        """Remove the handlers of this member's earlier Rooms: a member answers once."""
        for earlier in earlier_rooms(self):
            if earlier._stop_handlers():  # noqa: SLF001
                print_note(
                    f"this {self!r} answers now; the handlers of the earlier one in this kernel were removed."
                    " To have both, use that Room, or pass separate=True"
                )

    def _stop_handlers(self) -> bool:
        """Remove all handlers; False if there are none."""
        found = bool(len(self._handlers) or len(self._reconnect_handlers))
        self._handlers.clear()
        self._reconnect_handlers.clear()
        return found

    def _has_callbacks(self) -> bool:
        return bool(len(self._handlers) or len(self._reconnect_handlers)) or super()._has_callbacks()

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
        matches, timeout = _checked_predicate(predicate), check_timeout(timeout)
        return self._first_match(self._subscribe(after), matches, timeout)

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
        return dispatch.wait(self.next_message(predicate, timeout, after=after))

    def stream(self, predicate: Predicate | None = None, *, after: Message | int | None = None) -> MessageStream:
        """An async iterator over all messages since the call, or since ``after`` (a Message or a seq), own ones too.

        ``predicate``: only messages for which it is true. Ends when this Room is closed; raises RoomClosed if the
        server closes it. Example::

            async for message in room.stream():
                print(message.user, message.text)
        """
        matches = _checked_predicate(predicate)
        return MessageStream(self, self._subscribe(after), matches)

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
                session.messages.after(after),
                session.last_seq,
                session.messages.gapless_after,
            )
        if after >= gapless_after:
            return _Unread(kept, last_seq, None)
        return _Unread(kept, last_seq, connection.request(lambda http: http.messages_between(after, gapless_after)))

    def _mark_read(self, unread: _Unread, older: list[Message]) -> Messages:
        self._pending_seq = unread.last_seq
        new = (*older, *unread.kept)
        return Messages(message for message in new if not self._is_own(message) and not is_empty(message))

    async def _first_match(
        self,
        subscription: Subscription | Callable[[], Awaitable[Subscription]],
        matches: Predicate,
        timeout: float | None,  # noqa: ASYNC109 - raises WaitTimeout
    ) -> Message:
        try:
            async with asyncio.timeout(timeout) as limit:
                if not isinstance(subscription, Subscription):
                    subscription = await subscription()
                while not matches(message := await subscription.next()):
                    pass
                return message
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(f"no matching message within {timeout:g} s", timeout=timeout or 0) from None

    def _subscribe(self, after: Message | int | None) -> Subscription | Callable[[], Awaitable[Subscription]]:
        """Subscribes with this call; with ``after``, at the first await, which finds earlier messages too."""
        if after is None:
            return self._connection.subscribe()
        return partial(self._connection.subscribe_after, seq_of(after, "after", least=0))

    # ---- on the room's thread ----

    def _on_frames(self, accepted: Sequence[ServerFrame]) -> None:
        """Post new messages to the loops of the handlers."""
        messages: list[Message] = []
        for frame in accepted:
            if isinstance(frame, MessageFrame) and not is_empty(frame.entry):
                messages.append(frame.entry)
            elif isinstance(frame, Hello):  # the list was reloaded: what it contains is not new
                messages.clear()
                self._handlers.reset()
                self._pending_seq = None
        if messages:
            for loop in self._handlers.loops():
                loop.post(self._handlers.handle, messages, loop)

    def _on_reconnected(self) -> None:
        for handler in self._reconnect_handlers:
            self._callback_loop.post(handler.callback)


def _checked_predicate(predicate: Predicate | None, argument: str = "predicate") -> Predicate:
    if predicate is not None and not callable(predicate):
        hint = "a time limit is timeout=" if isinstance(predicate, int | float) else "such as lambda message: ..."
        raise ArgumentTypeError(
            f"{argument} must be a function of a message, not {describe(predicate)}: {hint}", argument=argument
        )
    return predicate or _anything


def _anything(_: Message) -> bool:
    return True
