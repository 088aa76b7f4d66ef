"""Watching the cluster: does it still take messages, was one not heard, and who must be told that it is lost?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bqserver.jetstream import api
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS

from .consumers import COMPARE_INTERVAL, Consumers
from .publisher import PUBLISH_TIMEOUT, Publisher
from .replica import Replica

_log = logging.getLogger("bqserver.nats")


class HealthMonitor:
    """Looks every ``SILENCE`` seconds. ``replaced``: the stream is another one now, and nothing here fits it."""

    def __init__(
        self,
        client: JetStreamClient,
        epoch: str,
        consumers: Consumers,
        publisher: Publisher,
        replica: Replica,
    ) -> None:
        self.on_unavailable: Callable[[], None] = lambda: None
        """Called each time the cluster stops taking messages."""
        self.replaced = False
        self._client = client
        self._epoch = epoch
        self._consumers = consumers
        self._publisher = publisher
        self._replica = replica
        self._reachable = True
        self._reported = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def healthy(self) -> bool:
        """Whether a message that is sent now will be stored, as far as anybody can know."""
        return (
            self._reachable
            and self._client.connected.is_set()
            and self._replica.healthy
            and self._loop.time() - self._publisher.failed_at > PUBLISH_TIMEOUT
        )

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while not self.replaced:
            await asyncio.sleep(COMPARE_INTERVAL)
            try:
                epoch = await api.leader_epoch(self._client)
                self._reachable = epoch == self._epoch
                self.replaced = epoch not in (None, self._epoch)
                if not self.replaced:
                    await self._consumers.compare()
                    await self._consumers.close_idle()
            except CONNECTION_ERRORS:
                self._reachable = False
            self._report()
        _log.error("the stream was replaced by another one: restart this server")

    def _report(self) -> None:
        """Members hear of it once, when it begins: they can read, and what they send waits."""
        lost = not self.healthy()
        if lost and not self._reported:
            self.on_unavailable()
        self._reported = lost
