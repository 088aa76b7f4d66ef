"""The heartbeat: one timer for all members, who are pinged, told how far the log is, and dropped when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from bqserver.websocket.connection import PING

from .frames import synced

if TYPE_CHECKING:
    from .peer import Peer

HEARTBEAT = 20.0
SLICES = 20
"""A twentieth of the members is pinged at a time: no burst, and no timer for each."""


class Heartbeat:
    """``peers`` is the hub's own collection; each hears from it once in ``period`` seconds."""

    def __init__(self, peers: Collection[Peer], period: float) -> None:
        self._peers = peers
        self._period = period
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._round: list[Peer] = []
        self._tick = 0

    def start(self) -> None:
        """There is somebody now; it ends by itself when there is nobody."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._period / SLICES, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        """Ping the next slice, tell them how far the log is, and drop who has been silent for two periods."""
        self._timer = None
        if not self._peers:
            return
        if self._tick % SLICES == 0:
            self._round = list(self._peers)
        due = self._round[self._tick % SLICES :: SLICES]
        self._tick += 1
        deadline = self._loop.time() - 2 * self._period
        for peer in due:
            if peer not in self._peers:
                continue
            if peer.wire.heard < deadline:
                peer.wire.abort()
            elif peer.live:
                peer.write(PING + synced(peer.room.seq))
            else:
                peer.wire.write(PING)
        self.start()
