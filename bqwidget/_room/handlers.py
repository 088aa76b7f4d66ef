"""Handlers of a room's messages. Registering a function of the same name again replaces the earlier one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import finalize

from bqwidget._client.subscription import Predicate
from bqwidget._threads.callback import Callback
from bqwidget._threads.cells import Cell, current_cell
from bqwidget.dispatch import CallbackLoop, ThreadCallbackLoop
from bqwidget.protocol import Message


class HandlerRegistration:
    """One registration. ``since``: it gets messages above this seq, however late it is called."""

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
            name = getattr(callback.function, "__name__", "handler")
            self.loop = thread = ThreadCallbackLoop(f"bqwidget-{name}")
            finalize(self, thread.stop)

    def handle(self, message: Message, *, own: bool) -> None:
        if message.seq <= self.since or (own and not self.own):
            return
        self.since = message.seq
        if self.where is None or self.callback.check(self.where, message):
            self.callback(message)


class HandlerRegistry:
    """``is_own(message)``: whether the room's own verbs sent it."""

    def __init__(self, is_own: Callable[[Message], bool]) -> None:
        self._is_own = is_own
        self._handlers: dict[object, HandlerRegistration] = {}

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
            since = replaced.since  # messages that are being delivered go to the new one
            _stop(replaced)
        self._handlers[key] = HandlerRegistration(
            callback, loop, since=since, where=where, background=background, own=own
        )

    def remove(self, function: Callable[..., object]) -> bool:
        """Remove the handler ``function``, or the one of its name."""
        for key, handler in list(self._handlers.items()):
            if handler.callback.function == function or key == registration_key(function)[0]:
                _stop(self._handlers.pop(key))
                return True
        return False

    def clear(self) -> None:
        for key in list(self._handlers):
            _stop(self._handlers.pop(key))

    def reset(self) -> None:
        """The list was reloaded; its seqs may be lower than before."""
        for handler in list(self._handlers.values()):
            handler.since = 0

    def loops(self) -> set[CallbackLoop]:
        return {handler.loop for handler in list(self._handlers.values())}

    def handle(self, messages: Iterable[Message], loop: CallbackLoop) -> None:
        """Call the handlers of ``loop``, in which this runs, with ``messages``."""
        for message in messages:
            own = self._is_own(message)
            for handler in list(self._handlers.values()):
                if handler.loop is loop:
                    handler.handle(message, own=own)

    def _remove_previous_run(self, cell: Cell) -> None:
        """Lambdas belong to their cell: a new run of it replaces all of its previous run."""
        for key in list(self._handlers):
            if is_from_previous_run(key, cell):
                _stop(self._handlers.pop(key))


class _LambdaKey:
    """The key of a lambda: the function, and the cell that defined it."""

    def __init__(self, function: Callable[..., object], cell: Cell) -> None:
        self.function = function
        self.cell = cell

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _LambdaKey) and other.function is self.function

    def __hash__(self) -> int:
        return id(self.function)


def is_from_previous_run(key: object, cell: Cell) -> bool:
    """Whether it is the key of a lambda that an earlier run of ``cell`` registered."""
    return isinstance(key, _LambdaKey) and key.cell.id == cell.id and key.cell.run != cell.run


def registration_key(function: Callable[..., Any]) -> tuple[object, Cell | None]:
    """The key by which a registration replaces an earlier one; and the cell, for a lambda."""
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


def _stop(handler: HandlerRegistration) -> None:
    if handler.background and isinstance(handler.loop, ThreadCallbackLoop):
        handler.loop.stop()
