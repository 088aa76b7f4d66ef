"""Progress of a loop or a job, shown to the room as one live message."""

from __future__ import annotations

import dis
import operator
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from numbers import Real
from threading import Event, get_ident
from types import FrameType, TracebackType
from typing import Any, Generic, Self, TypeVar

from bqwidget._threads.cells import ipython_shell
from bqwidget.errors import BqwidgetError, TrackStopped
from bqwidget.protocol import Ending, printable, truncate, visible

from .arguments import check_count, check_flag, check_text, wrong_type, wrong_value
from .sending import SendMixin
from .writing.lines import MAX_LABEL_LENGTH, error_line
from .writing.progress_message import ProgressMessage, State
from .writing.rate import Clock, ProgressRate, format_duration, to_ms
from .writing.writer import INTERRUPT_ERRORS

ROUNDING = 1e-6
Item = TypeVar("Item")


class ProgressMixin(SendMixin):
    """Neither verb waits for the network. Offline, the current state is sent when the room is open again."""

    def track(
        self, iterable: Iterable[Item], label: str = "progress", *, total: int | None = None, stop: bool = False
    ) -> Track[Item]:
        """Iterate over ``iterable``, and show the room the position, the rate, and the time left.

        ``total``: the number of items, if ``len(iterable)`` does not give it. ``stop``: if a member stops it, as by its
        button, the loop ends before the next item by TrackStopped; without, there is no button. It ends
        with ✓ after the last item, ✗ after an exception or an interrupt, ■ after ``break`` or a stop. Example::

            for step in room.track(range(100), "epoch 3"):
                print(step)
        """
        if not isinstance(iterable, Iterable) and not hasattr(iterable, "__getitem__"):
            example = f"range({iterable})" if isinstance(iterable, int) else "range(100)"
            raise wrong_type("iterable", f"something to iterate over, such as {example}", iterable)
        check_text("label", label, "'epoch 3'", empty=True)
        total = None if total is None else check_count("total", total)
        return Track(self, iterable, label, total, stops=check_flag("stop", stop))

    def report(self, title: str) -> Report:
        """A context manager that shows the room the progress of a job; see ``Report.update``.

        The message ends with ✓, or with ✗ and the first line of the exception, or with ■ if a member asked to stop, as
        ``report.stopped`` tells. Example::

            with room.report("training") as report:
                report.update(0.4, "loss 0.21")
        """
        check_text("title", title, "'training'")
        return Report(self, title)


class Track(Generic[Item]):
    """An iterable that reports its position. Each iteration sets one attribute, and does not read the clock."""

    def __init__(
        self, room: SendMixin, iterable: Iterable[Item], label: str, total: int | None, *, stops: bool
    ) -> None:
        self._room = room
        self._iterable = iterable
        self._label = label
        self._total = operator.length_hint(iterable, -1) if total is None else total
        self._stops = stops
        self._at = -1

    def __len__(self) -> int:
        if self._total < 0:
            raise TypeError(f"{self._label}: the number of items is unknown: pass it as track(..., total=)")
        return self._total

    def __iter__(self) -> Iterator[Item]:
        """Each iteration over it has a message of its own."""
        return self._run(time.monotonic)

    def _run(self, clock: Clock) -> Generator[Item]:
        self._at = -1
        rate = ProgressRate(self._total, clock)
        label, stops = truncate(self._label, MAX_LABEL_LENGTH), self._stops

        def running() -> State:
            done = max(self._at, 0)
            state = self._state(f"{label}\n{rate.line(done)}", done)
            return state._replace(left_ms=rate.left_ms)

        message = ProgressMessage(self._room, running, lambda: self._at, stoppable=stops)
        message.start()

        def end(ending: Ending, sign: str, done: int, *more: str, when: Callable[[], bool] | None = None) -> None:
            text = " · ".join([f"{sign} {label}: {rate.summary(done)}", *more])
            message.finish(self._state(text, done), ending, when=when)

        try:
            for self._at, item in enumerate(self._iterable):  # noqa: B020 - read by the rooms' thread
                yield item
                if not stops or message.stopped_by is None:
                    continue  # a line of its own for the jump, where an interrupt is raised: IPython shows none without
                raise self._stopped(message.stopped_by)
        except GeneratorExit:
            done = max(self._at, 0)
            loop = sys._getframe().f_back  # noqa: SLF001 - the frame of the loop; None at the interpreter's exit
            rate.freeze()
            if loop is None or exited_deliberately(loop):
                end("stopped", "■", done, "stopped")
            else:
                is_caught = _on_cell_error(
                    loop, lambda error: end(_ending(error), _sign(error), done, error_line(error))
                )
                end("failed", "✗", done, "ended by an exception", when=is_caught)
            raise
        except TrackStopped as error:
            end("stopped", "■", self._at + 1, f"stopped by {visible(error.user)}")
            raise
        except BaseException as error:
            end(_ending(error), "✗", max(self._at, 0), error_line(error))
            raise
        else:
            end("done", "✓", self._at + 1)

    def _state(self, text: str, done: int) -> State:
        return State(text, min(1.0, done / self._total) if self._total > 0 else None)

    def _stopped(self, user: str) -> TrackStopped:
        total = f" of {self._total:,}" if self._total >= 0 else ""
        message = f"{printable(user)} stopped {printable(self._label)} after {self._at + 1:,}{total} items"
        return TrackStopped(message, user=user)


