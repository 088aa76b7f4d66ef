"""Notebook cells: which cell is running, and where its output goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """``id`` is the same for every run of a cell. ``run`` is unique to one run."""

    id: str
    run: str


def ipython_shell() -> Any:
    """IPython's shell, or None where IPython does not run. Its ``kernel`` exists in a kernel only."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def current_cell() -> Cell | None:
    """The running cell of IPython or marimo; for a callback, the one that registered it, where that is known.

    A frontend that sends no ids, as a terminal, has one cell for each text.
    """
    if (context := marimo_context()) is not None:
        return None if context.cell_id is None else Cell(f"marimo {id(context)} {context.cell_id}", "")
    shell = ipython_shell()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        if shell is None or not shell.display_trap.is_active:  # active inside a cell only
            return None
        return Cell(_text_id(shell.user_ns.get("In", [""])[-1]), str(shell.execution_count))
    if not hasattr(kernel, "get_parent"):
        return None
    parent = kernel.get_parent("shell")
    code = parent.get("content", {}).get("code")
    if code is None:  # a comm message, as of a button
        return None
    cell_id = parent.get("metadata", {}).get("cellId") or _text_id(code)
    return Cell(str(cell_id), str(parent.get("header", {}).get("msg_id", "")))


def marimo_context() -> Any:
    """The context of the marimo session of this thread, or None. One process may serve many sessions."""
    types = sys.modules.get("marimo._runtime.context.types")
    context = getattr(types, "safe_get_context", None)
    return None if context is None else context()


def _text_id(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()


class OutputContext:
    """Directs displays to the cell in which this object was created.

    ipykernel 7 keeps the cell in a context variable. ipykernel 6 keeps it in an attribute, which ``active`` sets
    while a function, or a step of an async one, runs.
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
