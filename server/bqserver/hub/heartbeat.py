"""The heartbeat: one timer pings all peers, sends them the last seq of their room, and drops those that are gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from math import inf

from bqserver.websocket.framing import PING_FRAME

from .frames import synced_frame
from .peer import Peer
from .room import ActiveRoom

HEARTBEAT_INTERVAL = 20.0
"""Seconds between two pings of a peer."""
SLICES_PER_ROUND = 20
"""Peers are pinged in 20 slices: no burst, and no timer for each peer."""


class Heartbeat:
    """``peers``: the hub's own mapping of peers to rooms. Each peer is pinged once in ``period`` seconds."""

    def __init__(self, peers: Mapping[Peer, ActiveRoom], period: float) -> None:
        self._peers = peers
        self._period = period
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._round: list[Peer] = []
        self._tick = 0
        self._beats = deque([-inf] * 2 * SLICES_PER_ROUND, 2 * SLICES_PER_ROUND)
        """Loop times of the beats of the last two rounds."""

    def start(self) -> None:
        """Run while there are peers; does nothing if it runs already."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._period / SLICES_PER_ROUND, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        """Ping the next slice, and drop peers that have sent nothing for two rounds.

        Rounds are counted, not seconds: after a pause of this process, what the peers have sent is still unread.
        """
        self._timer = None
        if not self._peers:
            return
        if self._tick % SLICES_PER_ROUND == 0:
            self._round = list(self._peers)
        due = self._round[self._tick % SLICES_PER_ROUND :: SLICES_PER_ROUND]
        self._tick += 1
        deadline = self._beats[0]
        self._beats.append(self._loop.time())
        for peer in due:
            room = self._peers.get(peer)
            if room is None:
                continue
            if peer.connection.last_received_at < deadline:
                peer.connection.abort()
            elif peer.live:
                peer.write(PING_FRAME + synced_frame(room.seq))
            else:
                peer.connection.write(PING_FRAME)
        self.start()
