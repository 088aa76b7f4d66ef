"""The size of the chaos tests: BQWIDGET_CHAOS, by default 1 (seconds per test); 100 checks the documented numbers."""

from __future__ import annotations

import os

SIZE = float(os.environ.get("BQWIDGET_CHAOS", "1"))


def scaled(small: int, large: int) -> int:
    """``large`` scaled by BQWIDGET_CHAOS / 100, and at least ``small``."""
    return max(small, round(large * SIZE / 100))


def seconds(small: float) -> float:
    """A test's time limit in seconds: ``small`` at size 1, in proportion above."""
    return small * max(1.0, SIZE)
