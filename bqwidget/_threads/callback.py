"""Callback: a user's function, called in the context in which it was registered."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

from .cells import OutputContext
from .figures import HeldFigures, open_figures, show_new_figures
from .interrupts import INTERRUPT_REASON, InterruptibleSteps, interruptible, suspendable


class Callback:
    """Calls ``function`` so that its output and its errors appear in the cell that registered it.

    ``on_error(error)`` is called after the traceback was printed. In the function's context, ``before(*args)`` is
    called first, and at last ``on_result(result, figures, *args)``, which may return an awaitable, with the figures that
    were open before. Calls that await run one after the other; while one is suspended, other callbacks run.
    """

    def __init__(
        self,
        function: Callable[..., object],
        on_error: Callable[[BaseException], None],
        before: Callable[..., None] | None = None,
        on_result: Callable[..., object] | None = None,
    ) -> None:
        self.function = function
        self._on_result = on_result
        self._context = copy_context()
        self.output_context = OutputContext()
        """Where the function was registered."""
        self.interrupted = False
        """Whether the last call was interrupted."""
        self._on_error = on_error
        self._before = before
        self._running: asyncio.Task[BaseException | None] | None = None
        self._queued_calls: deque[tuple[Any, ...]] = deque()

    def __call__(self, *args: Any) -> None:
        """Call the function now, in the running loop, or after its own earlier calls have ended."""
        if self._running is not None:
            self._queued_calls.append(args)
            return
        self.interrupted = False
        context = self._context.copy()
        if self._before is not None:
            context.run(self._before, *args)
        try:
            with self.output_context.active(), interruptible():
                figures, result = open_figures(), None
                try:
                    result = context.run(self.function, *args)
                    if self._on_result is not None:
                        result = context.run(self._on_result, result, figures, *args)
                finally:
                    if not inspect.isawaitable(result):
                        context.run(show_new_figures, figures, self.output_context)
        except BaseException as error:  # noqa: BLE001 - an error in one callback never stops the others
            self.show_error(error)
            return
        if inspect.isawaitable(result):
            task = asyncio.get_running_loop().create_task(self._await(result), context=context)
            self._running = task
            suspendable(task)
            task.add_done_callback(self._done)

    @property
    def is_running(self) -> bool:
        """Whether a call awaits something."""
        return self._running is not None

    def check(self, predicate: Callable[..., object], *args: Any) -> bool:
        """The truth of the user's ``predicate(*args)``; False if it raises, and then its error is shown."""
        try:
            with interruptible():
                return bool(self._context.copy().run(predicate, *args))
        except BaseException as error:  # noqa: BLE001
            self.show_error(error)
            return False

    def show_error(self, error: BaseException) -> None:
        """Print the traceback where the callback was registered, without the frames around the callback."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__package__") in _HIDDEN_PACKAGES:
            trace = trace.tb_next
        shown = traceback.TracebackException(type(error), error, trace)
        if isinstance(error, KeyboardInterrupt):  # only what the user wrote
            written = [frame for frame in shown.stack if not Path(frame.filename).is_relative_to(_PACKAGE)]
            shown.stack = traceback.StackSummary.from_list(written)
        text = "".join(shown.format())
        self.interrupted = self.interrupted or isinstance(error, KeyboardInterrupt)
        with self.output_context.active():
            self._context.copy().run(_print_error, text)
        self._on_error(error)

    async def _await(self, awaitable: Awaitable[object]) -> BaseException | None:
        """Run ``awaitable``, show its figures, and return an error that would end the event loop."""
        figures = HeldFigures()

        @contextmanager
        def step() -> Iterator[None]:
            with self.output_context.active(), figures.step():
                yield

        try:
            await InterruptibleSteps(awaitable, step)
        except (KeyboardInterrupt, SystemExit) as error:
            return error
        finally:
            figures.show(self.output_context)
        return None

    def _done(self, task: asyncio.Task[BaseException | None]) -> None:
        self._running = None
        try:
            error = task.exception() or task.result()
        except asyncio.CancelledError as cancelled:  # its loop was closed, or
            error = KeyboardInterrupt() if INTERRUPT_REASON in cancelled.args else None
        if error is not None:
            self.show_error(error)
        if self.interrupted:
            self._queued_calls.clear()
        while self._queued_calls and self._running is None:
            self(*self._queued_calls.popleft())

    def __eq__(self, other: object) -> bool:
        """Equal to its function, so that traitlets' ``unobserve(function)`` finds it."""
        return other is self or other == self.function

    def __hash__(self) -> int:
        return hash(self.function)


def _print_error(text: str) -> None:
    sys.stdout.flush()  # keep the order of what was printed before
    print(text, end="", file=sys.stderr, flush=True)  # noqa: T201 - errors of a cell belong into its output


_HIDDEN_PACKAGES = (__package__, "bqwidget._room.writing", "bqwidget._room.commands")
_PACKAGE = Path(__file__).parents[1]
