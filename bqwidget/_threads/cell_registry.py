"""What each cell has made: a room, a window, a callback. The next run of the cell replaces it.

In marimo, the end of a run, by the next one or by the cell's deletion, is an event. IPython reports only the end of an
execution, so there the first registration of a new run ends what the previous run made of the same group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import ref

from .cells import current_cell, marimo_context

Thing = TypeVar("Thing")
CALLBACK_GROUP = "callbacks"
"""The group of everything that reacts: a cell that observes now and had a handler before has no handler any more."""


class _Run:
    """What one run of a cell made of one group. ``ended``: what closing the previous run's things returned."""

    def __init__(self, run: str, previous: str, ended: dict[str, list[Any]]) -> None:
        self.run = run
        self.previous = previous
        self._ended = ended
        self._things: dict[str, list[tuple[ref[Any], Callable[[Any], Any]]]] = {}

    def add(self, kind: str, thing: Thing, close: Callable[[Thing], object]) -> Any:
        """Note ``thing``, and return what closing its predecessor returned: the one with the same place of its kind."""
        things = self._things.setdefault(kind, [])
        things.append((ref(thing), close))
        ended = self._ended.get(kind, [])
        return ended[len(things) - 1] if len(things) <= len(ended) else None

    def close(self) -> dict[str, list[Any]]:
        things, self._things = self._things, {}
        return {
            kind: [None if (thing := reference()) is None else close(thing) for reference, close in made]
            for kind, made in things.items()
        }


_runs: dict[str, dict[str, _Run]] = {}
"""By the cell's id and the group."""


def replace_previous(thing: Thing, kind: str, close: Callable[[Thing], object], *, group: str = "") -> Any:
    """Note that the running cell made ``thing``, which ``close(thing)`` ends, and end what its previous run made.

    Returns what ``close`` returned for the thing that ``thing`` replaces, or None. ``thing`` is not kept alive.
    """
    cell = current_cell()
    if cell is None:
        return None
    groups = _runs.get(cell.id)
    if groups is None:
        groups = _runs[cell.id] = {}
        if (context := marimo_context()) is not None:
            context.cell_lifecycle_registry.add(_MarimoItem(cell.id))
    last = groups.get(group or kind)
    if last is None or cell.run not in (last.run, last.previous):  # a callback of the previous run may still run
        ended = last.close() if last is not None else {}
        last = groups[group or kind] = _Run(cell.run, last.run if last is not None else cell.run, ended)
    return last.add(kind, thing, close)


def end_run() -> None:
    """The running cell has ended without an error: callbacks that only its previous run registered are removed."""
    cell = current_cell()
    callbacks = _runs.get(cell.id, {}).get(CALLBACK_GROUP) if cell is not None else None
    if cell is not None and callbacks is not None and callbacks.run != cell.run:
        callbacks.close()
        del _runs[cell.id][CALLBACK_GROUP]


class _MarimoItem:
    """What marimo calls around the runs of a cell (a CellLifecycleItem)."""

    def __init__(self, cell_id: str) -> None:
        self._cell_id = cell_id

    def create(self, context: object) -> None:
        pass

    def dispose(self, context: object, deletion: bool) -> bool:  # noqa: ARG002, FBT001 - marimo's signature
        """End what the cell made. The next run's callbacks continue where these ended."""
        groups = _runs.pop(self._cell_id, {})
        ended = {group: _Run("", "", run.close()) for group, run in groups.items()}
        if not deletion and ended:
            _runs[self._cell_id] = ended
            return False  # stays registered for the next run
        return True
