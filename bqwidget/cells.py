"""Cells: which notebook cell runs here and now, and what its earlier run left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from weakref import ref

Thing = TypeVar("Thing")


class Cell(NamedTuple):
    """``id``: the same at every run, empty where the frontend tells none. ``run``: of this one alone."""

    id: str
    run: str


def current_cell() -> Cell | None:
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython.get_ipython() if ipython is not None else None, "kernel", None)
    if kernel is None or not hasattr(kernel, "get_parent"):
        return None
    parent = kernel.get_parent("shell")
    return Cell(
        str(parent.get("metadata", {}).get("cellId") or ""),
        str(parent.get("header", {}).get("msg_id") or ""),
    )


_made: dict[tuple[str, object], tuple[str, list[ref[Any]]]] = {}


def replace_earlier(thing: Thing, what: object, close: Callable[[Thing], object]) -> None:
    """``close`` every ``what`` that an earlier run of this cell made: its output is gone, but IPython's ``Out``
    may keep it alive, and then two of it would answer."""
    cell = current_cell()
    if cell is None or not cell.id:
        return
    run, made = _made.get((cell.id, what), ("", []))
    if run != cell.run:
        for reference in made:
            if (earlier := reference()) is not None:
                close(earlier)
        made = []
    _made[cell.id, what] = cell.run, [*made, ref(thing)]
