"""Expires the questions of an asker that is gone: a kernel that dies inside ``room.ask`` leaves no open question.

A dead kernel and a short loss of its network look alike at first, so a question expires only when the same client
has not come back for a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from bqserver.model import Outcome, Rejected, Submission
from bqwidget.protocol import Expire

from .peer import Peer

ENDED_CODES = ("conflict", "not_found")
"""Codes by which the log rejects the expiry of a question that was answered, ended or removed meanwhile."""

_log = logging.getLogger("bqserver.questions")


class OrphanedQuestions:
    """What each connected client has asked.

    ``submit`` appends a submission and gives its outcome to a function; ``grace``: seconds a client may be away.
    """

    def __init__(self, submit: Callable[[Submission, Callable[[Outcome], None]], None], grace: float) -> None:
        self._submit = submit
        self._grace = grace
        self._asked: dict[str, list[Submission]] = {}
        self._connections: dict[str, int] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def connected(self, peer: Peer) -> None:
        if peer.client:
            self._connections[peer.client] = self._connections.get(peer.client, 0) + 1
            if timer := self._leaving.pop(peer.client, None):
                timer.cancel()

    def asked(self, peer: Peer, question: Submission, seq: int) -> None:
        """``peer`` has asked ``question``, which is the entry ``seq``. It expires in the name under which it was asked."""
        if peer.client:
            expiry = question._replace(draft=Expire(cid="", user=question.draft.user, target=seq))
            self._asked.setdefault(peer.client, []).append(expiry)
            self._expire_later(peer.client)  # the asker may have gone before the question was stored

    def disconnected(self, peer: Peer) -> None:
        client = peer.client
        if not client:
            return
        self._connections[client] -= 1
        if self._connections[client]:
            return
        del self._connections[client]
        self._expire_later(client)

    def close(self) -> None:
        self._closed = True
        for timer in self._leaving.values():
            timer.cancel()

    def _expire_later(self, client: str) -> None:
        """Expire what ``client`` has asked after the grace, if it is not connected."""
        if client in self._asked and client not in self._connections and client not in self._leaving:
            loop = asyncio.get_running_loop()
            self._leaving[client] = loop.call_later(self._grace, self._expire_all, client)

    def _expire_all(self, client: str) -> None:
        del self._leaving[client]
        for expiry in self._asked.pop(client):
            self._expire(expiry)

    def _expire(self, expiry: Submission) -> None:
        if not self._closed:
            self._submit(expiry, partial(self._on_outcome, expiry))

    def _on_outcome(self, expiry: Submission, outcome: Outcome) -> None:
        if not isinstance(outcome, Rejected) or outcome.code in ENDED_CODES:
            return
        if outcome.retry_after is None:
            _log.error("a question of %s stays open without its asker: %s", expiry.room, outcome.message)
            return
        asyncio.get_running_loop().call_later(outcome.retry_after, self._expire, expiry)
