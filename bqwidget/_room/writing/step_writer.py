"""StepWriter: one step of the work behind a live message, which others see running and then done or failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Literal, Self

from bqwidget._room.arguments import check_text
from bqwidget.errors import BqwidgetError
from bqwidget.protocol import MAX_STEP_TEXT, MAX_STEP_TITLE, SetStep, truncate

from .lines import error_line

SEND_INTERVAL = 2.0
"""Seconds between two entries of a running step whose text grows: the log keeps each of them."""


class StepWriter:
    """``out.step`` returns it. A context manager, also for ``async with``."""

    def __init__(self, number: str, title: str, send: Callable[[SetStep], None]) -> None:
        self._id = number
        self._title = truncate(title, MAX_STEP_TITLE)
        self._send = send
        self._text = ""
        self._lock = Lock()
        self._is_open = False
        self._started_at = self._sent_at = 0.0

    def append(self, text: str) -> None:
        """Add ``text`` to what the step shows, which is cut to 4,000 characters.

        While it runs, others see it at most every two seconds. Raises BqwidgetError outside of the block.
        Example: ``step.append("3 hits")``
        """
        check_text("text", text, "'3 hits'", empty=True)
        with self._lock:
            if not self._is_open:
                raise BqwidgetError("a step's text is written inside of its block: with out.step('search') as step:")
            self._text = truncate(self._text + str.__str__(text), MAX_STEP_TEXT)
            if time.monotonic() - self._sent_at >= SEND_INTERVAL:
                self._show("running")

    def __enter__(self) -> Self:
        self._started_at, self._is_open = time.monotonic(), True
        self._show("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_open = False
            if error is None:
                self._show("done")
                return
            line = error_line(error)
            kept = self._text[: MAX_STEP_TEXT - len(line) - 1]
            self._text = f"{kept}\n{line}" if kept else line
            self._show("failed")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _show(self, state: Literal["running", "done", "failed"]) -> None:
        self._sent_at = time.monotonic()
        ms = None if state == "running" else int((self._sent_at - self._started_at) * 1000)
        text = self._text or None
        self._send(SetStep(cid="", target=0, id=self._id, title=self._title, state=state, text=text, ms=ms))
