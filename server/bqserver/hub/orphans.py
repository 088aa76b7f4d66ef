"""Ends the questions, progress messages and live messages of clients that are gone, such as a kernel that was killed.

A question expires, a message with a will (a last text, as in MQTT) gets that text, and a live message is lost. A dead kernel and a short loss of
its network look alike at first, so this happens only when the same client has not come back for a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from bqserver.model import Outcome, Rejected, Submission
from bqwidget.protocol import Edit, Expire

from .peer import Peer

ENDED_CODES = ("conflict", "not_found", "not_live")
"""Codes by which the log rejects the end of what was answered, ended or removed meanwhile."""
MAX_OPEN_QUESTIONS = 1_000
"""Questions and wills of one client that are kept; of more, the oldest stay open."""
MAX_SILENT_GRACES = 3
"""Grace periods without a byte from a client until it counts as gone. The heartbeat notices a lost one after up to three."""

End = Callable[[Callable[[Outcome], None]], None]
"""Ends something, and gives the outcome to a function."""

_log = logging.getLogger("bqserver.orphans")


class Orphans:
    """The open items of each author: ``{(kind, room, seq): end}``, where ``end`` ends the item.

    An author is ``Peer.author``. ``submit`` appends a submission and gives its outcome to a function; ``grace``: seconds
    a client may be away.
    """

    def __init__(self, submit: Callable[[Submission, Callable[[Outcome], None]], None], grace: float) -> None:
        self._submit = submit
        self._grace = grace
        self._open: dict[str, dict[tuple[str, str, int], End]] = {}
        self._connections: dict[str, int] = {}
        self.remote: Callable[[str], bool] = lambda _: False
        """Whether an author is connected to another node."""
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def connected(self, peer: Peer) -> None:
        author = peer.author
        self._connections[author] = self._connections.get(author, 0) + 1
        self.returned(author)

    def returned(self, author: str) -> None:
        """``author`` has connected, here or to another node."""
        if timer := self._leaving.pop(author, None):
            timer.cancel()

    def left(self, author: str, seconds: float) -> None:
        """``author`` is not connected to another node any more. ``seconds``: until it counts as gone."""
        self._end_later(author, seconds)

    def is_connected(self, author: str) -> bool:
        """Whether ``author`` is connected, to this node or to another."""
        return author in self._connections or self.remote(author)

    def writing(self) -> dict[str, set[str]]:
        """The authors connected to this node that have live messages, and the rooms of these."""
        found = {
            author: {room for what, room, _ in kept if what == "live"}
            for author, kept in self._open.items()
            if author in self._connections
        }
        return {author: rooms for author, rooms in found.items() if rooms}

    def count_live(self, author: str) -> int:
        """How many messages the author writes now."""
        return sum(what == "live" for what, _, _ in self._open.get(author, {}))

    def asked(self, peer: Peer, question: Submission, seq: int) -> None:
        """``peer`` has asked ``question``, which is the entry ``seq``. It expires in the name under which it was asked.

        An agent's stays open until its time: its next session looks for the answer.
        """
        if peer.kind == "agent":
            return
        expiry = replace(question, draft=Expire(cid="", user=question.draft.user, target=seq))
        self._keep_submission(peer, "ask", expiry, seq)

    def willed(self, peer: Peer, submission: Submission, seq: int, will: str | None) -> None:
        """``peer`` has sent or edited the message ``seq``, with the text that it gets once ``peer`` is gone, if any."""
        if will is not None:
            edit = replace(submission, draft=Edit(cid="", user=submission.draft.user, target=seq, text=will))
            self._keep_submission(peer, "will", edit, seq)
        else:
            self._discard(peer.author, ("will", submission.room, seq))

    def writes(self, author: str, room: str, seq: int, end: End, grace: float) -> None:
        """``author`` writes the live message ``seq``, which ``end`` ends. ``grace``: seconds until an author who is not
        connected counts as gone.
        """
        self._open.setdefault(author, {})["live", room, seq] = end
        self._end_later(author, grace)

    def has_written(self, author: str, room: str, seq: int) -> None:
        """The live message has ended."""
        self._discard(author, ("live", room, seq))

    def _keep_submission(self, peer: Peer, what: str, ending: Submission, seq: int) -> None:
        if not peer.client:
            return
        kept = self._open.setdefault(peer.author, {})
        kept[what, ending.room, seq] = partial(self._submit, ending)
        if len(kept) > MAX_OPEN_QUESTIONS and (oldest := next((key for key in kept if key[0] != "live"), None)):
            del kept[oldest]
        self._end_later(peer.author, self._grace)  # the author may have gone before the message was stored

    def _discard(self, author: str, key: tuple[str, str, int]) -> None:
        kept = self._open.get(author, {})
        if kept.pop(key, None) is not None and not kept:
            del self._open[author]

    def disconnected(self, peer: Peer) -> None:
        author = peer.author
        self._connections[author] -= 1
        if self._connections[author]:
            return
        del self._connections[author]
        silent = asyncio.get_running_loop().time() - peer.connection.last_received_at
        self._end_later(author, max(0.0, min(self._grace, MAX_SILENT_GRACES * self._grace - silent)))

    def close(self) -> None:
        self._closed = True
        for timer in self._leaving.values():
            timer.cancel()

    def _end_later(self, author: str, seconds: float) -> None:
        """End what ``author`` has open after ``seconds``, if it is not connected."""
        if author in self._open and author not in self._leaving and not self.is_connected(author):
            loop = asyncio.get_running_loop()
            self._leaving[author] = loop.call_later(seconds, self._end_all, author)

    def _end_all(self, author: str) -> None:
        del self._leaving[author]
        for (_, room, _), end in self._open.pop(author, {}).items():
            self._end(end, room)

    def _end(self, end: End, room: str) -> None:
        if not self._closed:
            end(partial(self._on_outcome, end, room))

    def _on_outcome(self, end: End, room: str, outcome: Outcome) -> None:
        if not isinstance(outcome, Rejected) or outcome.code in ENDED_CODES:
            return
        if outcome.retry_after is None:
            _log.error("a message of %s stays open without its author: %s", room, outcome.message)
            return
        asyncio.get_running_loop().call_later(outcome.retry_after, self._end, end, room)
