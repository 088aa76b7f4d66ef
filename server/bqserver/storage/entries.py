"""The entry that a draft becomes. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from bqserver.model import RedactedSubmission, Submission
from bqwidget.protocol import Change, Draft, Message, Send, to_entry

from .redaction import without_text

MAX_CLOCK_SKEW_MS = 100
"""Milliseconds by which the ``at`` of a reply or a vote may differ from the time that counts for its question."""


def new_entry(submission: Submission, seq: int, at: int) -> Message | Change:
    """The entry of a submission at this seq and time."""
    now = submission.now
    real_at = None if now is None or abs(at - now) < MAX_CLOCK_SKEW_MS else now
    entry = to_entry(
        submission.draft,
        room=submission.room,
        seq=seq,
        at=at,
        verified=submission.verified,
        real_at=real_at,
        author_kind=submission.author_kind,
    )
    if type(submission) is not RedactedSubmission:
        return entry
    return replace(entry, redacted=True) if isinstance(entry, Message) else without_text(entry)


def target_seq(draft: Draft) -> int | None:
    """The seq of the message that ``draft`` changes or answers; None if it does neither."""
    return draft.re if isinstance(draft, Send) else draft.target
