"""Orders in a cluster, of moderators and of what went: a bucket of which every node knows the newest values.

A node hears of a change as it is stored, and looks every ``LOOK`` seconds in case that got lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nats.aio.msg import Msg

from .client import Link
from .connection import LOST
from .kv import Bucket, until_answered

LOOK = 2.0


class NatsOrders:
    """``learn(key, value)`` is told of each value once, and again when it changes; ``changed()`` after a few."""

    def __init__(
        self,
        link: Link,
        replicas: int,
        learn: Callable[[str, bytes], None],
        changed: Callable[[], None],
    ) -> None:
        self._link = link
        self._learn = learn
        self._changed = changed
        self._told = f"{link.address.stream}.orders.>"
        self._bucket = Bucket(link, "moderation", replicas, retold=self._told)
        self._last = 0
        self._heard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the bucket where there is none, and learn what it holds. Raises ClusterError."""
        await until_answered(self._begin, "moderators' orders")
        await self._link.subscribe(self._told, self._hear)
        self._heard.set()  # for what changed since that look
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def put(self, key: str, value: bytes) -> None:
        """Durable when it returns. Raises ClusterError where the cluster does not take it."""
        await self._bucket.put(key, value)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def is_there(self) -> bool:
        """Whether any node has made the bucket. Raises LOST."""
        return await self._bucket.is_there()

    async def look(self) -> None:
        """Learn everything above the last. Raises LOST."""
        more, new = True, False
        while more:
            values, more = await self._bucket.above(self._last)
            for key, value, seq, _ in values:
                self._last = max(self._last, seq)
                self._learn(key, value)
                new = True
        if new:
            self._changed()

    async def _begin(self) -> None:
        await self._bucket.make()
        await self.look()

    def _hear(self, _: Msg) -> None:
        self._heard.set()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._heard.wait(), LOOK)
            self._heard.clear()
            with contextlib.suppress(*LOST):
                await self.look()
