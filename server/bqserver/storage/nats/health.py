"""HealthMonitor: finds out whether the cluster takes messages before one is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bqserver.jetstream import api
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS

from .consumers import COMPARE_INTERVAL, Consumers
from .publisher import PUBLISH_TIMEOUT, Publisher
from .replica import Replica

_log = logging.getLogger("bqserver.nats")


class HealthMonitor:
    """Checks every ``COMPARE_INTERVAL`` seconds. ``replaced``: the stream has another epoch, so nothing here is valid."""

    def __init__(
        self, client: NatsClient, epoch: str, consumers: Consumers, publisher: Publisher, replica: Replica
    ) -> None:
        self.on_unavailable: Callable[[], None] = lambda: None
        """Called each time the cluster stops taking messages: rooms can still be read, and sends wait."""
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
        """Whether a message that is sent now is expected to be stored."""
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
            unavailable = not self.healthy()
            if unavailable and not self._reported:
                self.on_unavailable()
            self._reported = unavailable
        _log.error("the stream was replaced by another one: restart this server")
