"""Expires the questions of an asker that is gone: a kernel that dies inside ``room.ask`` leaves no open question.

A dead kernel and a short loss of its network look alike at first, so a question expires only when the same client
has not come back for a heartbeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bqserver.model import Submission
from bqwidget.protocol import Expire

from .peer import Peer


class OrphanedQuestions:
    """What each connected client has asked. ``expire`` appends an expiry; ``grace``: seconds a client may be away.

    The log rejects the expiry of a question that has ended meanwhile, so such questions need no care here.
    """

    def __init__(self, expire: Callable[[Submission], None], grace: float) -> None:
        self._expire = expire
        self._grace = grace
        self._asked: dict[str, list[Submission]] = {}
        self._connections: dict[str, int] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    def connected(self, peer: Peer) -> None:
        if peer.client:
            self._connections[peer.client] = self._connections.get(peer.client, 0) + 1
            if timer := self._leaving.pop(peer.client, None):
                timer.cancel()

    def asked(self, peer: Peer, user: str, seq: int) -> None:
        """``peer`` has asked the question ``seq`` under the name ``user``."""
        if peer.client:
            expire = Expire(cid="", user=user, target=seq)
            submission = Submission(peer.room_name, peer.principal or user, expire)
            self._asked.setdefault(peer.client, []).append(submission)

    def disconnected(self, peer: Peer) -> None:
        client = peer.client
        if not client:
            return
        self._connections[client] -= 1
        if self._connections[client]:
            return
        del self._connections[client]
        if client in self._asked:
            loop = asyncio.get_running_loop()
            self._leaving[client] = loop.call_later(self._grace, self._expire_all, client)

    def close(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()

    def _expire_all(self, client: str) -> None:
        del self._leaving[client]
        for submission in self._asked.pop(client):
            self._expire(submission)
