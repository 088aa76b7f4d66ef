"""Notebook cells: which cell is running, where its output goes, and objects that its previous run created."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from weakref import ref

Thing = TypeVar("Thing")


class Cell(NamedTuple):
    """``id`` is the same for every run, and empty if the frontend sends none. ``run`` is unique to one run."""

    id: str
    run: str


def ipython_shell() -> Any:
    """IPython's shell, or None where IPython does not run. Its ``kernel`` exists in a kernel only."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def current_cell() -> Cell | None:
    kernel = getattr(ipython_shell(), "kernel", None)
    if kernel is None or not hasattr(kernel, "get_parent"):
        return None
    parent = kernel.get_parent("shell")
    cell_id, run = parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
    return Cell(str(cell_id or ""), str(run or ""))


class OutputContext:
    """Directs displays to the cell in which this object was created.

    ipykernel 7 keeps the cell in a context variable. ipykernel 6 keeps it in an attribute, which ``active`` sets
    while a function runs (not across the awaits of an async function).
    """

    def __init__(self) -> None:
        publisher: Any = getattr(ipython_shell(), "display_pub", None)
        is_attribute = hasattr(publisher, "parent_header") and not hasattr(publisher, "_parent_header")
        self._publisher: Any = publisher if is_attribute else None
        self._parent = publisher.parent_header if is_attribute else None

    @contextmanager
    def active(self) -> Iterator[None]:
        if self._publisher is None:
            yield
            return
        other, self._publisher.parent_header = self._publisher.parent_header, self._parent
        try:
            yield
        finally:
            self._publisher.parent_header = other


_created: dict[tuple[str, object], tuple[str, list[ref[Any]]]] = {}


def replace_previous(thing: Thing, what: object, close: Callable[[Thing], object]) -> None:
    """Call ``close`` on each object of the same kind (``what``) that the previous run of this cell created.

    Its output is gone, but IPython's ``Out`` may keep it alive, and then both objects would react to messages.
    """
    cell = current_cell()
    if cell is None or not cell.id:
        return
    run, references = _created.get((cell.id, what), ("", []))
    if run != cell.run:
        for reference in references:
            if (previous := reference()) is not None:
                close(previous)
        references = []
    _created[cell.id, what] = cell.run, [*references, ref(thing)]
