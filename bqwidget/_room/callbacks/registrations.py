"""Registrations of callbacks: which one replaces which.

A re-run of a cell replaces all that its previous run registered. Beyond that, the same function replaces itself, and
a function replaces the one of its name: of another cell, or, without cells, where the code that defines a function
also registers it. Lambdas, methods, and what functions such as factories return have no such name.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar
from weakref import ref

from bqwidget._threads.callback import Callback
from bqwidget._threads.cell_registry import CALLBACK_GROUP, replace_previous
from bqwidget._threads.cells import current_cell

LOCAL = ".<locals>."
PACKAGE = __name__.partition(".")[0]


class Registration:
    """One callback under one verb. ``stop`` is called when it is removed."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.registrations: ref[Registrations[Any]] | None = None
        self._cell = current_cell()
        self._name = _name(callback.function)
        self._is_defined_here = _is_defined_by_caller(callback.function)

    def stop(self) -> object:
        """End it, and return what its successor needs."""
        return None

    def replaces(self, other: Registration) -> bool:
        if self.callback.function == other.callback.function:
            return True
        if self._name is None or self._name != other._name:
            return False
        if self._cell is None or other._cell is None:
            return self._is_defined_here
        return self._cell.id != other._cell.id and LOCAL not in self._name[1]

    def is_of_other_cell(self, other: Registration) -> bool:
        return self._cell is not None and (other._cell is None or self._cell.id != other._cell.id)


Kind = TypeVar("Kind", bound=Registration)


class Registrations(Generic[Kind]):
    """The registrations under ``verb``, in order. Readable on every thread. ``on_change``: called after a change."""

    def __init__(self, verb: str, on_change: Callable[[], object]) -> None:
        self._verb = verb
        self._on_change = on_change
        self._all: tuple[Kind, ...] = ()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._all)

    def add(self, new: Kind) -> object:
        """Add ``new``, and return what the ``stop`` of the registration that it replaces returned, or None."""
        new.registrations = ref(self)
        passed_on = replace_previous(new, self._verb, _discard, group=CALLBACK_GROUP)
        for old in self:
            if new.replaces(old):
                passed_on = self.discard(old)
                if new.is_of_other_cell(old):
                    name = getattr(new.callback.function, "__name__", "it")
                    print_note(f"{name} replaces the {name} that another cell registered by {self._verb}")
        self._all = (*self._all, new)
        self._on_change()
        return passed_on

    def discard(self, registration: Kind) -> object:
        """Remove ``registration`` if it is here, and return what its ``stop`` returned."""
        if registration not in self._all:
            return None
        self._all = tuple(kept for kept in self._all if kept is not registration)
        self._on_change()
        return registration.stop()

    def remove(self, function: Callable[..., object]) -> bool:
        """Remove the registration of ``function``, else the newest one of its name; False if there is none."""
        name = _name(function)
        found = [old for old in self if old.callback.function == function]
        found = found or [old for old in self if name is not None and old._name == name]  # noqa: SLF001
        if found:
            self.discard(found[-1])
        return bool(found)

    def clear(self) -> None:
        for registration in self:
            self.discard(registration)


def _discard(registration: Registration) -> object:
    registrations = registration.registrations() if registration.registrations is not None else None
    return None if registrations is None else registrations.discard(registration)


def _name(function: Callable[..., object]) -> tuple[str, str] | None:
    if not inspect.isfunction(function) or function.__name__ in ("<lambda>", "_"):
        return None
    return function.__module__, function.__qualname__


def _is_defined_by_caller(function: Callable[..., object]) -> bool:
    """Whether the code outside of this package that registers ``function`` is the code that defines it."""
    frame = sys._getframe()  # noqa: SLF001 - the usual way to the caller
    while frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE and frame.f_back is not None:
        frame = frame.f_back
    scope, _, _ = getattr(function, "__qualname__", "").rpartition(LOCAL)
    return frame.f_code.co_qualname == (scope or "<module>")


def print_note(text: str) -> None:
    print(f"bqwidget: {text}", file=sys.stderr)  # noqa: T201 - shown below the cell
