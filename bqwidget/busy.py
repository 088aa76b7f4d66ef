"""Busy: tell the rooms of this kernel whether it runs a cell, so that everyone knows when to expect an answer.

IPython says so by two events, hooked only while a room is open. Where there is no IPython kernel, nothing is told.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .protocol import Busy

if TYPE_CHECKING:
    from .connection import Connection

_lock = Lock()
_open: WeakSet[Connection] = WeakSet()
_hooked: list[Any] = []
"""The events of the shell that we have hooked; empty while no room is open."""
_running = [False]


def watch(connection: Connection) -> None:
    """Tell ``connection`` from now on; before it is joined, that comes to nothing."""
    shell = _shell()
    if shell is None:
        return
    with _lock:
        if not _hooked:
            _hooked.append(shell.events)
            shell.events.register("pre_run_cell", _begin)
            shell.events.register("post_run_cell", _end)
        _running[:] = [bool(shell.display_trap.is_active)]  # inside a cell, and not between two
        _open.add(connection)


def joined(connection: Connection) -> None:
    """``connection`` has been joined, perhaps again, and its server knows nothing of us yet."""
    with _lock:
        if connection in _open:
            connection.say(Busy(busy=_running[0]))


def left(connection: Connection) -> None:
    """``connection`` is over; the last one takes the hooks with it."""
    with _lock:
        _open.discard(connection)
        if _hooked and not _open:
            events = _hooked.pop()
            events.unregister("pre_run_cell", _begin)
            events.unregister("post_run_cell", _end)


def _begin(_: object) -> None:
    _tell(busy=True)


def _end(_: object) -> None:
    _tell(busy=False)


def _tell(*, busy: bool) -> None:
    with _lock:
        _running[:] = [busy]
        for connection in list(_open):
            connection.say(Busy(busy=busy))


def _shell() -> Any:
    """IPython's shell, in a kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if hasattr(shell, "kernel") else None
