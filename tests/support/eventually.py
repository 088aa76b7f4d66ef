"""Polling for a state of another process, where there is no event to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], timeout: float = 60, what: str = "") -> Found:
    """Returns the first true result of ``look``. Raises AssertionError after ``timeout`` seconds without one."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or look}"
        Event().wait(0.02)
    return found
