"""LoopThread: a daemon thread with an event loop of its own, that other threads talk to and that ends cleanly."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread, current_thread
from typing import Any, TypeVar
from weakref import WeakSet

from bqwidget.errors import BqwidgetError

from .event_loops import close_loop

CLOSE_TIMEOUT = 2.0
"""Seconds that ``close`` gives to what is still to be done."""

Result = TypeVar("Result")
_started: WeakSet[LoopThread] = WeakSet()


class LoopThread:
    """Runs ``_work`` until it ends or ``_main`` is cancelled, then ``_end``, both on the thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._main: asyncio.Task[None] = self._loop.create_task(self._work())
        self.thread = Thread(target=self._run, name=name, daemon=True)
        self._process = os.getpid()

    def start(self) -> None:
        _started.add(self)
        self.thread.start()

    def check_process(self) -> None:
        """Raises BqwidgetError in a forked child: threads stay behind, and locks may be held for ever."""
        if os.getpid() != self._process:
            raise BqwidgetError(
                f"{self.thread.name} belongs to process {self._process}, of which this one is a fork:"
                " make a new Room here, or start the process by spawn"
            )

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """From any thread: run ``function`` on this one soon; after its end, not at all."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def close(self, *, wait: bool = True) -> None:
        """From any thread, and from a finalizer, for it takes no lock: end, after at most GRACE seconds."""
        if os.getpid() != self._process:
            return  # the loop's wake-up pipe is shared with the parent's
        self.call_soon(self._begin_close)
        if wait and current_thread() is not self.thread:
            self.thread.join(CLOSE_TIMEOUT + 3)

    async def _work(self) -> None:
        raise NotImplementedError

    def _begin_close(self) -> None:
        self._main.cancel()

    def _end(self) -> None:
        """The last on the thread; nothing that is called later runs."""

    def _run(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main)
        finally:
            self._end()
            close_loop(self._loop)


async def run_in_thread(function: Callable[[], Result]) -> Result:
    """What ``function`` gives, which may block; without the loop's own executor, whose thread would stay."""
    executor = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, function)
    finally:
        executor.shutdown(wait=False)


@atexit.register
def _close_all() -> None:
    """A script's last messages leave before its daemon threads are cut off."""
    threads = [alive for alive in _started if alive.thread.is_alive()]
    for alive in threads:
        alive.close(wait=False)
    for alive in threads:
        alive.thread.join(CLOSE_TIMEOUT + 1)
