"""The entry that a draft becomes. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from bqserver.model import RedactedSubmission, Submission
from bqwidget.protocol import Change, Delete, Draft, Edit, Expire, Message, React, Send

MAX_CLOCK_SKEW = 100
"""Milliseconds by which the ``at`` of a reply may differ from the time that counts for its question."""


def make_entry(
    draft: Draft, room: str, seq: int, at: int, *, verified: bool = False, now: int | None = None
) -> Message | Change:
    """The entry of ``draft`` at this seq and time. ``now``: see ``Submission``."""
    cid = draft.cid or None
    match draft:
        case Send():
            return Message(
                seq=seq,
                room=room,
                user=draft.user,
                text=draft.text,
                at=at,
                cid=cid,
                re=draft.re,
                choice=draft.choice,
                ask=draft.ask,
                parts=draft.parts,
                verified=verified,
                real_at=None if now is None or abs(at - now) < MAX_CLOCK_SKEW else now,
            )
        case Edit():
            return Change(
                seq=seq,
                room=room,
                user=draft.user,
                at=at,
                kind="edit",
                target=draft.target,
                cid=cid,
                text=draft.text,
            )
        case Delete():
            return Change(seq=seq, room=room, user=draft.user, at=at, kind="delete", target=draft.target, cid=cid)
        case Expire():
            return Change(seq=seq, room=room, user=draft.user, at=at, kind="expire", target=draft.target, cid=cid)
        case React():
            return Change(
                seq=seq,
                room=room,
                user=draft.user,
                at=at,
                kind="react",
                target=draft.target,
                cid=cid,
                emoji=draft.emoji,
                on=draft.on,
            )


def new_entry(submission: Submission, seq: int, at: int) -> Message | Change:
    """The entry of a submission at this seq and time."""
    room, _, draft, verified, _, now = submission
    entry = make_entry(draft, room, seq, at, verified=verified, now=now)
    if not isinstance(submission, RedactedSubmission):
        return entry
    return replace(entry, redacted=True) if isinstance(entry, Message) else replace(entry, text=None)
