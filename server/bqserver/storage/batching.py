"""Group commit without a timer: the work that queued during one commit becomes the next commit."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from bqserver.model import Outcome, Submission


class Batched(Protocol):
    @property
    def batch(self) -> Sequence[object]: ...


class PendingAppend(NamedTuple):
    """``done`` gets the outcomes of ``batch``, in its order. ``size``: its bytes."""

    batch: Sequence[Submission]
    size: int
    done: asyncio.Future[list[Outcome]]
    compact: bool = False
    """Truncate the write-ahead log after this commit."""


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
