"""Ends what a client that is gone has left open: a kernel that dies leaves no open question and no running progress.

A question expires; a message with a will gets that text. A dead kernel and a short loss of its network look alike at
first, so this happens only when the same client has not come back for a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from bqserver.model import Outcome, Rejected, Submission
from bqwidget.protocol import Edit, Expire

from .peer import Peer

ENDED_CODES = ("conflict", "not_found")
"""Codes by which the log rejects the end of what was answered, ended or removed meanwhile."""
MAX_OPEN = 1_000
"""Questions and wills of one client that are kept; of more, the oldest stay open."""

_log = logging.getLogger("bqserver.orphans")


class Orphans:
    """What each connected client has open: by room and message, the submission that ends it.

    ``submit`` appends a submission and gives its outcome to a function; ``grace``: seconds a client may be away.
    """

    def __init__(self, submit: Callable[[Submission, Callable[[Outcome], None]], None], grace: float) -> None:
        self._submit = submit
        self._grace = grace
        self._open: dict[str, dict[tuple[str, int], Submission]] = {}
        self._connections: dict[str, int] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def connected(self, peer: Peer) -> None:
        if peer.client:
            self._connections[peer.client] = self._connections.get(peer.client, 0) + 1
            if timer := self._leaving.pop(peer.client, None):
                timer.cancel()

    def asked(self, peer: Peer, question: Submission, seq: int) -> None:
        """``peer`` has asked ``question``, which is the entry ``seq``. It expires in the name under which it was asked.

        An agent's stays open until its time: its next session looks for the answer.
        """
        if peer.kind == "agent":
            return
        self._keep(peer, question._replace(draft=Expire(cid="", user=question.draft.user, target=seq)), seq)

    def willed(self, peer: Peer, submission: Submission, seq: int, will: str | None) -> None:
        """``peer`` has sent or edited the message ``seq``, with the text that it gets once ``peer`` is gone, if any."""
        if will is not None:
            self._keep(
                peer, submission._replace(draft=Edit(cid="", user=submission.draft.user, target=seq, text=will)), seq
            )
        elif peer.client in self._open:
            self._open[peer.client].pop((submission.room, seq), None)

    def _keep(self, peer: Peer, ending: Submission, seq: int) -> None:
        if not peer.client:
            return
        kept = self._open.setdefault(peer.client, {})
        kept[ending.room, seq] = ending
        if len(kept) > MAX_OPEN:
            del kept[next(iter(kept))]
        self._end_later(peer.client)  # the author may have gone before the message was stored

    def disconnected(self, peer: Peer) -> None:
        client = peer.client
        if not client:
            return
        self._connections[client] -= 1
        if self._connections[client]:
            return
        del self._connections[client]
        self._end_later(client)

    def close(self) -> None:
        self._closed = True
        for timer in self._leaving.values():
            timer.cancel()

    def _end_later(self, client: str) -> None:
        """End what ``client`` has open after the grace, if it is not connected."""
        if client in self._open and client not in self._connections and client not in self._leaving:
            loop = asyncio.get_running_loop()
            self._leaving[client] = loop.call_later(self._grace, self._end_all, client)

    def _end_all(self, client: str) -> None:
        del self._leaving[client]
        for ending in self._open.pop(client).values():
            self._end(ending)

    def _end(self, ending: Submission) -> None:
        if not self._closed:
            self._submit(ending, partial(self._on_outcome, ending))

    def _on_outcome(self, ending: Submission, outcome: Outcome) -> None:
        if not isinstance(outcome, Rejected) or outcome.code in ENDED_CODES:
            return
        if outcome.retry_after is None:
            _log.error("a message of %s stays open without its author: %s", ending.room, outcome.message)
            return
        asyncio.get_running_loop().call_later(outcome.retry_after, self._end, ending)
