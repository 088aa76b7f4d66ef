"""Gathering: what queued while a writer's last commit ran is its next one, without any timer."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Batched(Protocol):
    @property
    def batch(self) -> Sequence[object]: ...


W = TypeVar("W", bound=Batched)


def take_batch(first: W | None, waiting: queue.SimpleQueue[W | None], most: int) -> list[W | None]:
    """``first`` and what waits behind it, until ``most`` entries are reached; None, the writer's end, is the last."""
    works, size = [first], 0
    while (last := works[-1]) is not None and (size := size + len(last.batch)) < most:
        try:
            works.append(waiting.get_nowait())
        except queue.Empty:
            break
    return works
