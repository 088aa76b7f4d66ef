"""Polling for a state of another process, where there is no event to wait for; and something that happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Timer
from typing import TypeVar

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], timeout: float = 60, what: str = "") -> Found:
    """Returns the first true result of ``look``. Raises AssertionError after ``timeout`` seconds without one."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or look}"
        Event().wait(0.02)
    return found


@contextmanager
def meanwhile(action: Callable[[], object], delay: float = 0.05) -> Iterator[None]:
    """Run ``action`` on a thread ``delay`` seconds after the block began; the block ends after it."""
    timer = Timer(delay, action)
    timer.start()
    yield
    timer.join()
