"""Dispatch: where callbacks run. The thread rule: *your callbacks run on the main thread, one at a time, never in
the middle of a cell, unless that cell awaits or waits; ``background=True`` runs them on a thread of their own.*

A ``CallbackLoop`` is an event loop that runs callbacks in the order of their posting: the kernel's loop in a
notebook, the prompt's loop in IPython's terminal. A running cell occupies that loop, so callbacks wait for its end
without a lock. Where no loop runs, as in a plain script, a daemon thread runs one. Blocking verbs wait by ``wait``,
which runs the callbacks of this thread's loop meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from bqwidget._threads.event_loops import close_loop, main_loop, without_running_loop
from bqwidget._threads.interrupts import waiting

from .errors import BqwidgetError

MAX_TURN_SECONDS = 0.01
"""Seconds of callbacks in one turn of a loop, before other work of the loop gets its turn."""
UNFINISHED_POLL_INTERVAL = 0.02
"""Seconds between two turns given to async callbacks that started in a nested loop whose wait has ended and that wait
for something."""

Result = TypeVar("Result")
_callback_loops: list[CallbackLoop] = []
_fallback: list[ThreadCallbackLoop] = []
_thread_loops: WeakSet[ThreadCallbackLoop] = WeakSet()
_with_next_turn: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
"""The loops in which a callback only waits for the next turn."""
_lock = threading.RLock()
# Reentrant: a finalizer, which may stop a ThreadCallbackLoop, can run at any point of any thread.


class CallbackLoop:
    """Runs callbacks in one event loop. ``post`` is callable from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int | None) -> None:
        self.thread = thread
        self._queue: deque[Callable[[], object]] = deque()
        self._loops = [loop]
        self._wake_scheduled = False
        self._unfinished: list[asyncio.AbstractEventLoop] = []
        self._is_polling = False

    @property
    def is_open(self) -> bool:
        """Whether functions that are posted can still run."""
        return not self._loops[0].is_closed()

    def owns(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether ``loop`` is this one, or one that runs nested in it."""
        return loop in self._loops

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` in this loop, after everything that was posted before."""
        self._queue.append(partial(function, *args))
        self._wake()

    def _wake(self) -> None:
        with _lock:
            if self._wake_scheduled:
                return
            try:
                self._loops[-1].call_soon_threadsafe(self._drain)
            except RuntimeError:
                pass  # that loop is closed
            else:
                self._wake_scheduled = True
                return
        queue, self._queue = self._queue, deque()
        for function in queue:
            fallback_loop().post(function)

    def _drain(self) -> None:
        with _lock:
            self._wake_scheduled = False
        until = time.monotonic() + MAX_TURN_SECONDS
        try:
            while self._queue and time.monotonic() <= until:
                self._queue.popleft()()
        finally:
            if self._queue:
                self._wake()

    # ---- while a cell waits ----

    def enter_nested_loop(self) -> asyncio.AbstractEventLoop:
        """A loop for a blocking cell, which occupies the outer loop; callbacks run in it until ``exit_nested_loop``.

        A loop with unfinished callbacks is used again before a new one is created.
        """
        loop = self._unfinished.pop() if self._unfinished else asyncio.new_event_loop()
        self._switch_loop(loop)
        return loop

    def exit_nested_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the nested ``loop``, which ``enter_nested_loop`` returned, after one more turn of it."""
        self._switch_loop(loop)
        self._run_turn(loop)
        if self._unfinished and not self._is_polling:
            self._is_polling = True
            self._loops[0].call_soon_threadsafe(self._run_unfinished)

    def _switch_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        with _lock:
            if loop in self._loops:
                self._loops.remove(loop)
            else:
                self._loops.append(loop)
            self._wake_scheduled = False
        self._wake()

    def _run_unfinished(self) -> None:
        """Run each unfinished loop for one turn, repeatedly, until its tasks are done or the next wait uses it."""
        loops, self._unfinished = self._unfinished, []
        interval = UNFINISHED_POLL_INTERVAL
        for loop in loops:
            _with_next_turn.discard(loop)
            with without_running_loop():
                self._run_turn(loop)
            if loop in _with_next_turn:
                interval = 0.0
        self._is_polling = bool(self._unfinished)
        if self._is_polling:
            asyncio.get_running_loop().call_later(interval, self._run_unfinished)

    def _run_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """One turn of ``loop``, and then what the end of its tasks calls. Without tasks, it is closed."""
        ended = True
        while ended:
            before = asyncio.all_tasks(loop)
            loop.call_soon(loop.stop)
            loop.run_forever()
            ended = bool(before - asyncio.all_tasks(loop))
        if asyncio.all_tasks(loop):  # async callbacks that are suspended
            self._unfinished.append(loop)
        else:
            loop.close()


class ThreadCallbackLoop(CallbackLoop):
    """A loop in a daemon thread of its own, which starts with the first ``post`` and ends with ``stop``."""

    def __init__(self, name: str) -> None:
        super().__init__(asyncio.new_event_loop(), None)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_stopping = False
        _thread_loops.add(self)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        super().post(function, *args)
        with _lock:
            is_first = self.thread is None and self.is_open
            self.thread = self.thread or -1
        if is_first:
            self._thread.start()

    def stop(self) -> None:
        """End the thread after the running callback, without waiting for it."""
        with _lock:
            if self._is_stopping:
                return  # a second stop would end the loop while it ends its tasks
            self._is_stopping = True
            unused, self.thread = self.thread is None, self.thread or -1
        loop = self._loops[0]
        if unused:
            loop.close()
        elif self.is_open:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)

    def _run(self) -> None:
        self.thread = threading.get_ident()
        loop = self._loops[0]
        try:
            loop.run_forever()
        finally:
            self._queue.clear()
            close_loop(loop)


async def next_turn() -> None:
    """Let all else that is due in this loop run first."""
    _with_next_turn.add(asyncio.get_running_loop())
    await asyncio.sleep(0)


def callback_loop() -> CallbackLoop:
    """The loop for callbacks that are registered by the calling thread now."""
    loop = main_loop()
    thread = threading.main_thread().ident
    if loop is None:
        loop = asyncio._get_running_loop()  # noqa: SLF001 - the public function raises without a loop
        thread = threading.get_ident()
    if loop is None or any(known.owns(loop) for known in _thread_loops):
        return fallback_loop()
    with _lock:
        _callback_loops[:] = [known for known in _callback_loops if known.is_open]
        for known in _callback_loops:
            if known.owns(loop):
                return known
        _callback_loops.append(CallbackLoop(loop, thread))
        return _callback_loops[-1]


def fallback_loop() -> ThreadCallbackLoop:
    """The loop for callbacks where no event loop runs, as in a plain script."""
    with _lock:
        if not _fallback or not _fallback[0].is_open:
            _fallback[:] = [ThreadCallbackLoop("bqwidget-callbacks")]
        return _fallback[0]


def wait(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Block until ``coroutine`` ends, and return its result. The callbacks of this thread run meanwhile.

    KeyboardInterrupt ends the wait like any exception of the coroutine.
    """
    with _lock:
        here = [known for known in (*_callback_loops, *_fallback) if known.thread == threading.get_ident()]
        loop_here = next((known for known in here if known.is_open), None)
    with without_running_loop():
        loop = loop_here.enter_nested_loop() if loop_here else asyncio.new_event_loop()
        task = loop.create_task(coroutine)
        try:
            with waiting(loop):
                return loop.run_until_complete(task)
        except (KeyboardInterrupt, BqwidgetError) as error:
            raise error.with_traceback(None) from error.__cause__  # hide internal frames from the user
        finally:
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
            if loop_here:
                loop_here.exit_nested_loop(loop)
            else:
                loop.close()
