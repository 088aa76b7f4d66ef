"""Progress of a loop or a job, shown to the room as one message that is edited in place."""

from __future__ import annotations

import dis
import operator
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from numbers import Real
from types import FrameType, TracebackType
from typing import Any, Generic, Self, TypeVar

from bqwidget._threads.cells import ipython_shell
from bqwidget.errors import BqwidgetError

from .arguments import check_count, check_text, wrong_type, wrong_value
from .sending import SendMixin
from .status_message import StatusMessage
from .writing.lines import error_line, truncate

RATE_WINDOW = 10.0
"""Seconds over which the rate is measured."""
ROUNDING = 1e-6
GONE = "its kernel is gone"
"""The end of a message whose process ended first; the server writes it."""

Item = TypeVar("Item")
Clock = Callable[[], float]


class ProgressMixin(SendMixin):
    """Neither verb waits for the network. Offline, the current state is sent when the room is open again."""

    def track(self, iterable: Iterable[Item], label: str = "progress", *, total: int | None = None) -> Track[Item]:
        """Iterate over ``iterable``, and show the room the position, the rate, and the time left.

        ``total``: the number of items, if ``len(iterable)`` does not give it. The message ends with ✓ after the last
        item, ✗ after an exception or an interrupt, ■ after ``break``. Example::

            for step in room.track(range(100), "epoch 3"):
                print(step)
        """
        if not isinstance(iterable, Iterable) and not hasattr(iterable, "__getitem__"):
            example = f"range({iterable})" if isinstance(iterable, int) else "range(100)"
            raise wrong_type("iterable", f"something to iterate over, such as {example}", iterable)
        check_text("label", label, "'epoch 3'", empty=True)
        return Track(self, iterable, label, None if total is None else check_count("total", total))

    def report(self, title: str) -> Report:
        """A context manager that shows the room the progress of a job; see ``Report.update``.

        The message ends with ✓, or with ✗ and the first line of the exception. Example::

            with room.report("training") as report:
                report.update(0.4, "loss 0.21")
        """
        check_text("title", title, "'training'")
        return Report(self, title)


class Track(Generic[Item]):
    """An iterable that reports its position. Each iteration sets one attribute, and does not read the clock."""

    def __init__(self, room: SendMixin, iterable: Iterable[Item], label: str, total: int | None) -> None:
        self._room = room
        self._iterable = iterable
        self._label = label
        self._total = operator.length_hint(iterable, -1) if total is None else total
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
        label = truncate(self._label)
        message = StatusMessage(
            self._room,
            text=lambda: f"⏳ {label}: {rate.line(max(self._at, 0))}",
            will=lambda: f"✗ {label}: {rate.summary(max(self._at, 0))} · {GONE}",
            state=lambda: self._at,
        )
        message.start()

        def end(sign: str, summary: str, *more: str) -> None:
            message.finish(" · ".join([f"{sign} {label}: {summary}", *more]))

        try:
            for self._at, item in enumerate(self._iterable):  # noqa: B020 - read by the room's thread
                yield item
        except GeneratorExit:
            summary = rate.summary(max(self._at, 0))
            loop = sys._getframe().f_back  # noqa: SLF001 - the frame of the loop; None at the interpreter's exit
            if loop is None or exited_deliberately(loop):
                end("■", summary, "stopped")
            else:
                end("✗", summary, "ended by an exception")
            if loop is not None:
                _on_cell_error(loop, lambda error: end("✗", summary, error_line(error)))
            raise
        except BaseException as error:
            end("✗", rate.summary(max(self._at, 0)), error_line(error))
            raise
        else:
            end("✓", rate.summary(self._at + 1))


