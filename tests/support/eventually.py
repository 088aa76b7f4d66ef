"""Polling for a state of another process, where there is no event to wait for; and something that happens meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread, get_ident
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
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Run ``action`` on a thread once the block waits for an event of its loop; the block ends after it."""
    waiting = get_ident()

    def run() -> None:
        eventually(lambda: sys._current_frames()[waiting].f_code.co_name == "select", what="the wait")
        action()

    thread = Thread(target=run)
    thread.start()
    yield
    thread.join()
