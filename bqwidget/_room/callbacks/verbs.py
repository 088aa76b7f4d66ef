"""The verbs that register handlers: for messages, and for a connection that is restored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, overload
from weakref import ref

from bqwidget._client.subscription import Predicate
from bqwidget._room.arguments import check_flag, check_function, check_predicate
from bqwidget._room.writing.replies import Replies
from bqwidget._room.writing.verbs import WriteMixin
from bqwidget._threads.weak import weak
from bqwidget.protocol import Hello, Message, ServerFrame, is_empty

from .handlers import HandlerRegistration, HandlerRegistry
from .membership import earlier_rooms
from .registrations import Registration, Registrations, print_note

MessageHandler = TypeVar("MessageHandler", bound=Callable[[Message], object])
ReconnectHandler = TypeVar("ReconnectHandler", bound=Callable[[], object])


class HandlerMixin(WriteMixin):
    """Handlers run under the thread rule. What they return or yield is a reply."""

    def __init__(self) -> None:
        super().__init__()
        on_change = weak(self._update_lifetime)
        self._handlers: HandlerRegistry[HandlerRegistration] = HandlerRegistry(weak(self._is_own), on_change)
        self._reconnect_handlers: Registrations[Registration] = Registrations("on_reconnect", on_change)

    @overload
    def on_message(
        self,
        function: MessageHandler,
        *,
        where: Predicate | None = None,
        background: bool = False,
        own: bool = False,
        live: bool = False,
    ) -> MessageHandler: ...
    @overload
    def on_message(
        self, *, where: Predicate | None = None, background: bool = False, own: bool = False, live: bool = False
    ) -> Callable[[MessageHandler], MessageHandler]: ...

    def on_message(
        self,
        function: Callable[[Message], object] | None = None,
        *,
        where: Predicate | None = None,
        background: bool = False,
        own: bool = False,
        live: bool = False,
    ) -> Any:
        """Call ``function(message)`` for each new message; a decorator. What it returns or yields is its reply.

        ``where``: only messages for which ``where(message)`` is true. ``own``: also messages that this Room's verbs
        sent, or those of another Room of this kernel with its name and user. ``background``: call it at once on a
        thread of its own, even while a cell is busy; else it runs under the thread rule. ``live``: call it also while
        a message is being written, whenever it has grown; without, once, when it has ended. A new run of a cell
        replaces all that the cell registered, and a function that of the same name in another cell.

        The function may be async, or a generator, sync or async: others see its reply grow with each text that it
        yields. If someone stops the reply, the generator is closed; if it raises, the reply ends as failed. What
        ``room.send`` takes can be returned. Returns ``function``; raises TypeError if it is not callable. Example::

            @room.on_message
            def answer(message):
                for word in message.text.split():
                    yield word.upper() + " "
        """
        if where is not None:
            check_predicate(where, "where")
        given = {"background": background, "own": own, "live": live}
        flags = {name: check_flag(name, flag) for name, flag in given.items()}
        register = partial(self._register_handler, where=where, flags=flags)
        return register if function is None else register(function)

    def _register_handler(
        self,
        function: Callable[[Message], object],
        *,
        where: Predicate | None,
        flags: dict[str, bool],
        verb: str = "on_message",
    ) -> Callable[[Message], object]:
        check_function("function", function, "a function", verb, "message")
        callback = self._make_callback(function, on_result=Replies(ref(self), function))
        session = self._connection.session
        with self._connection.lock:
            since = session.last_seq
        self._handlers.add(
            HandlerRegistration(
                callback, self._callback_loop, since=since, where=where, **flags, latest=lambda: session.last_seq
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
        check_function("function", function, "a function", "on_reconnect", takes="")
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

    # ---- on the rooms' thread ----

    def _on_frames(self, accepted: Sequence[ServerFrame]) -> None:
        """Post new messages to the loops of the handlers, and live ones to those that take them while they grow."""
        hello = next((at for at, frame in enumerate(accepted) if isinstance(frame, Hello)), None)
        if hello is not None:  # the list was reloaded: what it contains is not new
            self._reset_handlers()
            accepted = accepted[hello + 1 :]
        messages = self._connection.session.messages
        self._on_messages(messages.completed(accepted))
        if self._handlers.has_live:
            self._handlers.grow([message for message in messages.grown(accepted) if not is_empty(message)])

    def _reset_handlers(self) -> None:
        self._handlers.reset()

    def _on_messages(self, messages: Sequence[tuple[int, Message]]) -> None:
        """``messages``: as of ``MessageList.completed``."""
        self._handlers.post([(seq, message) for seq, message in messages if not is_empty(message)])

    def _on_reconnected(self) -> None:
        for handler in self._reconnect_handlers:
            self._callback_loop.post(handler.callback)
