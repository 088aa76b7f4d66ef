"""Control state of a cluster: a bucket of moderation, retention and revocation values that every node follows.

A node is notified of a change as it is stored, and polls every ``POLL_INTERVAL`` seconds in case that was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nats.aio.msg import Msg

from .client import NatsClient
from .connection import CONNECTION_ERRORS
from .kv import KeyValue, retry_startup

POLL_INTERVAL = 2.0
BUCKET = "moderation"


class ControlState:
    """``on_value(key, value)`` is called for each value, and again when it changes; ``on_change()`` after a batch."""

    def __init__(
        self,
        client: NatsClient,
        replicas: int,
        on_value: Callable[[str, bytes], None],
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._on_value = on_value
        self._on_change = on_change
        self._updates = f"{client.address.stream}.orders.>"
        self._values = KeyValue(client, BUCKET, replicas, republish_to=self._updates)
        self._last_seq = 0
        self._updated = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Create the bucket if it does not exist, and read its values. Raises ClusterError."""
        await retry_startup(self._create_and_read, BUCKET)
        await self._client.subscribe(self._updates, self._on_update)
        self._updated.set()  # for changes between the read and the subscription
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def put(self, key: str, value: bytes) -> None:
        """Store a value durably. Raises ClusterError."""
        await self._values.put(key, value)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def exists(self) -> bool:
        """Whether a node has created the bucket. Raises CONNECTION_ERRORS."""
        return await self._values.exists()

    async def refresh(self) -> None:
        """Read the values stored since the last read. Raises CONNECTION_ERRORS."""
        more, changed = True, False
        while more:
            values, more = await self._values.get_after(self._last_seq)
            for key, value, seq, _ in values:
                self._last_seq = max(self._last_seq, seq)
                self._on_value(key, value)
                changed = True
        if changed:
            self._on_change()

    async def _create_and_read(self) -> None:
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
