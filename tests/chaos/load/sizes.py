"""How big the chaos tests are: BQWIDGET_CHAOS, 1 by default (seconds each); 100 is the size of the claims."""

from __future__ import annotations

import os

SIZE = float(os.environ.get("BQWIDGET_CHAOS", "1"))


def scaled(small: int, large: int) -> int:
    """``small`` at BQWIDGET_CHAOS=1, ``large`` at 100, in proportion between and beyond."""
    return max(small, round(large * SIZE / 100))


def seconds(small: float) -> float:
    """A test's time limit: ``small`` at size 1, more in proportion."""
    return small * max(1.0, SIZE)
