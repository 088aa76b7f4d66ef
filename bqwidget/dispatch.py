"""Dispatch: where callbacks run. The thread rule: *your callbacks run on the main thread, one at a time, never in
the middle of a cell, unless that cell awaits or waits; ``background=True`` runs them on a thread of their own.*

A ``Home`` is an event loop in which callbacks run, in the order they came; in a notebook that is the kernel's
own and in IPython's terminal the prompt's, which a running cell occupies, so that callbacks wait for its end
without any lock. Where no loop runs (a plain script), it is one in a thread of ours. ``wait`` is how blocking verbs wait: it lets the callbacks of
this thread's home run meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from bqwidget._threads.cells import OutputContext
from bqwidget._threads.event_loops import close_loop, main_loop, without_running_loop

from .errors import BqwidgetError

MAX_TURN_SECONDS = 0.01
"""Seconds of callbacks in one turn of a home's loop, before the loop's other work gets its turn."""
UNFINISHED_POLL_INTERVAL = 0.02
"""Seconds between two looks after async callbacks that began in a wait that is over."""

Result = TypeVar("Result")
_callback_loops: list[CallbackLoop] = []
_fallback: list[ThreadCallbackLoop] = []
_thread_loops: WeakSet[ThreadCallbackLoop] = WeakSet()
_lock = threading.RLock()
# A finalizer, which may stop a ThreadHome, runs in the middle of anything: hence the R.


class Callback:
    """A user's function with the context it was registered in, where its prints and errors are to be seen.

    ``failed`` is told the error, after it was printed. Calls of an async function are awaited one after
    the other; while one is suspended, the callbacks of others go on.
    """

    def __init__(self, function: Callable[..., object], on_error: Callable[[BaseException], None]) -> None:
        self.function = function
        self._context = copy_context()
        self._output_context = OutputContext()
        self._on_error = on_error
        self._running: asyncio.Task[None] | None = None
        self._queued_calls: deque[tuple[Any, ...]] = deque()

    def __call__(self, *args: Any) -> None:
        """Call it now, in a running loop; or after its own earlier calls."""
        if self._running is not None:
            self._queued_calls.append(args)
            return
        context = self._context.copy()
        try:
            with self._output_context.active():
                result = context.run(self.function, *args)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one callback never stops the others
            self.show_error(error)
            return
        if inspect.isawaitable(result):
            task = asyncio.get_running_loop().create_task(_await(result), context=context)
            self._running = task
            task.add_done_callback(self._done)

    def check(self, predicate: Callable[..., object], *args: Any) -> bool:
        """What a predicate of the user says; one that fails says no, and is shown."""
        try:
            return bool(self._context.copy().run(predicate, *args))
        except Exception as error:  # noqa: BLE001
            self.show_error(error)
            return False

    def show_error(self, error: BaseException) -> None:
        """Print the traceback where the callback was registered, without our own frames."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))
        self._context.copy().run(_print_error, text)
        self._on_error(error)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.show_error(error)
        while self._queued_calls and self._running is None:
            self(*self._queued_calls.popleft())

    def __eq__(self, other: object) -> bool:
        """Equal to its function, so that traitlets finds it when that is to be unobserved."""
        return other is self or other == self.function

    def __hash__(self) -> int:
        return hash(self.function)


class CallbackLoop:
    """The callbacks of one event loop. ``post`` may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int | None) -> None:
        self.thread = thread
        self._queue: deque[Callable[[], object]] = deque()
        self._loops = [loop]
        self._wake_scheduled = False
        self._unfinished: list[asyncio.AbstractEventLoop] = []

    @property
    def is_open(self) -> bool:
        return not self._loops[0].is_closed()

    def owns(self, loop: asyncio.AbstractEventLoop) -> bool:
        return loop in self._loops

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function`` here, after everything that was posted before."""
        self._queue.append(partial(function, *args))
        self._wake()

    def _wake(self) -> None:
        with _lock:
            if self._wake_scheduled:
                return
            try:
                self._loops[-1].call_soon_threadsafe(self._drain)
            except RuntimeError:
                pass  # that loop is over
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
        while self._queue:
            if time.monotonic() > until:
                self._wake()
                return
            self._queue.popleft()()

    # ---- while a cell waits ----

    def enter_nested_loop(self) -> asyncio.AbstractEventLoop:
        """The cell holds the home's loop, so there is another one until ``move_out``.

        One that was left unfinished is taken up again before a new one is made.
        """
        loop = self._unfinished.pop() if self._unfinished else asyncio.new_event_loop()
        self._switch_loop(loop)
        return loop

    def exit_nested_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._switch_loop(loop)
        if asyncio.all_tasks(loop):  # async callbacks that began in this wait, and are suspended
            self._unfinished.append(loop)
            self._loops[0].call_soon_threadsafe(self._run_unfinished)
        else:
            loop.close()

    def _switch_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        with _lock:
            if loop in self._loops:
                self._loops.remove(loop)
            else:
                self._loops.append(loop)
            self._wake_scheduled = False
        self._wake()

    def _run_unfinished(self) -> None:
        """Give what is unfinished a moment, often, until it is done or taken up by the next wait."""
        loops, self._unfinished = self._unfinished, []
        for loop in loops:
            with without_running_loop():
                loop.call_soon(loop.stop)
                loop.run_forever()
            if asyncio.all_tasks(loop):
                self._unfinished.append(loop)
            else:
                loop.close()
        if self._unfinished:
            asyncio.get_running_loop().call_later(UNFINISHED_POLL_INTERVAL, self._run_unfinished)


class ThreadCallbackLoop(CallbackLoop):
    """A home in a daemon thread of its own, which begins with the first post and ends with ``stop``."""

    def __init__(self, name: str) -> None:
        super().__init__(asyncio.new_event_loop(), None)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        _thread_loops.add(self)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        super().post(function, *args)
        with _lock:
            begin = self.thread is None and self.is_open
            self.thread = self.thread or -1
        if begin:
            self._thread.start()

    def stop(self) -> None:
        """End when the callback that runs has ended; the thread isn't waited for."""
        with _lock:
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


def callback_loop() -> CallbackLoop:
    """Where callbacks that are registered here and now will run."""
    loop = main_loop()
    thread = threading.main_thread().ident
    if loop is None:
        loop = asyncio._get_running_loop()  # noqa: SLF001 - the one that doesn't raise
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
    """The home of callbacks where no event loop runs, as in a plain script."""
    with _lock:
        if not _fallback or not _fallback[0].is_open:
            _fallback[:] = [ThreadCallbackLoop("bqwidget-callbacks")]
        return _fallback[0]


def wait(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``coroutine``, blocking; meanwhile the callbacks that live in this thread run.

    KeyboardInterrupt ends it like any exception of the coroutine itself.
    """
    thread = threading.get_ident()
    with _lock:
        loop_here = next(
            (known for known in (*_callback_loops, *_fallback) if known.thread == thread and known.is_open),
            None,
        )
    with without_running_loop():
        loop = loop_here.enter_nested_loop() if loop_here else asyncio.new_event_loop()
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except (KeyboardInterrupt, BqwidgetError) as error:
            raise error.with_traceback(None) from error.__cause__  # how we wait is nobody's business
        finally:
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
            if loop_here:
                loop_here.exit_nested_loop(loop)
            else:
                loop.close()


def _print_error(text: str) -> None:
    sys.stdout.flush()  # so that what was printed before stands before
    print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 - here is where a cell's errors go


async def _await(awaitable: Awaitable[object]) -> None:
    await awaitable
