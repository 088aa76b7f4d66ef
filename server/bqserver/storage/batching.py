"""Group commit without a timer: the work that queued during one commit becomes the next commit."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Batched(Protocol):
    @property
    def batch(self) -> Sequence[object]: ...


W = TypeVar("W", bound=Batched)


def take_batch(first: W | None, waiting: queue.SimpleQueue[W | None], max_entries: int) -> list[W | None]:
    """``first`` and the work queued behind it, up to ``max_entries``. None, which ends the writer, comes last."""
    taken, size = [first], 0
    while (last := taken[-1]) is not None and (size := size + len(last.batch)) < max_entries:
        try:
            taken.append(waiting.get_nowait())
        except queue.Empty:
            break
    return taken
