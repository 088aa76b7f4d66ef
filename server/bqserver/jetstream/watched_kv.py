"""Orders in a cluster, of moderators and of what went: a bucket of which every node knows the newest values.

A node hears of a change as it is stored, and looks every ``LOOK`` seconds in case that got lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nats.aio.msg import Msg

from .client import JetStreamClient
from .connection import CONNECTION_ERRORS
from .kv import KeyValue, until_answered

POLL_INTERVAL = 2.0


class ControlState:
    """``learn(key, value)`` is told of each value once, and again when it changes; ``changed()`` after a few."""

    def __init__(
        self,
        client: JetStreamClient,
        replicas: int,
        on_value: Callable[[str, bytes], None],
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._on_value = on_value
        self._on_change = on_change
        self._updates = f"{client.address.stream}.orders.>"
        self._values = KeyValue(client, "moderation", replicas, retold=self._updates)
        self._last_seq = 0
        self._updated = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the bucket where there is none, and learn what it holds. Raises ClusterError."""
        await until_answered(self._begin, "moderators' orders")
        await self._client.subscribe(self._updates, self._on_update)
        self._updated.set()  # for what changed since that look
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def put(self, key: str, value: bytes) -> None:
        """Durable when it returns. Raises ClusterError where the cluster does not take it."""
        await self._values.put(key, value)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def exists(self) -> bool:
        """Whether any node has made the bucket. Raises LOST."""
        return await self._values.exists()

    async def refresh(self) -> None:
        """Learn everything above the last. Raises LOST."""
        more, new = True, False
        while more:
            values, more = await self._values.get_after(self._last_seq)
            for key, value, seq, _ in values:
                self._last_seq = max(self._last_seq, seq)
                self._on_value(key, value)
                new = True
        if new:
            self._on_change()

    async def _begin(self) -> None:
        await self._values.create()
        await self.refresh()

    def _on_update(self, _: Msg) -> None:
        self._updated.set()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._updated.wait(), POLL_INTERVAL)
            self._updated.clear()
            with contextlib.suppress(*CONNECTION_ERRORS):
                await self.refresh()
