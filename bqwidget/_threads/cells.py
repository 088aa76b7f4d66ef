"""Notebook cells: which cell is running, and where its output goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from typing import Any, NamedTuple, cast


class Cell(NamedTuple):
    """``id`` is the same for every run of a cell. ``run`` is unique to one run."""

    id: str
    run: str


def ipython_shell() -> Any:
    """IPython's shell, or None where IPython does not run. Its ``kernel`` exists in a kernel only."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)  # none while another thread imports it
    return find() if find is not None else None


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
    """Directs displays and prints to the cell in which this object was created.

    ipykernel 7 keeps the cell in a context variable. ipykernel 6 keeps it in an attribute, which ``active`` sets
    while a function, or a step of an async one, runs. marimo prints nothing below a cell that does not run, unless
    ``active`` says so.
    """

    def __init__(self) -> None:
        publisher: Any = getattr(ipython_shell(), "display_pub", None)
        is_attribute = hasattr(publisher, "parent_header") and not hasattr(publisher, "_parent_header")
        self._publisher: Any = publisher if is_attribute else None
        self._parent = publisher.parent_header if is_attribute else None
        context = marimo_context()
        self._marimo = context if context is not None and context.cell_id is not None else None
        self._run: Any = getattr(self._marimo, "execution_context", None)
        self._place = len(getattr(self._run, "output", ()))

    def active(self) -> AbstractContextManager[None]:
        if self._marimo is not None and marimo_context() is self._marimo:  # else a thread of its own
            from marimo._runtime.redirect_streams import redirect_streams  # noqa: PLC0415 - runs here

            context, stdin = self._marimo, cast("Any", sys.stdin)
            return redirect_streams(self._run.cell_id, context.stream, context.stdout, context.stderr, stdin)
        return nullcontext() if self._publisher is None else self._parent_header()

    @contextmanager
    def _parent_header(self) -> Iterator[None]:
        other, self._publisher.parent_header = self._publisher.parent_header, self._parent
        try:
            yield
        finally:
            self._publisher.parent_header = other

    def show_in_marimo(self, value: object, *, again: bool = False) -> bool:
        """Show ``value`` below the cell; False if this is not marimo.

        ``again``: in the place that the next output had when this object was created.
        """
        if self._marimo is None:
            return False
        import marimo  # noqa: PLC0415 - runs here

        other, self._marimo.execution_context = self._marimo.execution_context, self._run
        try:
            outputs = len(self._run.output)
            marimo.output.replace_at_index(value, min(self._place, outputs) if again else outputs)
        finally:
            self._marimo.execution_context = other
        return True
