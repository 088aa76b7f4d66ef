"""Threads that read a SQLite log while it is written: each has its own connection, and one runs searches."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bqserver.errors import ServerStopping, StorageError

from .schema import connect, explain
from .search import SearchIndex, index_path

READER_THREADS = 2
STEPS_BETWEEN_CHECKS = 10_000
"""Instructions of SQLite, well below a millisecond, after which a query looks whether it was cancelled."""

_T = TypeVar("_T")


class ReaderPool:
    """Runs queries on the existing file ``path``. Called on the event loop. Raises StorageError.

    ``check_files`` raises StorageError if ``path`` now names another file, which is then not opened.
    """

    def __init__(self, path: Path, check_files: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._check_files = check_files
        self._closing = False
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READER_THREADS, "bqserver-read")
        self._searcher = ThreadPoolExecutor(1, "bqserver-search")
        self._index: SearchIndex | None = None
        self._queries: set[_Query] = set()
        self._loop = asyncio.get_running_loop()

    async def read(self, query: Callable[..., _T], *args: Any) -> _T:
        """Returns ``query(connection, *args)``."""
        return await self._submit(self._readers, self._run, query, args)

    async def search(self, room: str, words: str, limit: int) -> list[bytes]:
        """Full-text search on its own thread: building the index may take long, and reads don't wait for it. Searches of
        other rooms run between two steps of that.
        """
        while await self._submit(self._searcher, self._with_index, SearchIndex.update, room):
            pass
        return await self._submit(self._searcher, self._with_index, SearchIndex.search, room, words, limit)

    async def compact_search(self) -> bool:
        """Remove superseded texts from the search index, if there is one. Returns False if it has to be repeated."""
        if not self._has_index():
            return True
        for room in await self._submit(self._searcher, self._with_index, SearchIndex.rooms):
            while await self._submit(self._searcher, self._with_index, SearchIndex.update, room):
                pass
        return await self._submit(self._searcher, self._with_index, SearchIndex.compact)

    async def close(self) -> None:
        """Interrupt queries, then close the connections."""
        self._closing = True
        for query in self._queries:
            query.cancelled = True
        for threads in (self._readers, self._searcher):
            await self._loop.run_in_executor(None, partial(threads.shutdown, cancel_futures=True))
        for db in self._connections:
            db.close()
        if self._index is not None:
            self._index.close()

    def _has_index(self) -> bool:
        return index_path(self._path).exists()

    async def _submit(self, threads: ThreadPoolExecutor, function: Callable[..., _T], *args: Any) -> _T:
        """Returns ``function(query, *args)``. If this call is cancelled, the query does not start, or is interrupted."""
        if self._closing:
            raise ServerStopping
        query = _Query()
        self._queries.add(query)
        done = self._loop.run_in_executor(threads, function, query, *args)
        try:
            return await done
        except asyncio.CancelledError:
            if self._closing and not is_cancelling():
                raise ServerStopping from None
            raise
        except StorageError:
            if self._closing:
                raise ServerStopping from None
            raise
        finally:
            query.cancelled = True
            self._queries.discard(query)

    # ---- on a reader thread

    def _run(self, query: _Query, function: Callable[..., _T], args: tuple[Any, ...]) -> _T:
        if not hasattr(self._local, "db"):
            self._check_files()
            self._local.db = connect(self._path, readonly=True)
            self._connections.append(self._local.db)
        return self._interruptible(query, [self._local.db], partial(function, self._local.db, *args))

    # ---- on the search thread

    def _with_index(self, query: _Query, function: Callable[..., _T], *args: Any) -> _T:
        try:
            if self._index is None:
                self._check_files()
                self._index = SearchIndex(self._path)
        except sqlite3.Error as error:
            raise StorageError(explain(error, self._path)) from error
        return self._interruptible(query, self._index.connections, partial(function, self._index, *args))

    # ---- on any of these threads

    def _interruptible(self, query: _Query, connections: Iterable[sqlite3.Connection], work: Callable[[], _T]) -> _T:
        for db in connections:
            db.set_progress_handler(query.is_cancelled, STEPS_BETWEEN_CHECKS)
        try:
            return work()
        except sqlite3.Error as error:
            raise StorageError(explain(error, self._path)) from error


def is_cancelling() -> bool:
    """Whether a CancelledError is meant for the current task; else what it waits for was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Query:
    """A query from its submission to its end. ``cancelled``: nothing waits for its result."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def is_cancelled(self) -> bool:
        return self.cancelled
