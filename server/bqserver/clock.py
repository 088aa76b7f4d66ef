"""The server's present time for deadlines. Setting the system's clock does not change it while the server runs."""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":

    def _elapsed() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)  # counts a suspended machine too
else:
    _elapsed = time.monotonic

_STARTED_AT = time.time() - _elapsed()


def steady_time() -> float:
    """Seconds since the epoch by the clock as it was when the server started."""
    return _STARTED_AT + _elapsed()


def steady_time_ms() -> int:
    return int(steady_time() * 1000)
