"""The thread that all rooms of a process share: its event loop, and the tasks that run on it.

What blocks or may be the user's code never runs there, because it would stop every room.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event, Lock, Thread, current_thread
from typing import Any, TypeVar

from bqwidget.errors import BqwidgetError

from .event_loops import close_loop

CLOSE_TIMEOUT = 10.0
"""Seconds that ``close`` gives to pending work: enough to start a local server and to join."""

Result = TypeVar("Result")
_lock = Lock()
_shared: list[LoopThread] = []
"""The thread that a new task joins, if there is one."""


class LoopThread:
    """A daemon thread with an event loop. It starts with its first task and ends with its last."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.getaddrinfo = self._getaddrinfo  # type: ignore[method-assign]  # works at the interpreter's exit too
        self.thread = Thread(target=self._run, name="bqwidget-rooms", daemon=True)
        self.process = os.getpid()
        self.tasks: set[LoopTask] = set()
        self._blocking: dict[Hashable, asyncio.Task[Any]] = {}
        """The calls that run in threads of their own, by their key."""

    def start(self) -> None:
        """Start the thread. Raises RuntimeError at the interpreter's exit, from Python 3.12 on."""
        try:
            self.thread.start()
        except RuntimeError:
            self.loop.close()
            raise
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:  # a forked one ends without atexit
            from multiprocessing.util import Finalize  # noqa: PLC0415

            Finalize(None, _close_all, exitpriority=0)

    def leave(self, task: LoopTask) -> None:
        """Remove ``task``, which has ended. The last one ends the thread."""
        with _lock:
            self.tasks.remove(task)
            if not self.tasks:
                _shared.remove(self)
                self.loop.stop()

    def _run(self) -> None:
        while self.tasks:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - as SystemExit: it must not end the other rooms
                sys.excepthook(type(error), error, error.__traceback__)
        close_loop(self.loop)

    async def run_in_thread(self, key: Hashable, function: Callable[[], Result]) -> Result:
        """The result of ``function``, which may block; if a call with this ``key`` runs already, the result of that."""
        task = self._blocking.get(key)
        if task is None:
            task = self._blocking[key] = self.loop.create_task(_run_in_thread(function))
            task.add_done_callback(lambda _: self._blocking.pop(key))
        result: Result = await asyncio.shield(task)
        return result

    async def _getaddrinfo(self, *args: Any, **options: Any) -> Any:
        key = (args, *options.items())
        return await self.run_in_thread(key, partial(socket.getaddrinfo, *args, **options))


class LoopTask:
    """Runs ``_work`` on the shared thread until it ends or is cancelled, then ``_end``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process = os.getpid()
        self._ended = Event()

    def start(self) -> None:
        """Start the task, and the thread if no other task runs.

        Raises RuntimeError in that case at the interpreter's exit, from Python 3.12 on.
        """
        with _lock:
            if not _shared or _shared[0].process != self._process:
                thread = LoopThread()
                thread.tasks.add(self)
                thread.start()
                _shared[:] = [thread]
            self._thread = _shared[0]
            self._thread.tasks.add(self)
        self._loop = self._thread.loop
        self.call_soon(self._begin)

    @property
    def thread(self) -> Thread:
        return self._thread.thread

    def check_process(self) -> None:
        """Raises BqwidgetError in a forked child, where the thread does not run and locks may stay held."""
        if os.getpid() != self._process:
            raise BqwidgetError(
                f"{self._name} belongs to process {self._process}, and this process is a fork of it:"
                " create a new Room here, or start the process with the spawn method"
            )

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` on the shared thread soon. Callable from any thread; ignored after the task's end."""
        if not self._ended.is_set():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *args)

    def close(self, *, wait: bool = True) -> None:
        """End the task, after at most CLOSE_TIMEOUT seconds.

        Callable from any thread and, because it takes no lock, from a finalizer.
        """
        if os.getpid() != self._process:
            return  # the loop's wake-up pipe is shared with the parent process
        self.call_soon(self._begin_close)
        if wait and current_thread() is not self.thread:
            self._ended.wait(CLOSE_TIMEOUT + 1)
            if not self._thread.tasks:
                self.thread.join(CLOSE_TIMEOUT)

    async def _work(self) -> None:
        raise NotImplementedError

    def _begin_close(self) -> None:
        self._main.cancel()

    async def _end(self) -> None:
        """The last call of the task; functions that are passed to ``call_soon`` later do not run."""

    def _begin(self) -> None:
        self._main = self._loop.create_task(self._work())
        self._until_ended = self._loop.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.wait({self._main})
        try:
            await self._end()
        finally:
            self._thread.leave(self)
            self._ended.set()
        with contextlib.suppress(asyncio.CancelledError):
            self._main.result()


async def _run_in_thread(function: Callable[[], Result]) -> Result:
    """The result of ``function``, called on a thread of its own: the loop's default executor would keep its thread.

    At the interpreter's exit, when no executor works any more, it is called here and blocks the loop.
    """
    executor = ThreadPoolExecutor(1)
    try:
        future = executor.submit(function)
    except RuntimeError:
        return function()
    finally:
        executor.shutdown(wait=False)
    return await asyncio.wrap_future(future)


if hasattr(os, "register_at_fork"):  # a child can make Rooms of its own
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@atexit.register
def _close_all() -> None:
    """Send a script's last messages before its daemon threads are killed."""
    for shared in _shared[:]:
        for task in list(shared.tasks):
            task.close(wait=False)
        shared.thread.join(CLOSE_TIMEOUT + 1)
