"""HTTP requests of one room that wait until the room is open. All methods run on the rooms' thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from bqwidget.errors import ConnectionRefused
from bqwidget.protocol import Part

from .backoff import Backoff
from .endpoint import Endpoint
from .http_client import Attachment, HttpClient, is_permanent

Result = TypeVar("Result")


class RoomRequests:
    def __init__(self, room: str) -> None:
        self.room_is_open = asyncio.Event()
        self._room = room
        self._client: HttpClient | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def client(self, endpoint: Endpoint) -> HttpClient:
        """The client for ``endpoint``; the client of an earlier endpoint is closed."""
        if self._client is None or endpoint != self._client.endpoint:
            self._close_client()
            self._client = HttpClient(endpoint, self._room)
        return self._client

    def start(self, function: Callable[[], Coroutine[Any, Any, Result]]) -> asyncio.Task[Result]:
        """Run ``function()`` as a task, which ``close`` cancels."""
        task = asyncio.get_running_loop().create_task(function())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_closed:
            task.cancel()
        return task

    async def run(self, request: Callable[[HttpClient], Coroutine[Any, Any, Result]]) -> Result:
        await self.room_is_open.wait()
        assert self._client is not None  # made before any join
        return await request(self._client)

    async def upload(self, attachment: Attachment) -> Part:
        """Upload, and retry until the server has it. Raises ConnectionRefused if it is refused permanently."""
        backoff = Backoff(Random().random)  # noqa: S311 - no secret
        while True:
            try:
                return await self.run(lambda client: client.upload(attachment))
            except ConnectionRefused as error:
                if is_permanent(error):
                    raise
                await asyncio.sleep(error.retry_after or backoff.on_disconnect(0.0))

    async def close(self) -> None:
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close_client()

    def _close_client(self) -> None:
        if self._client is not None:
            self._client.close()
