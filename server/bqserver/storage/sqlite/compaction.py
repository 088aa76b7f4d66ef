"""Removes superseded texts from the files of a log: a commit has hidden them from readers at once.

SQLite overwrites what is deleted (``secure_delete``), but its write-ahead log, the search index and the file of
attachments keep copies of the text until those files are compacted. That takes time, so it is done once for many changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from bqserver.errors import StorageError

from .attachments import SqliteAttachments
from .readers import ReaderPool

COMPACTION_DELAY = 30.0
"""Seconds after a change until the write-ahead log, and the attachments' file, have nothing of the former text."""
SEARCH_COMPACTION_DELAY = 600.0
"""The same for the search index: compacting it takes seconds for a million messages, on the thread of searches."""
RETRY_INTERVAL = 5.0
"""Seconds until the next attempt, while readers keep the write-ahead log in use: each stops the writer for 0.2 s."""

_log = logging.getLogger("bqserver.log")

Work = Callable[[], Awaitable[bool]]
"""Compacts one file. Returns False if it has to be repeated. Raises StorageError."""


class Compactor:
    """Runs each of ``works`` its delay (seconds) after the first change. Called on the event loop."""

    def __init__(self, works: Sequence[tuple[float, Work]]) -> None:
        self._works = works
        self._timers: dict[Work, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[bool]] = set()
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def schedule(self) -> None:
        for delay, work in self._works:
            self._schedule(work, delay)

    async def run(self) -> None:
        """Compact now. Raises StorageError."""
        for _, work in self._works:
            while not await work():  # noqa: ASYNC110 - the files tell no event
                await asyncio.sleep(RETRY_INTERVAL)

    def close(self) -> None:
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _schedule(self, work: Work, delay: float) -> None:
        if work not in self._timers and not self._closed:
            self._timers[work] = self._loop.call_later(delay, self._start, work)

    def _start(self, work: Work) -> None:
        del self._timers[work]
        task = self._loop.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: Work) -> bool:
        try:
            done = await work()
        except StorageError as error:
            done = self._closed
            if not done:
                _log.warning("deleted texts are not removed from the files yet, retrying: %s", error)
        if not done:
            self._schedule(work, RETRY_INTERVAL)
        return done


def log_compactor(truncate: Work, attachments: SqliteAttachments, readers: ReaderPool) -> Compactor:
    """The compactor of a log's files. ``truncate``: truncates the write-ahead log, on the writer's thread."""
    return Compactor(
        [
            (COMPACTION_DELAY, truncate),
            (COMPACTION_DELAY, attachments.compact),
            (SEARCH_COMPACTION_DELAY, readers.compact_search),
        ]
    )
