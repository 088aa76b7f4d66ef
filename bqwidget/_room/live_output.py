"""Live output: a cell's output that is recomputed when the room's messages change, under the thread rule."""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar, overload

from bqwidget._client.message_list import MessageSnapshot
from bqwidget._threads.callback import Callback
from bqwidget._threads.cell_registry import CALLBACK_GROUP, replace_previous
from bqwidget._threads.cells import ipython_shell
from bqwidget._threads.figures import open_figures, show_later, take_figure
from bqwidget._threads.weak import weak
from bqwidget.dispatch import CallbackLoop
from bqwidget.protocol import AppendFrame, ChangeFrame, Hello, MessageFrame, ServerFrame

from .arguments import check_function, check_number
from .callbacks import loop_guard
from .receiving import ReceiveMixin

DEFAULT_PAUSE = 0.1
"""Seconds from a change to the recomputation, which covers all changes until then."""

LiveFunction = TypeVar("LiveFunction", bound=Callable[[MessageSnapshot], object])


class LiveOutputMixin(ReceiveMixin):
    """``@room.live``: the output of a function of the messages, kept up to date."""

    def __init__(self) -> None:
        super().__init__()
        self._live_outputs: list[LiveOutput] = []

    @overload
    def live(self, function: LiveFunction, *, pause: float = DEFAULT_PAUSE) -> LiveFunction: ...
    @overload
    def live(self, *, pause: float = DEFAULT_PAUSE) -> Callable[[LiveFunction], LiveFunction]: ...

    def live(self, function: Callable[[MessageSnapshot], object] | None = None, *, pause: float = DEFAULT_PAUSE) -> Any:
        """Show ``function(messages)`` as the output of this cell, and update it when messages change; a decorator.

        ``messages``: the list ``room.messages``. ``pause``: the least seconds between two computations, which take
        at most half of the time. The function may be async. None shows nothing, or the figure that it drew; an error is shown instead of the
        output until the next success. Running the cell again replaces it. Returns ``function``. Example::

            @room.live
            def newest(messages):
                return [message.text for message in messages[-5:]]
        """
        pause = check_number("pause", pause, "seconds")
        if function is None:
            return partial(self.live, pause=pause)
        check_function("function", function, "a function of the messages", "live", "messages")
        live = LiveOutput(function, lambda: self.messages, partial(self._on_callback_error, function), pause)
        replace_previous(live, "live", weak(self._remove_live_output), group=CALLBACK_GROUP)
        live.callback, live.loop = self._make_callback(live.recompute), self._callback_loop
        self._live_outputs = [*self._live_outputs, live]  # before the messages are read: later changes count
        self._update_lifetime()
        live.start()
        return function

    def _remove_live_output(self, live: LiveOutput) -> None:
        live.stop()
        self._live_outputs = [other for other in self._live_outputs if other is not live]
        self._update_lifetime()

    def _has_callbacks(self) -> bool:
        return bool(self._live_outputs) or super()._has_callbacks()

    # ---- on the rooms' thread ----

    def _refresh_live_outputs(self, accepted: Sequence[ServerFrame]) -> None:
        """After every step of the connection."""
        changed = any(isinstance(frame, MessageFrame | ChangeFrame | AppendFrame | Hello) for frame in accepted)
        closed = self._connection.session.state == "closed"
        for live in self._live_outputs:
            if changed:
                live.on_change()
            if closed:  # the last update
                live.flush()


class LiveOutput:
    """One output. ``on_change`` and ``flush`` run on the rooms' thread, ``recompute`` in its callback loop."""

    callback: Callback
    """Calls ``recompute``, in ``loop``."""
    loop: CallbackLoop

    def __init__(
        self,
        function: Callable[[MessageSnapshot], object],
        messages: Callable[[], MessageSnapshot],
        on_error: Callable[[BaseException], None],
        pause: float,
    ) -> None:
        self._function = function
        self._messages = messages
        self._on_error = on_error
        self._pause = pause
        self._cost = 0.0
        self._computed: MessageSnapshot | None = None
        """The messages of the last computation."""
        self._id = f"bqwidget-{token_hex(8)}"
        self._scheduled = False
        self._is_stopped = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Show the output for the first time: now, in the running cell; of an async function, soon."""
        if inspect.iscoroutinefunction(self._function):
            self._show(None, update=False)
            self.loop.post(self.callback)
        else:
            value = self._compute()
            self._show(value, update=False)

    def stop(self) -> None:
        self._is_stopped = True

    def on_change(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            pause = max(self._pause, self._cost)
            self._timer = asyncio.get_running_loop().call_later(pause, self.flush)

    def flush(self) -> None:
        """Recompute now if that is scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.loop.post(self.callback)

    def recompute(self) -> Awaitable[None] | None:
        self._scheduled = False  # before the messages are read: later changes schedule it again
        messages = self._messages()
        if self._is_stopped or messages == self._computed:
            return None
        loop_guard.begin(messages)
        figures = open_figures()
        value = self._compute()
        if inspect.isawaitable(value):
            return self._finish(value, figures)
        self._show(value)
        return None

    async def _finish(self, value: Awaitable[object], figures: set[int]) -> None:
        try:
            with show_later():
                result = await value
            self._show(take_figure(result, figures))
        except Exception as error:  # noqa: BLE001 - shown as the output
            self._show(self._error_output(error))

    def _compute(self) -> object:
        started, figures = time.perf_counter(), open_figures()
        try:
            self._computed = self._messages()
            with show_later():
                value = self._function(self._computed)
            return value if inspect.isawaitable(value) else take_figure(value, figures)
        except Exception as error:  # noqa: BLE001 - shown as the output
            take_figure(None, figures)
            return self._error_output(error)
        finally:
            self._cost = time.perf_counter() - started

    def _error_output(self, error: BaseException) -> ErrorOutput:
        self._on_error(error)
        return ErrorOutput(error)

    def _show(self, value: object, *, update: bool = True) -> None:
        output = self.callback.output_context
        if output.show_in_marimo(value.text if isinstance(value, ErrorOutput) else value, again=True):
            return
        import IPython.display  # noqa: PLC0415 - needed only to show an output

        raw = ipython_shell() is not None and (value is None or isinstance(value, ErrorOutput))
        if raw:
            value = value.bundle if isinstance(value, ErrorOutput) else {"text/plain": ""}
        elif isinstance(value, ErrorOutput):  # in a script, which prints it
            value = value.text.rstrip()
        elif value is None:
            return
        IPython.display.display(value, raw=raw, display_id=self._id, update=update)  # type: ignore[no-untyped-call]


class ErrorOutput:
    """An error as an output: a traceback that begins at the user's function, red in a notebook."""

    def __init__(self, error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
            trace = trace.tb_next
        self.text = "".join(traceback.format_exception(type(error), error, trace))
        self.bundle = {"application/vnd.jupyter.stderr": self.text, "text/plain": self.text}
