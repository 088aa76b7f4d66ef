"""Interrupts: SIGINT, as of a notebook's Stop button, ends the callbacks that run.

ipykernel ignores SIGINT between cells, where callbacks run. So it is handled while a callback runs on the main thread,
and in a kernel from the first callback on: then it also ends those on threads of their own, and suspended async ones.
While a cell runs, Stop ends that cell, and the callback that runs while it waits.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import Any
from weakref import WeakSet

from .cells import ipython_shell
from .event_loops import main_loop
from .kernel_busy import running_callback

RETRY_INTERVAL = 0.2
"""Seconds between two attempts to handle SIGINT while a cell awaits."""

INTERRUPT_REASON = "interrupted"
"""The message with which a suspended callback is cancelled."""

_lock = threading.RLock()
_background: Counter[int] = Counter()
"""Running callbacks by their thread."""
_interrupted: set[int] = set()
"""The threads of ``_background`` in which KeyboardInterrupt was raised."""
_waiting: dict[int, asyncio.AbstractEventLoop] = {}
"""The loops in which threads wait."""
_suspended: WeakSet[asyncio.Task[Any]] = WeakSet()
_on_main = [0]
"""How many callbacks the main thread runs, one inside another's wait."""
_count = [0]
"""Interrupts of callbacks on the main thread."""


@contextmanager
def interruptible() -> Iterator[None]:
    """While a callback, or a step of an async one, runs. SIGINT raises KeyboardInterrupt in it."""
    with running_callback():
        if threading.current_thread() is threading.main_thread():
            with _interruptible_on_main():
                yield
        else:
            with _interruptible_in_background():
                yield


@contextmanager
def _interruptible_on_main() -> Iterator[None]:
    previous = signal.getsignal(signal.SIGINT)
    between_cells = previous == _on_sigint or (previous == signal.SIG_IGN and _in_kernel())
    if not callable(previous) and not between_cells:
        yield
        return
    before = _count[0]
    _on_main[0] += 1
    try:
        signal.signal(signal.SIGINT, _on_sigint)
        yield
    finally:
        _on_main[0] -= 1
        if not between_cells:
            signal.signal(signal.SIGINT, previous)
        if _count[0] != before and callable(previous) and (not between_cells or _on_main[0]):
            _pass_on(previous)


def _pass_on(handler: Any) -> None:
    """The code around the callback, as a waiting cell, is interrupted too; but never the kernel's own loop."""
    with suppress(RuntimeError):
        loop = asyncio.get_running_loop()
        if handler is not signal.default_int_handler or loop is not main_loop():
            loop.call_soon(handler, signal.SIGINT, None)


@contextmanager
def _interruptible_in_background() -> Iterator[None]:
    thread = threading.get_ident()
    loop = main_loop() if _in_kernel() else None
    with _lock:
        _background[thread] += 1
    if loop is not None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_handle_between_cells)
    try:
        yield
    finally:
        while True:
            try:
                _leave_background(thread)
                break
            except KeyboardInterrupt:  # just before, or one that came too late
                continue


def _leave_background(thread: int) -> None:
    """No interrupt reaches ``thread`` after this has returned. Raises KeyboardInterrupt if one is on its way."""
    with _lock:
        _background[thread] -= 1
        if _background[thread] > 0:
            return
        del _background[thread]
        if thread not in _interrupted:
            return
        _interrupted.discard(thread)
        _raise_in(thread)  # in place of one that has not arrived yet
    # It is not withdrawn: then Python 3.11 would go on to look for it, before every call, and with a debugger forever.
    while True:
        time.sleep(0)


def _handle_between_cells() -> None:
    """Handle SIGINT while no cell runs, on the kernel's main thread."""
    current = signal.getsignal(signal.SIGINT)
    if current == signal.SIG_IGN:
        signal.signal(signal.SIGINT, _on_sigint)
    elif current != _on_sigint and _background:
        asyncio.get_running_loop().call_later(RETRY_INTERVAL, _handle_between_cells)


def _on_sigint(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    with _lock:
        for thread in _background:
            _interrupted.add(thread)
            _raise_in(thread)
            if (loop := _waiting.get(thread)) is not None:
                with suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(int)  # nothing: a thread that sleeps does not see what is raised in it
    for task in list(_suspended):
        with suppress(RuntimeError):
            task.get_loop().call_soon_threadsafe(task.cancel, INTERRUPT_REASON)
    if _on_main[0]:
        _count[0] += 1
        raise KeyboardInterrupt


@contextmanager
def waiting(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """While this thread waits in ``loop``: an interrupt of its callback wakes it."""
    thread = threading.get_ident()
    outer = _waiting.get(thread)
    _waiting[thread] = loop
    try:
        yield
    finally:
        if outer is None:
            del _waiting[thread]
        else:
            _waiting[thread] = outer


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))


def _in_kernel() -> bool:
    return hasattr(ipython_shell(), "kernel")


def suspendable(task: asyncio.Task[Any]) -> None:
    """Cancel ``task``, of an async callback, when SIGINT arrives between cells."""
    _suspended.add(task)


class InterruptibleSteps:
    """An awaitable, of which every step may be interrupted, and runs in ``context()``."""

    def __init__(self, awaitable: Awaitable[object], context: Callable[[], AbstractContextManager[None]]) -> None:
        self._awaitable = awaitable
        self._context = context

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._awaitable.__await__()
        send, value = steps.__next__, ()
        while True:
            try:
                with self._context(), interruptible():
                    waiting_for = send(*value)
            except StopIteration as end:
                return end.value
            except BaseException:
                if (close := getattr(steps, "close", None)) is not None:
                    close()  # an interrupt just before or after the step: the awaitable has not got it
                raise
            try:
                send, value = steps.send, ((yield waiting_for),)  # type: ignore[assignment]
            except BaseException as error:  # noqa: BLE001 - belongs to the awaitable
                send, value = steps.throw, (error,)  # type: ignore[assignment]
