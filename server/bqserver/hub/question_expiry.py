"""Questions whose asker is gone: a kernel that dies in the middle of ``room.ask`` leaves none open.

A dead kernel and a short break of its network look alike at first, so the question ends only when the same
client has not come back for a heartbeat.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bqserver.model import Outcome, Submission
from bqwidget.protocol import Expire

if TYPE_CHECKING:
    from .hub import Hub
    from .peer import Peer


class Questions:
    """What each connected client has asked. Questions that have ended meanwhile are harmless here."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asked: dict[str, list[Submission]] = {}
        self._here: dict[str, int] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}

    def came(self, peer: Peer) -> None:
        if peer.client:
            self._here[peer.client] = self._here.get(peer.client, 0) + 1
            if timer := self._leaving.pop(peer.client, None):
                timer.cancel()

    def asked(self, peer: Peer, user: str, seq: int) -> None:
        if peer.client:
            expire = Expire(cid="", user=user, target=seq)
            submission = Submission(peer.room_name, peer.principal or user, expire)
            self._asked.setdefault(peer.client, []).append(submission)

    def left(self, peer: Peer) -> None:
        client = peer.client
        if not client:
            return
        self._here[client] -= 1
        if self._here[client]:
            return
        del self._here[client]
        if client in self._asked:
            loop = asyncio.get_running_loop()
            self._leaving[client] = loop.call_later(self._hub.heartbeat, self._expire, client)

    def close(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()

    def _expire(self, client: str) -> None:
        del self._leaving[client]
        for submission in self._asked.pop(client):
            self._hub.submit(submission, _ignore)


def _ignore(_: Outcome) -> None:
    """Rejected where the question was answered: there is nobody to tell."""
