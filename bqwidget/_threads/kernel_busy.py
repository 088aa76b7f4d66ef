"""Tracks whether a cell or a callback runs, for presence, and shortens ``sys.setswitchinterval`` meanwhile.

IPython reports the start and end of a cell by two events, hooked only while a room is open. Without an IPython
kernel, only callbacks count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, current_thread, main_thread
from time import monotonic
from typing import Any, Protocol
from weakref import WeakSet

from .cell_registry import end_run
from .cells import ipython_shell, marimo_context

SWITCH_INTERVAL = 0.0005
"""Seconds that a cell may keep the interpreter while another thread waits for it. A message from the window passes
about ten such waits, each as long as this in a loop of pure Python. Median latency of such a message: 22 to 26 ms
with Python's default of 5 ms, 8 to 11 ms with this value. It costs nothing while no thread waits."""


class BusyListener(Protocol):
    def set_busy(self, *, busy: bool) -> None: ...
    def call_later(self, delay: float, function: Callable[[], object]) -> None: ...


CALLBACK_DELAY = 0.3
"""Seconds after which a running callback makes the kernel busy; shorter ones are not worth a frame to every member."""

_lock = RLock()  # a signal's handler may begin a callback on the same thread
_listeners: WeakSet[BusyListener] = WeakSet()
_hooked_events: list[Any] = []
"""The shell's event manager while its events are hooked, else empty."""
_running = [False]
_callbacks: dict[object, float] = {}
"""When each running callback began."""
_watching = [False]
_busy_by_callback = [False]
_original_interval: list[float] = []
"""The switch interval to restore, or empty while it is unchanged."""


def register(listener: BusyListener) -> None:
    """Call ``listener.set_busy`` at the start and end of each cell, and of a callback that takes long."""
    shell = ipython_shell()
    if marimo_context() is not None and current_thread() is not main_thread():
        return  # an app, of which this process runs many
    with _lock:
        if hasattr(shell, "kernel"):
            if not _hooked_events:
                _hooked_events.append(shell.events)
                shell.events.register("pre_run_cell", _on_cell_start)
                shell.events.register("post_run_cell", _on_cell_end)
            _set_running(running=bool(shell.display_trap.is_active))  # active inside a cell only
        _listeners.add(listener)


def announce(listener: BusyListener) -> None:
    """Call ``listener.set_busy`` now: after each join, because the server does not know the state."""
    with _lock:
        if listener in _listeners:
            listener.set_busy(busy=_running[0] or _busy_by_callback[0])


def unregister(listener: BusyListener) -> None:
    """Forget ``listener``. The last one removes the hooks."""
    with _lock:
        _listeners.discard(listener)
        _watching[0] = False  # its thread may have been the one that watches
        if _hooked_events and not _listeners:
            events = _hooked_events.pop()
            events.unregister("pre_run_cell", _on_cell_start)
            events.unregister("post_run_cell", _on_cell_end)
            _shorten_switch_interval(short=False)


@contextmanager
def running_callback() -> Iterator[None]:
    """While a callback runs: after CALLBACK_DELAY, the rooms show it as they show a cell."""
    key = object()
    with _lock:
        _callbacks[key] = monotonic()
        _watch()
    try:
        yield
    finally:
        with _lock:
            del _callbacks[key]
            if _busy_by_callback[0] and not _callbacks:
                _busy_by_callback[0] = False
                _announce()


def _watch() -> None:
    listener = next(iter(_listeners), None)
    if listener is not None and not _watching[0]:
        _watching[0] = True
        listener.call_later(CALLBACK_DELAY, _check_callbacks)


def _check_callbacks() -> None:
    """On the rooms' thread."""
    with _lock:
        _watching[0] = False
        if not _callbacks or _busy_by_callback[0]:
            return
        if monotonic() - min(_callbacks.values()) >= CALLBACK_DELAY:
            _busy_by_callback[0] = True
            _announce()
        else:
            _watch()


def _on_cell_start(_: object) -> None:
    _announce_all(busy=True)


def _on_cell_end(result: Any) -> None:
    _announce_all(busy=False)
    if getattr(result, "success", False):
        end_run()


def _announce_all(*, busy: bool) -> None:
    with _lock:
        _set_running(running=busy)
        _announce()


def _announce() -> None:
    for listener in list(_listeners):
        listener.set_busy(busy=_running[0] or _busy_by_callback[0])


def _set_running(*, running: bool) -> None:
    _running[:] = [running]
    _shorten_switch_interval(short=running)


def _shorten_switch_interval(*, short: bool) -> None:
    if short and not _original_interval and sys.getswitchinterval() > SWITCH_INTERVAL:
        _original_interval.append(sys.getswitchinterval())
        sys.setswitchinterval(SWITCH_INTERVAL)
    elif not short and _original_interval:
        original = _original_interval.pop()
        if abs(sys.getswitchinterval() - SWITCH_INTERVAL) < SWITCH_INTERVAL / 10:  # else the user has changed it
            sys.setswitchinterval(original)
