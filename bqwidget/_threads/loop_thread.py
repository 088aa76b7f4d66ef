"""LoopThread: a daemon thread with an event loop of its own, called from other threads and closed cleanly."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread, current_thread
from typing import Any, TypeVar
from weakref import WeakSet

from bqwidget.errors import BqwidgetError

from .event_loops import close_loop

CLOSE_TIMEOUT = 10.0
"""Seconds that ``close`` gives to pending work: enough to start a local server and to join."""

Result = TypeVar("Result")
_started: WeakSet[LoopThread] = WeakSet()


class LoopThread:
    """Runs ``_work`` until it ends or ``_main`` is cancelled, then ``_end``, both on the thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.getaddrinfo = _getaddrinfo  # type: ignore[method-assign]  # works at the interpreter's exit too
        self.thread = Thread(target=self._run, name=name, daemon=True)
        self._process = os.getpid()

    def start(self) -> None:
        """Raises RuntimeError at the interpreter's exit, from Python 3.12 on."""
        try:
            self.thread.start()
        except RuntimeError:
            self._loop.close()
            raise
        _started.add(self)

    def check_process(self) -> None:
        """Raises BqwidgetError in a forked child, where the thread does not run and locks may stay held."""
        if os.getpid() != self._process:
            raise BqwidgetError(
                f"{self.thread.name} belongs to process {self._process}, and this process is a fork of it:"
                " create a new Room here, or start the process with the spawn method"
            )

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` on this thread soon. Callable from any thread; ignored after the thread's end."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def close(self, *, wait: bool = True) -> None:
        """End the thread, after at most CLOSE_TIMEOUT seconds.

        Callable from any thread and, because it takes no lock, from a finalizer.
        """
        if os.getpid() != self._process:
            return  # the loop's wake-up pipe is shared with the parent process
        self.call_soon(self._begin_close)
        if wait and current_thread() is not self.thread:
            self.thread.join(CLOSE_TIMEOUT + 1)

    async def _work(self) -> None:
        raise NotImplementedError

    def _begin_close(self) -> None:
        self._main.cancel()

    def _end(self) -> None:
        """The last call on the thread; functions that are passed to ``call_soon`` later do not run."""

    def _run(self) -> None:
        self._main = self._loop.create_task(self._work())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main)
        finally:
            self._end()
            close_loop(self._loop)


async def run_in_thread(function: Callable[[], Result]) -> Result:
    """The result of ``function``, which may block. The loop's default executor would keep its thread.

    At the interpreter's exit, when no executor works any more, this thread is blocked.
    """
    executor = ThreadPoolExecutor(1)
    try:
        future = executor.submit(function)
    except RuntimeError:
        return function()
    finally:
        executor.shutdown(wait=False)
    return await asyncio.wrap_future(future)


async def _getaddrinfo(*args: Any, **options: Any) -> Any:
    return await run_in_thread(partial(socket.getaddrinfo, *args, **options))


@atexit.register
def _close_all() -> None:
    """Send a script's last messages before its daemon threads are killed."""
    threads = [started for started in _started if started.thread.is_alive()]
    for thread in threads:
        thread.close(wait=False)
    deadline = time.monotonic() + CLOSE_TIMEOUT + 1
    for thread in threads:
        thread.thread.join(max(0, deadline - time.monotonic()))
