"""Handlers: who hears a room's messages; registering again by the same name replaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import finalize

from bqwidget._client.subscription import Predicate
from bqwidget._threads.callback import Callback
from bqwidget._threads.cells import Cell, current_cell
from bqwidget.dispatch import CallbackLoop, ThreadCallbackLoop
from bqwidget.protocol import Message


class Handler:
    """One registration. ``since``: it hears what is newer than itself, however late its turn comes."""

    def __init__(
        self,
        callback: Callback,
        loop: CallbackLoop,
        *,
        since: int,
        where: Predicate | None,
        background: bool,
        own: bool,
    ) -> None:
        self.callback = callback
        self.loop = loop
        self.since = since
        self.where = where
        self.background = background
        self.own = own
        if background:
            self.loop = thread = ThreadCallbackLoop(
                f"bqwidget-{getattr(callback.function, '__name__', 'handler')}"
            )
            finalize(self, thread.stop)

    def handle(self, message: Message, *, own: bool) -> None:
        if message.seq <= self.since or (own and not self.own):
            return
        self.since = message.seq
        if self.where is None or self.callback.check(self.where, message):
            self.callback(message)


class HandlerRegistry:
    """``is_own`` says whether a message was sent by the room's own verbs."""

    def __init__(self, is_own: Callable[[Message], bool]) -> None:
        self._is_own = is_own
        self._handlers: dict[object, Handler] = {}

    def __len__(self) -> int:
        return len(self._handlers)

    def add(
        self,
        callback: Callback,
        loop: CallbackLoop,
        *,
        since: int,
        where: Predicate | None = None,
        background: bool = False,
        own: bool = False,
    ) -> None:
        key, cell = registration_key(callback.function)
        if cell is not None:
            self._remove_previous_run(cell)
        replaced = self._handlers.pop(key, None)
        if replaced is not None:
            since = replaced.since  # what is on its way already is for the new one
            _stop(replaced)
        self._handlers[key] = Handler(
            callback, loop, since=since, where=where, background=background, own=own
        )

    def remove(self, function: Callable[..., object]) -> bool:
        """Forget the handler that is ``function``, or has its name."""
        for key, handler in list(self._handlers.items()):
            if handler.callback.function == function or key == registration_key(function)[0]:
                _stop(self._handlers.pop(key))
                return True
        return False

    def clear(self) -> None:
        for key in list(self._handlers):
            _stop(self._handlers.pop(key))

    def reset(self) -> None:
        """The log has begun anew, with lower numbers perhaps."""
        for handler in list(self._handlers.values()):
            handler.since = 0

    def loops(self) -> set[CallbackLoop]:
        return {handler.loop for handler in list(self._handlers.values())}

    def handle(self, messages: Iterable[Message], loop: CallbackLoop) -> None:
        """Give ``messages`` to the handlers that live in ``home``, where this is called."""
        for message in messages:
            own = self._is_own(message)
            for handler in list(self._handlers.values()):
                if handler.loop is loop:
                    handler.handle(message, own=own)

    def _remove_previous_run(self, cell: Cell) -> None:
        """Functions without a name are those of their cell: a new run of it replaces all of the last."""
        for key in list(self._handlers):
            if is_from_previous_run(key, cell):
                _stop(self._handlers.pop(key))


class _LambdaKey:
    """The key of a lambda: itself, and the cell that it came from."""

    def __init__(self, function: Callable[..., object], cell: Cell) -> None:
        self.function = function
        self.cell = cell

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _LambdaKey) and other.function is self.function

    def __hash__(self) -> int:
        return id(self.function)


def is_from_previous_run(key: object, cell: Cell) -> bool:
    """Whether it is the key of a function without a name that an earlier run of ``cell`` registered."""
    return isinstance(key, _LambdaKey) and key.cell.id == cell.id and key.cell.run != cell.run


def registration_key(function: Callable[..., Any]) -> tuple[object, Cell | None]:
    """What registering again replaces, by; and the cell, for a function without a name."""
    name = getattr(function, "__qualname__", None)
    if name is None:
        return id(function), None
    if name.endswith("<lambda>"):
        cell = current_cell()
        if cell is None:
            return id(function), None
        cell = cell if cell.id else Cell(function.__code__.co_filename, cell.run)
        return _LambdaKey(function, cell), cell
    owner = getattr(function, "__self__", None)
    return (function.__module__, name, None if owner is None else id(owner)), None


def _stop(handler: Handler) -> None:
    if handler.background and isinstance(handler.loop, ThreadCallbackLoop):
        handler.loop.stop()