class Report:
    """The progress of a job; ``room.report`` returns it."""

    def __init__(self, room: SendMixin, title: str) -> None:
        self._title = title
        self._status_message = StatusMessage(room, self._line, self._will, state=self._progress_parts)
        self._rate = ProgressRate(-1, time.monotonic)
        self._fraction: float | None = None
        self._text = ""
        self._is_open = False

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
            self._text = truncate(str(text))

    def __enter__(self) -> Self:
        self._rate = ProgressRate(-1, time.monotonic)
        self._status_message.start()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if error is None:
            parts = [
                f"done in {format_duration(self._rate.elapsed())}",
                *([self._text] if self._text else []),
            ]
        else:
            parts = [*self._progress_parts(), error_line(error)]
        sign = "✓" if error is None else "✗"
        self._status_message.finish(f"{sign} {truncate(self._title)}: {' · '.join(parts)}")

    def _line(self) -> str:
        parts = self._progress_parts()
        if self._fraction:
            left = self._rate.elapsed() * (1 - self._fraction) / self._fraction
            parts.append(f"{format_duration(left)} left")
        return f"⏳ {truncate(self._title)}" + (": " if parts else "") + " · ".join(parts)

    def _will(self) -> str:
        return f"✗ {truncate(self._title)}: {' · '.join([*self._progress_parts(), GONE])}"

    def _progress_parts(self) -> list[str]:
        parts = [] if self._fraction is None else [f"{int(self._fraction * 100)} %"]
        return [*parts, self._text] if self._text else parts


class ProgressRate:
    """Position and rate as text. ``total`` below 0: unknown."""

    def __init__(self, total: int, clock: Clock) -> None:
        self._total = total
        self._clock = clock
        self._started_at = clock()
        self._samples: deque[tuple[float, int]] = deque([(self._started_at, 0)])

    def elapsed(self) -> float:
        return self._clock() - self._started_at

    def line(self, done: int) -> str:
        """The text after ``done`` items, during the loop."""
        parts = [self._count(done)]
        rate = self._rate(done)
        if rate > 0:
            parts.append(f"{format_number(rate)}/s")
            if self._total > done:
                parts.append(f"{format_duration((self._total - done) / rate)} left")
        return " · ".join(parts)

    def summary(self, done: int) -> str:
        """The text at the end of the loop."""
        elapsed = self.elapsed()
        rate = f" · {format_number(done / elapsed)}/s" if done and elapsed > 0 else ""
        return f"{self._count(done)} in {format_duration(elapsed)}{rate}"

    def _count(self, done: int) -> str:
        if self._total <= 0:
            return f"{done:,}"
        return f"{min(100, 100 * done // self._total)} % · {done:,}/{self._total:,}"

    def _rate(self, done: int) -> float:
        """Items per second, over the last RATE_WINDOW seconds."""
        now = self._clock()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_WINDOW:  # noqa: PLR2004 - the two ends
            self._samples.popleft()
        since, before = self._samples[0]
        return (done - before) / (now - since) if now > since else 0.0


def format_duration(seconds: float) -> str:
    """``0.42 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.2g} s" if seconds >= 0.01 else "0 s"  # noqa: PLR2004
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004


_EXIT_OPCODES = ("POP_", "END_FOR", "FOR_ITER", "STORE_", "DELETE_", "RETURN_", "SWAP")


def exited_deliberately(frame: FrameType) -> bool:
    """Whether the loop in ``frame`` ended by ``break`` or ``return``, and not by an exception.

    Python closes the generator in the same way for both. But after an exception the frame's last instruction is
    the one that raised, and not one that drops a value.
    """
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(_EXIT_OPCODES)


def _on_cell_error(frame: FrameType, failed: Callable[[BaseException], None]) -> None:
    """In a notebook: call ``failed(error)`` if an error that passed ``frame`` ends the running cell."""
    shell = ipython_shell()
    if shell is None or not shell.display_trap.is_active:
        return

    def ended(result: Any) -> None:
        shell.events.unregister("post_run_cell", ended)
        error = result.error_in_exec
        trace = error.__traceback__ if error is not None else None
        while trace is not None:
            if trace.tb_frame is frame:
                failed(error)
                return
            trace = trace.tb_next

    shell.events.register("post_run_cell", ended)
