"""Threads that read a SQLite log while it is written: each has its own connection, and one runs searches."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from bqserver.errors import StorageError

from .schema import connect, explain
from .search import SearchIndex

READER_THREADS = 2

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
        self._loop = asyncio.get_running_loop()

    async def read(self, query: Callable[..., _T], *args: Any) -> _T:
        """Returns ``query(connection, *args)``."""
        self._check_open()
        return await self._loop.run_in_executor(self._readers, self._run, query, args)

    async def search(self, room: str, words: str, limit: int) -> list[bytes]:
        """Full-text search on its own thread: building the index may take long, and reads don't wait for it."""
        self._check_open()
        return await self._loop.run_in_executor(self._searcher, self._search, room, words, limit)

    async def close(self) -> None:
        """Wait for running queries, then close the connections."""
        self._closing = True
        for threads in (self._readers, self._searcher):
            await self._loop.run_in_executor(None, threads.shutdown)
        for db in self._connections:
            db.close()
        if self._index is not None:
            self._index.close()

    def _check_open(self) -> None:
        if self._closing:
            raise StorageError("the log is closed: the server is stopping")

    # ---- on a reader thread

    def _run(self, query: Callable[..., _T], args: tuple[Any, ...]) -> _T:
        if not hasattr(self._local, "db"):
            self._check_files()
            self._local.db = connect(self._path, readonly=True)
            self._connections.append(self._local.db)
        try:
            return query(self._local.db, *args)
        except sqlite3.Error as error:
            raise StorageError(explain(error, self._path)) from error

    # ---- on the search thread

    def _search(self, room: str, words: str, limit: int) -> list[bytes]:
        try:
            if self._index is None:
                self._check_files()
                self._index = SearchIndex(self._path)
            return self._index.search(room, words, limit)
        except sqlite3.Error as error:
            raise StorageError(explain(error, self._path)) from error
