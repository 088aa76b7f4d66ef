"""Watching the cluster: does it still take messages, was one not heard, and who must be told that it is lost?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bqserver.jetstream import api as nats_queries
from bqserver.jetstream.client import Link
from bqserver.jetstream.connection import LOST

from .consumers import SILENCE, Feeds
from .publisher import PATIENCE, Sends
from .replica import View

_log = logging.getLogger("bqserver.nats")


class Watch:
    """Looks every ``SILENCE`` seconds. ``replaced``: the stream is another one now, and nothing here fits it."""

    def __init__(self, link: Link, epoch: str, feeds: Feeds, sends: Sends, view: View) -> None:
        self.on_unavailable: Callable[[], None] = lambda: None
        """Called each time the cluster stops taking messages."""
        self.replaced = False
        self._link = link
        self._epoch = epoch
        self._feeds = feeds
        self._sends = sends
        self._view = view
        self._reachable = True
        self._told = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def healthy(self) -> bool:
        """Whether a message that is sent now will be stored, as far as anybody can know."""
        return (
            self._reachable
            and self._link.connected.is_set()
            and self._view.healthy
            and self._loop.time() - self._sends.failed_at > PATIENCE
        )

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while not self.replaced:
            await asyncio.sleep(SILENCE)
            try:
                epoch = await nats_queries.led_epoch(self._link)
                self._reachable = epoch == self._epoch
                self.replaced = epoch not in (None, self._epoch)
                if not self.replaced:
                    await self._feeds.compare()
                    await self._feeds.drop_unwanted()
            except LOST:
                self._reachable = False
            self._tell()
        _log.error("the stream was replaced by another one: restart this server")

    def _tell(self) -> None:
        """Members hear of it once, when it begins: they can read, and what they send waits."""
        lost = not self.healthy()
        if lost and not self._told:
            self.on_unavailable()
        self._told = lost