class Report:
    """The progress of a job; ``room.report`` returns it."""

    def __init__(self, room: SendMixin, title: str) -> None:
        self._title = truncate(title, MAX_LABEL_LENGTH)
        self._message = ProgressMessage(room, self._running_state, self._progress_parts)
        self._rate = ProgressRate(-1, time.monotonic)
        self._fraction: float | None = None
        self._text = ""
        self._is_open = False

    @property
    def stopped(self) -> bool:
        """Whether a member asked to stop, as by the button of the window: leave the block then.

        Example: ``if report.stopped: print("stopping")``
        """
        return self.stopped_by is not None

    @property
    def stopped_by(self) -> str | None:
        """Who asked to stop; None if no member did. Example: ``if report.stopped: print(report.stopped_by)``"""
        return self._message.stopped_by

    def update(self, fraction: float | None = None, text: str | None = None) -> None:
        """Set the done ``fraction`` (0 to 1) and a short ``text``; None keeps the earlier value.

        Raises ArgumentError for another fraction, BqwidgetError outside of the ``with`` block. Example: ``report.update(0.4, "loss 0.21")``
        """
        if not self._is_open:
            raise BqwidgetError(
                "report.update() works inside its block: with room.report('training') as report: report.update(0.4)"
            )
        if fraction is not None:
            if not isinstance(fraction, Real) or isinstance(fraction, bool):
                raise wrong_type("fraction", "a number from 0 to 1, such as 0.4", fraction)
            if not -ROUNDING <= fraction <= 1 + ROUNDING:
                percent = f"; {fraction:g} % is {fraction / 100:g}" if 1 < fraction <= 100 else ""  # noqa: PLR2004
                raise wrong_value("fraction", fraction, f"it must be from 0 to 1{percent}")
            self._fraction = min(max(float(fraction), 0.0), 1.0)
        if text is not None:
            self._text = truncate(str(text), MAX_LABEL_LENGTH)

    def __enter__(self) -> Self:
        self._rate = ProgressRate(-1, time.monotonic)
        self._message.start()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        elapsed, stopped_by = format_duration(self._rate.elapsed()), self._message.stopped_by
        ending: Ending = "done" if stopped_by is None else "stopped"
        if error is not None:
            ending, sign, parts = _ending(error), _sign(error), [*self._progress_parts(), error_line(error)]
        elif stopped_by is not None:
            sign, parts = "■", [*self._progress_parts(), f"stopped by {visible(stopped_by)} after {elapsed}"]
        else:
            sign, parts = "✓", [f"done in {elapsed}", *([self._text] if self._text else [])]
        text = f"{sign} {self._title}: {' · '.join(parts)}"
        self._message.finish(State(text, self._fraction), ending)

    def _running_state(self) -> State:
        parts, fraction, left_ms = self._progress_parts(), self._fraction, None
        if fraction:
            left_ms = to_ms(self._rate.elapsed() * (1 - fraction) / fraction)
        return State("\n".join([self._title, *([" · ".join(parts)] if parts else [])]), fraction, left_ms)

    def _progress_parts(self) -> list[str]:
        parts = [] if self._fraction is None else [f"{int(self._fraction * 100)} %"]
        return [*parts, self._text] if self._text else parts


_EXIT_OPCODES = ("POP_", "END_FOR", "FOR_ITER", "STORE_", "DELETE_", "RETURN_", "SWAP")


def exited_deliberately(frame: FrameType) -> bool:
    """Whether the loop in ``frame`` ended by ``break`` or ``return``, and not by an exception.

    Python closes the generator in the same way for both. But after an exception the frame's last instruction is
    the one that raised, and not one that drops a value.
    """
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(_EXIT_OPCODES)


def _ending(error: BaseException) -> Ending:
    return "stopped" if isinstance(error, (*INTERRUPT_ERRORS, TrackStopped)) else "failed"


def _sign(error: BaseException) -> str:
    return "■" if isinstance(error, TrackStopped) else "✗"


def _on_cell_error(loop: FrameType, failed: Callable[[BaseException], None]) -> Callable[[], bool] | None:
    """In a notebook: call ``failed(error)`` if an error that passed ``loop`` ends the running cell. None elsewhere.

    Returns a function that tells whether it was caught instead: code of the cell runs on, or the cell has ended.
    """
    shell = ipython_shell()
    if shell is None or not shell.display_trap.is_active:
        return None
    thread, has_ended = get_ident(), Event()

    def ended(result: Any) -> None:
        shell.events.unregister("post_run_cell", ended)
        error = result.error_in_exec
        trace = error.__traceback__ if error is not None else None
        while trace is not None:
            if trace.tb_frame is loop:
                failed(error)
                break
            trace = trace.tb_next
        has_ended.set()  # only now: the rooms' thread may look at it at once

    def is_caught() -> bool:
        return has_ended.is_set() or _runs_cell(sys._current_frames().get(thread))  # noqa: SLF001

    shell.events.register("post_run_cell", ended)
    return is_caught


def _runs_cell(frame: FrameType | None) -> bool:
    """Whether ``frame`` is of a cell's code, or was called by it; while its error is shown, it is not."""
    while frame is not None and frame.f_back is not None:
        caller = frame.f_back
        if caller.f_code.co_name == "run_code" and frame.f_globals.get("__name__") != caller.f_globals.get("__name__"):
            return True
        frame = caller
    return False
