"""Figures that a callback makes by pyplot in a notebook.

The inline backend shows all open figures at the end of a cell, and closes them. A callback runs between cells, so its
figures would appear below the cell that happens to run next; in marimo they would stay open. Other backends show
figures in windows of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .cells import OutputContext, ipython_shell, marimo_context


def open_figures() -> set[int]:
    """The numbers of pyplot's figures that the end of a cell would show."""
    pyplot = _notebook_pyplot()
    return set() if pyplot is None else set(pyplot.get_fignums())


def shown_figures() -> list[Any]:
    """The figures that the end of the cell would show."""
    return [_notebook_pyplot().figure(number) for number in sorted(open_figures())]


def show_new_figures(before: set[int], output: OutputContext) -> None:
    """Show in ``output`` the figures that were made after ``before``, and close them."""
    for number in sorted(open_figures() - before):
        pyplot = _notebook_pyplot()
        figure = pyplot.figure(number)
        pyplot.close(figure)
        _show(figure, output)


def _show(figure: Any, output: OutputContext) -> None:
    if not output.show_in_marimo(figure):
        import IPython.display  # noqa: PLC0415 - exists where the inline backend does

        IPython.display.display(figure)  # type: ignore[no-untyped-call]


class HeldFigures:
    """The figures of a function that awaits: pyplot has them while a step of it runs, so that no cell shows them."""

    def __init__(self) -> None:
        self._managers: list[Any] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        others = open_figures()
        for manager in self._managers:
            if manager.num in others:  # of a figure that was made meanwhile
                manager.num = max(open_figures()) + 1
            _pyplot_figures()[manager.num] = manager
        try:
            yield
        finally:
            self._managers = [_pyplot_figures().pop(number) for number in sorted(open_figures() - others)]

    def show(self, output: OutputContext) -> None:
        for manager in self._managers:
            _show(manager.canvas.figure, output)


@contextmanager
def show_later() -> Iterator[None]:
    """``plt.show()`` leaves the figures to ``take_figure``, or to the end of the cell: it would add a picture each time."""
    pyplot = _notebook_pyplot()
    if pyplot is None:
        yield
        return
    if not _later:
        _later.append(pyplot.show)
        pyplot.show = lambda *_, **__: None
    _later.append(None)
    try:
        yield
    finally:
        _later.pop()
        if len(_later) == 1:
            pyplot.show = _later.pop()


_later: list[Any] = []
"""``plt.show``, and an item for each block of ``show_later``: suspended ones overlap."""


def take_figure(value: object, before: set[int]) -> object:
    """Close the figures made after ``before``, and return what to show for ``value``.

    For None and for axes, as pandas' ``plot`` returns them, that is the figure.
    """
    pyplot = _notebook_pyplot()
    if pyplot is None:
        return value
    figures = [pyplot.figure(number) for number in sorted(open_figures() - before)]
    figure = getattr(value, "figure", None)
    if hasattr(figure, "savefig"):
        value = figure
    elif value is None and figures:
        value = figures[-1]
    for made in figures:
        pyplot.close(made)
    if hasattr(value, "savefig") and getattr(value, "number", None) in open_figures():
        pyplot.close(value)
    return value


def _pyplot_figures() -> dict[int, Any]:
    """The managers of pyplot's figures by number; the last one is the current figure's."""
    managers: dict[int, Any] = _notebook_pyplot()._pylab_helpers.Gcf.figs  # noqa: SLF001 - no public name has them
    return managers


def _notebook_pyplot() -> Any:
    """The module, where it is loaded and its figures are shown below cells, or None."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or marimo_context() is not None:
        return pyplot
    return pyplot if hasattr(ipython_shell(), "kernel") and "inline" in str(pyplot.get_backend()).lower() else None
