"""Progress: how far a loop or a job is, as everyone in the room sees it: one message, edited in place."""

from __future__ import annotations

import dis
import operator
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, Generic, Self, TypeVar

from bqwidget.errors import BqwidgetError

from .sending import SendMixin
from .status_message import StatusMessage

MAX_LABEL_LENGTH = 200
"""Characters of a label, a report's text, or an error's line."""
RATE_WINDOW = 10.0
"""Seconds over which the rate is measured."""
ROUNDING = 1e-6

Item = TypeVar("Item")
Clock = Callable[[], float]


class ProgressMixin(SendMixin):
    """The verbs. Neither waits for the network; both work offline and then tell where things stand."""

    def track(
        self, iterable: Iterable[Item], label: str = "progress", *, total: int | None = None
    ) -> Track[Item]:
        """Go through ``iterable`` and let the room see how far it is, how fast, and when it will be done.

        ``total``: how many there will be, where ``len(iterable)`` can't say. A loop that runs to its end
        shows ✓, one that an exception or an interrupt ends ✗, one that is left by ``break`` ■.
        """
        return Track(self, iterable, label, total)

    def report(self, title: str) -> Report:
        """``with room.report("training") as report: report.update(0.4, "loss 0.21")``.

        It ends with ✓, or with ✗ and the exception's one line.
        """
        return Report(self, title)


class Track(Generic[Item]):
    """An iterable that tells how far it is. An iteration costs one attribute, and never looks at the clock."""

    def __init__(self, room: SendMixin, iterable: Iterable[Item], label: str, total: int | None) -> None:
        self._room = room
        self._iterable = iterable
        self._label = label
        self._total = operator.length_hint(iterable, -1) if total is None else total
        self._at = -1

    def __len__(self) -> int:
        if self._total < 0:
            raise TypeError(f"{self._label}: how many there will be is not known: track(..., total=)")
        return self._total

    def __iter__(self) -> Iterator[Item]:
        """Each time a message of its own."""
        return self._run(time.monotonic)

    def _run(self, clock: Clock) -> Generator[Item]:
        self._at = -1
        pace = ProgressRate(self._total, clock)
        bulletin = StatusMessage(
            self._room,
            lambda: f"⏳ {truncate(self._label)}: {pace.line(max(self._at, 0))}",
            state=lambda: self._at,
        )
        bulletin.start()

        def end(sign: str, stood: str, *more: str) -> None:
            bulletin.finish(" · ".join([f"{sign} {truncate(self._label)}: {stood}", *more]))

        try:
            for self._at, item in enumerate(self._iterable):  # noqa: B020 - the count is for the other thread
                yield item
        except GeneratorExit:
            stood = pace.summary(max(self._at, 0))
            loop = sys._getframe().f_back  # noqa: SLF001 - it has let go of us; None: at the interpreter's end
            if loop is None or exited_deliberately(loop):
                end("■", stood, "stopped")
            else:
                end("✗", stood, "ended by an exception")
            if loop is not None:
                _on_cell_error(loop, lambda error: end("✗", stood, error_line(error)))
            raise
        except BaseException as error:
            end("✗", pace.summary(max(self._at, 0)), error_line(error))
            raise
        else:
            end("✓", pace.summary(self._at + 1))


class Report:
    """A job's progress, told by hand."""

    def __init__(self, room: SendMixin, title: str) -> None:
        self._title = title
        self._status_message = StatusMessage(room, self._line, state=self._progress_parts)
        self._rate = ProgressRate(-1, time.monotonic)
        self._fraction: float | None = None
        self._text = ""

    def update(self, fraction: float | None = None, text: str | None = None) -> None:
        """``fraction`` of the way, 0 to 1; ``text``: what there is to say. What isn't given stays as it is."""
        if fraction is not None:
            if not -ROUNDING <= fraction <= 1 + ROUNDING:
                raise BqwidgetError(f"fraction is {fraction!r}: how much is done, from 0 to 1")
            self._fraction = min(max(float(fraction), 0.0), 1.0)
        if text is not None:
            self._text = truncate(str(text))

    def __enter__(self) -> Self:
        self._rate = ProgressRate(-1, time.monotonic)
        self._status_message.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        title = truncate(self._title)
        if error is None:
            said = [self._text] if self._text else []
            self._status_message.finish(
                " · ".join([f"✓ {title}: done in {format_duration(self._rate.elapsed())}", *said])
            )
        else:
            self._status_message.finish(
                f"✗ {title}: " + " · ".join([*self._progress_parts(), error_line(error)])
            )

    def _line(self) -> str:
        said = self._progress_parts()
        if self._fraction:
            left = self._rate.elapsed() * (1 - self._fraction) / self._fraction
            said.append(f"{format_duration(left)} left")
        return f"⏳ {truncate(self._title)}" + (": " if said else "") + " · ".join(said)

    def _progress_parts(self) -> list[str]:
        said = [] if self._fraction is None else [f"{int(self._fraction * 100)} %"]
        return [*said, self._text] if self._text else said


class ProgressRate:
    """How fast it goes, in words. ``total`` below 0: nobody knows how many there will be."""

    def __init__(self, total: int, clock: Clock) -> None:
        self._total = total
        self._clock = clock
        self._started_at = clock()
        self._samples: deque[tuple[float, int]] = deque([(self._started_at, 0)])

    def elapsed(self) -> float:
        return self._clock() - self._started_at

    def line(self, done: int) -> str:
        """Where it stands after ``done``: as it goes along."""
        said = [self._count(done)]
        rate = self._rate(done)
        if rate > 0:
            said.append(f"{format_number(rate)}/s")
            if self._total > done:
                said.append(f"{format_duration((self._total - done) / rate)} left")
        return " · ".join(said)

    def summary(self, done: int) -> str:
        """Where it stood in the end."""
        elapsed = self.elapsed()
        rate = f" · {format_number(done / elapsed)}/s" if done and elapsed > 0 else ""
        return f"{self._count(done)} in {format_duration(elapsed)}{rate}"

    def _count(self, done: int) -> str:
        if self._total <= 0:
            return f"{done:,}"
        return f"{min(100, 100 * done // self._total)} % · {done:,}/{self._total:,}"

    def _rate(self, done: int) -> float:
        """Per second, over the last WINDOW seconds."""
        now = self._clock()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_WINDOW:  # noqa: PLR2004 - the two ends
            self._samples.popleft()
        since, before = self._samples[0]
        return (done - before) / (now - since) if now > since else 0.0


def truncate(text: str) -> str:
    return text if len(text) <= MAX_LABEL_LENGTH else text[: MAX_LABEL_LENGTH - 1] + "…"


def error_line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    said = str(error).strip().splitlines()
    return truncate(f"{type(error).__name__}: {said[0]}" if said else type(error).__name__)


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
    """Whether the loop in ``frame`` let go of its iterator by itself, as ``break`` and ``return`` do.

    Python closes a generator in the same way for an exception that passes its loop, and doesn't say so. But
    the frame then still stands where that was raised, and not at an instruction that drops a value.
    """
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(_EXIT_OPCODES)


def _on_cell_error(frame: FrameType, failed: Callable[[BaseException], None]) -> None:
    """In a notebook, tell ``failed`` the error that ended the running cell, if it has passed ``frame``."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
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
