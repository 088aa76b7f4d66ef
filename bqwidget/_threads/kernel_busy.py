"""Busy: whether this kernel runs a cell. Its rooms are told, so that everyone knows when to expect an answer; and a
busy cell is made to let go of the interpreter sooner, so that the rooms' threads stay quick.

IPython says so by two events, hooked only while a room is open. Where there is no IPython kernel, nothing happens.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from bqwidget.protocol import Busy

if TYPE_CHECKING:
    from bqwidget.connection import Connection

SWITCH_INTERVAL = 0.0005
"""Seconds that a cell may keep the interpreter while another thread waits for it. A message from the window passes
some ten such waits, each as long as this in a loop of pure Python: with Python's own 5 ms half of them were heard
within 22 to 26 ms, with this within 8 to 11. It costs nothing while no thread waits."""

_lock = Lock()
_listeners: WeakSet[Connection] = WeakSet()
_hooked_events: list[Any] = []
"""The events of the shell that we have hooked; empty while no room is open."""
_running = [False]
_original_interval: list[float] = []
"""The interval to go back to; empty while it stands."""


def register(connection: Connection) -> None:
    """Tell ``connection`` from now on; before it is joined, that comes to nothing."""
    shell = _shell()
    if shell is None:
        return
    with _lock:
        if not _hooked_events:
            _hooked_events.append(shell.events)
            shell.events.register("pre_run_cell", _on_cell_start)
            shell.events.register("post_run_cell", _on_cell_end)
        _set_running(running=bool(shell.display_trap.is_active))  # inside a cell, and not between two
        _listeners.add(connection)


def announce(connection: Connection) -> None:
    """``connection`` has been joined, perhaps again, and its server knows nothing of us yet."""
    with _lock:
        if connection in _listeners:
            connection.send_transient(Busy(busy=_running[0]))


def unregister(connection: Connection) -> None:
    """``connection`` is over; the last one takes the hooks with it."""
    with _lock:
        _listeners.discard(connection)
        if _hooked_events and not _listeners:
            events = _hooked_events.pop()
            events.unregister("pre_run_cell", _on_cell_start)
            events.unregister("post_run_cell", _on_cell_end)
            _shorten_switch_interval(short=False)


def _on_cell_start(_: object) -> None:
    _announce_all(busy=True)


def _on_cell_end(_: object) -> None:
    _announce_all(busy=False)


def _announce_all(*, busy: bool) -> None:
    with _lock:
        _set_running(running=busy)
        for connection in list(_listeners):
            connection.send_transient(Busy(busy=busy))


def _set_running(*, running: bool) -> None:
    _running[:] = [running]
    _shorten_switch_interval(short=running)


def _shorten_switch_interval(*, short: bool) -> None:
    if short and not _original_interval and sys.getswitchinterval() > SWITCH_INTERVAL:
        _original_interval.append(sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_INTERVAL)
    elif not short and _original_interval:
        usual = _original_interval.pop()
        if (
            abs(sys.getswitchinterval() - SWITCH_INTERVAL) < SWITCH_INTERVAL / 10
        ):  # else the user has set one meanwhile
            sys.setswitchinterval(usual)


def _shell() -> Any:
    """IPython's shell, in a kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if hasattr(shell, "kernel") else None
