"""Group commit without a timer: the work that queued during one commit becomes the next commit."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from bqserver.model import Outcome, Submission


class Batched(Protocol):
    @property
    def batch(self) -> Sequence[object]: ...


class PendingAppend(NamedTuple):
    """``done`` gets the outcomes of ``batch``, in its order. ``size``: its bytes."""

    batch: Sequence[Submission]
    size: int
    done: asyncio.Future[list[Outcome]]


class WriterTask(NamedTuple):
    """Other work for the writer's thread, after the commit it is queued behind. ``done`` gets its result or error."""

    work: Callable[[], Any]
    done: asyncio.Future[Any]
    batch: Sequence[Submission] = ()

    def run(self) -> None:
        try:
            settle = partial(_settle, self.done, self.work())
        except Exception as error:  # noqa: BLE001 - the thread goes on, and the caller gets it
            settle = partial(_settle, self.done, None, error)
        with suppress(RuntimeError):  # the loop is closed
            self.done.get_loop().call_soon_threadsafe(settle)


def _settle(done: asyncio.Future[Any], result: object, error: Exception | None = None) -> None:
    if done.done():
        return  # cancelled
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)


W = TypeVar("W", bound=Batched | None)


def take_batch(first: W, waiting: queue.SimpleQueue[W], max_entries: int) -> list[W]:
    """``first`` and the work queued behind it, up to ``max_entries``. None, which ends the writer, comes last."""
    taken, size = [first], 0
    while (last := taken[-1]) is not None and (size := size + len(last.batch)) < max_entries:
        try:
            taken.append(waiting.get_nowait())
        except queue.Empty:
            break
    return taken
