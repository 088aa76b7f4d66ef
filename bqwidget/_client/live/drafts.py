"""LiveDraft: a live message that this member writes, and LiveDrafts: those of one session.

The text grows in any thread by one assignment. The session takes from it what is to be sent: the difference to what
was sent before, joined over SEND_INTERVAL. So it needs no more memory than its text, however slow the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from bqwidget._client.message_list import MessageList
from bqwidget._client.outbox import Outbox
from bqwidget.protocol import (
    Append,
    AppendFrame,
    ChangeFrame,
    End,
    Ending,
    Error,
    Progress,
    Send,
    SetStep,
    StopFrame,
    common_length,
)

SEND_INTERVAL = 0.01
"""Seconds between two pieces of one message: a small delay that joins the pieces of a fast writer."""
MAX_CHARACTERS_PER_SECOND = 100_000
MAX_PIECE_CHARACTERS = 8_000
"""Characters in one piece. Even if every one of them is escaped, it fits into a frame of the default size."""
FINAL_ERROR_CODES = frozenset({"not_live", "too_long", "forbidden"})
"""The errors after which no piece of the message is accepted."""


class LiveDraft:
    """``send`` opens the message, ``end_cid`` is the cid of its end.

    The session's thread calls ``on_stop`` when someone asked to stop, or no more is accepted.
    """

    def __init__(self, send: Send, end_cid: str, on_stop: Callable[[], object]) -> None:
        self.send = send
        self.end_cid = end_cid
        self.on_stop = on_stop
        self.content: tuple[str, Progress | None] = (send.text, send.progress)
        """The whole text as it is to be, and the progress. Set in any thread."""
        self.target: int | None = None
        """The seq of the message, once it is in the log."""
        self.stopped_by: str | None = None
        """Who asked to stop."""
        self.is_over = False
        """Whether no more is accepted: the message was refused, ended by the server, or deleted."""
        self.is_woken = False
        """Whether the session's thread is about to look at it."""
        self.replaced = False
        """Whether text that had been sent was replaced: then the end repeats the whole text."""
        self._sent = self.content
        self._send_at = 0.0
        self._steps: list[SetStep] = []
        self._step_cids: list[str] = []
        self._end: End | None = None

    def set_step(self, step: SetStep) -> None:
        """Send ``step``, whose target is set here, when the message is in the log."""
        self._steps.append(step)

    def end(self, ending: Ending) -> None:
        """End the message after all of its text and steps. The first call counts."""
        if self._end is None:
            user, stopped_by = self.send.user, self.stopped_by if ending == "stopped" else None
            self._end = End(cid=self.end_cid, target=0, end=ending, stopped_by=stopped_by, user=user)

    @property
    def is_ending(self) -> bool:
        return self._end is not None

    def unsent_cids(self) -> list[str]:
        """The cids of the drafts that wait until the message is in the log."""
        return [*(step.cid for step in self._steps), self.end_cid]

    def rewind(self, text: str) -> None:
        """The server has only ``text``: send the difference to it."""
        self._sent = (text, self._sent[1])
        self._send_at = 0.0

    def hold(self, until: float) -> None:
        """Send no piece before ``until``."""
        self._send_at = max(self._send_at, until)

    def finish(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.on_stop()

    def next_send_at(self) -> float | None:
        waits = self.target is None or self.is_over or self.content == self._sent
        return None if waits else self._send_at

    def take(self, now: float, outbox: Outbox) -> list[Append]:
        """The pieces to send now. Steps and the end go through ``outbox``, which repeats them until they arrive."""
        if self.target is None:
            return []
        steps, self._steps = self._steps, []
        for step in steps:
            self._step_cids.append(step.cid)
            outbox.put(replace(step, target=self.target))
        pieces: list[Append] = []
        while not self.is_over and self.content != self._sent and (now >= self._send_at or self._end is not None):
            pieces.append(self._next_piece(self.target, now))
        if self._end is not None and (self.is_over or self.content == self._sent):
            self._step_cids = [cid for cid in self._step_cids if cid in outbox]
            if not self._step_cids:  # a step that is sent again would come too late
                outbox.put(replace(self._end, target=self.target, text=self.content[0] if self.replaced else None))
        return pieces

    def _next_piece(self, target: int, now: float) -> Append:
        (text, progress), (sent, sent_progress) = self.content, self._sent
        adds = text.startswith(sent)
        offset = len(sent) if adds else common_length(text, sent)
        piece = text[offset : offset + MAX_PIECE_CHARACTERS]
        self.replaced = self.replaced or not adds
        self._sent = (text[:offset] + piece, progress)
        self._send_at = now + max(SEND_INTERVAL, len(piece) / MAX_CHARACTERS_PER_SECOND)
        return Append(
            target=target,
            offset=offset,
            text=piece,
            replace=None if adds else True,
            progress=None if progress == sent_progress else progress,
        )


class LiveDrafts:
    """The live messages that a session writes, until their end has arrived."""

    def __init__(self) -> None:
        self._drafts: list[LiveDraft] = []

    def __iter__(self) -> Iterator[LiveDraft]:
        return iter(list(self._drafts))

    def add(self, draft: LiveDraft) -> None:
        self._drafts.append(draft)

    def take(self, now: float, outbox: Outbox) -> list[Append]:
        return [piece for draft in self for piece in draft.take(now, outbox)]

    def hold(self, until: float) -> None:
        """Send no piece before ``until``, because the connection is slow."""
        for draft in self:
            draft.hold(until)

    def next_send_at(self) -> float | None:
        return min((due for draft in self if (due := draft.next_send_at()) is not None), default=None)

    def on_hello(self, messages: MessageList) -> None:
        """Send again what was sent on an earlier connection and is not known to be in the log."""
        for draft in self:
            live = None if draft.target is None else messages.live_text(draft.target)
            if live is not None:
                draft.rewind(live.logged)

    def on_frame(self, frame: ChangeFrame | StopFrame | Error, outbox: Outbox) -> None:
        self.settle(outbox)  # its message may have been accepted in the same read
        target = frame.entry.target if isinstance(frame, ChangeFrame) else frame.target
        for draft in self:
            if draft.target != target or target is None:
                continue
            match frame:
                case ChangeFrame(entry=entry):
                    if entry.kind in ("end", "delete") and entry.cid != draft.end_cid:
                        draft.finish()
                case StopFrame(user=user):
                    if draft.stopped_by is None and not draft.is_ending:
                        draft.stopped_by = user
                        draft.on_stop()
                case Error(code="behind", offset=offset) if offset is not None:
                    draft.rewind(draft.content[0][:offset])
                case Error(code=code) if code in FINAL_ERROR_CODES:
                    draft.finish()

    def settle(self, outbox: Outbox) -> None:
        """Process the results of ``outbox``: a message was accepted or refused, or its end was."""
        for cid, result in list(outbox.results):
            for draft in self:
                if cid == draft.send.cid and not isinstance(result, Error):
                    draft.target = result.seq
                elif cid == draft.send.cid:
                    assert isinstance(result, Error)
                    outbox.results += [(unsent, result) for unsent in draft.unsent_cids()]
                    self._drafts.remove(draft)
                    draft.finish()
                elif cid == draft.end_cid:
                    self._drafts.remove(draft)

    def clear(self) -> None:
        for draft in self:
            draft.finish()
        self._drafts.clear()


def to_piece(frame: Append) -> AppendFrame:
    """``frame`` as the members get it."""
    return AppendFrame(
        target=frame.target, offset=frame.offset, text=frame.text, replace=frame.replace, progress=frame.progress
    )
