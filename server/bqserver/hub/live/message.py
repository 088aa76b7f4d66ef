"""One live message as the hub knows it."""

from __future__ import annotations

import asyncio
from math import inf

from bqserver.model import Submission
from bqwidget.protocol import Append, AppendFrame, Draft, Message

from .content import Content, Piece, difference

JOIN_INTERVAL = 0.04
"""Seconds between two pieces of one message that members are sent, at least."""
MAX_JOIN_INTERVAL = 0.12
"""The same for a piece of fewer than MIN_PIECE_CHARACTERS."""
MIN_PIECE_CHARACTERS = 20
"""A frame has 55 bytes besides its text: with so many characters, it has about four times their bytes."""


class LiveMessage:
    """A message that is being written.

    ``message``: as the log has it, all changes folded in. ``author``: ``Peer.author`` of its author, who alone may write
    on it; None until it is known. ``newest``: what the author has written; ``sent``: the part of it that members have
    been sent, at the loop's time ``sent_at``. ``submitted``: what was last submitted to the log, at ``saved_at``;
    ``saving``: done when that is stored or rejected. ``ending``: whether the end was submitted. ``written_here``: whether
    the last piece came from a member of this node. ``rewritten``: whether members may have a text that is no beginning of
    the newest, because it was replaced or a crashed server has lost it; a member that joins then gets the whole text.
    ``timers``: to send the next piece, and to save.
    """

    __slots__ = (
        "author",
        "ending",
        "message",
        "newest",
        "rewritten",
        "save_timer",
        "saved_at",
        "saving",
        "send_timer",
        "sent",
        "sent_at",
        "submitted",
        "written_here",
    )

    def __init__(self, message: Message, now: float) -> None:
        self.message = message
        self.author: str | None = None
        self.newest = self.sent = self.submitted = Content.of(message)
        self.sent_at = -inf
        self.saved_at = now
        self.saving: asyncio.Future[None] | None = None
        self.ending = False
        self.rewritten = False
        self.written_here = False
        self.send_timer: asyncio.TimerHandle | None = None
        self.save_timer: asyncio.TimerHandle | None = None

    def send_due(self) -> float:
        """The loop's time at which the rest of the text is sent to the members."""
        waiting = len(self.newest.text) - len(self.sent.text)
        return self.sent_at + (MAX_JOIN_INTERVAL if 0 < waiting < MIN_PIECE_CHARACTERS else JOIN_INTERVAL)

    @property
    def saved(self) -> Content:
        """What the log has."""
        return Content.of(self.message)

    def tail(self) -> Piece | None:
        """What a member with all entries of the log still lacks; None if nothing."""
        piece = difference(self.saved, self.newest)
        if self.rewritten or (piece is not None and piece.replace):
            return self.whole()
        return piece

    def whole(self) -> Piece:
        """All that members have been sent."""
        return Piece(0, self.sent.text, replace=True, progress=self.sent.progress)

    def submission(self, draft: Draft) -> Submission:
        """``draft``, in the name of the author."""
        return Submission(self.message.room, self.message.user, draft, verified=self.message.verified)

    def append_draft(self) -> Append | None:
        """What the log does not have; None if it has everything."""
        piece = difference(self.saved, self.newest)
        return None if piece is None else Append(target=self.message.seq, **piece._asdict(), user=self.message.user)

    def frame(self, piece: Piece) -> AppendFrame:
        return AppendFrame(target=self.message.seq, **piece._asdict())

    def cancel_timers(self) -> None:
        for timer in (self.send_timer, self.save_timer):
            if timer is not None:
                timer.cancel()
