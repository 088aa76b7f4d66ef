"""Handlers of a room's messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import TypeVar
from weakref import finalize

from bqwidget._client.subscription import Predicate
from bqwidget._threads.callback import Callback
from bqwidget.dispatch import CallbackLoop, ThreadCallbackLoop
from bqwidget.protocol import Message

from .registrations import Registration, Registrations


class HandlerRegistration(Registration):
    """One registration. ``since``: it gets messages above this seq, however late it is called.

    ``latest()``: the seq of the newest message. An interrupt ends the call, and those for all messages until then.
    """

    def __init__(
        self,
        callback: Callback,
        loop: CallbackLoop,
        *,
        since: int,
        where: Predicate | None,
        background: bool,
        own: bool,
        live: bool,
        latest: Callable[[], int],
    ) -> None:
        super().__init__(callback)
        self._latest = latest
        self.loop = loop
        self.since = since
        self.where = where
        self.background = background
        self.own = own
        self.live = live
        if background:
            name = getattr(callback.function, "__name__", "handler")
            self.loop = thread = ThreadCallbackLoop(f"bqwidget-{name}")
            finalize(self, thread.stop)

    def handle(self, message: Message, seq: int, *, own: bool) -> None:
        """``seq``: of the message, or of the end of one that was live."""
        if seq <= self.since or (own and not self.own):
            return
        self.since = seq
        if self.where is None or self.callback.check(self.where, message):
            self.callback(message)
        if self.callback.interrupted:
            self.since = max(self.since, self._latest())

    def grow(self, message: Message, *, own: bool) -> None:
        """A live message has grown. While the handler awaits, later growth is not reported one by one."""
        if not self.live or (own and not self.own) or self.callback.is_running:
            return
        if self.where is None or self.callback.check(self.where, message):
            self.callback(message)

    def stop(self) -> int:
        """End its thread. Its successor also gets the messages that it has not been called with."""
        if self.background and isinstance(self.loop, ThreadCallbackLoop):
            self.loop.stop()
        return self.since


Handler = TypeVar("Handler", bound=HandlerRegistration)


class HandlerRegistry(Registrations[Handler]):
    """Handlers that ``verb`` registers. ``is_own(message)``: whether the room's own verbs sent it."""

    def __init__(
        self, is_own: Callable[[Message], bool], on_change: Callable[[], object], verb: str = "on_message"
    ) -> None:
        super().__init__(verb, on_change)
        self._is_own = is_own
        self._grown: dict[CallbackLoop, dict[int, Message]] = {}
        self._grown_lock = Lock()

    def add(self, new: Handler) -> None:
        since = super().add(new)
        if isinstance(since, int):
            new.since = min(since, new.since)

    def reset(self) -> None:
        """The list was reloaded; its seqs may be lower than before."""
        for handler in self:
            handler.since = 0

    def post(self, messages: list[tuple[int, Message]]) -> None:
        """Call the handlers, each in its loop, with ``messages``, each with the seq that makes it new."""
        if messages:
            for loop in {handler.loop for handler in self}:
                loop.post(self._handle, messages, loop)

    def _handle(self, messages: Iterable[tuple[int, Message]], loop: CallbackLoop) -> None:
        for seq, message in messages:
            own = self._is_own(message)
            for handler in self:
                if handler.loop is loop:
                    handler.handle(message, seq, own=own)

    @property
    def has_live(self) -> bool:
        return any(handler.live for handler in self)

    def grow(self, messages: Iterable[Message]) -> None:
        """Live messages have grown: call the handlers with ``live``, once for all growth until their loop is free."""
        for loop in {handler.loop for handler in self if handler.live}:
            with self._grown_lock:
                first = loop not in self._grown
                self._grown.setdefault(loop, {}).update((message.seq, message) for message in messages)
            if first:
                loop.post(self._handle_grown, loop)

    def _handle_grown(self, loop: CallbackLoop) -> None:
        with self._grown_lock:
            grown = self._grown.pop(loop, {})
        for message in grown.values():
            own = self._is_own(message)
            for handler in self:
                if handler.loop is loop:
                    handler.grow(message, own=own)
