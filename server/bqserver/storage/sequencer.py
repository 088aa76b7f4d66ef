"""What becomes of each draft: a new entry with its seq and time, the entry it was already, or a refusal.

Pure: a log supplies what it knows as a ``Shelf`` and the time, and stores the plan it gets back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from bqserver.model import Outcome, Rejected, Stored, Submission
from bqwidget.protocol import (
    Change,
    Delete,
    Draft,
    Edit,
    Expire,
    Message,
    React,
    Send,
    answered,
    encode,
    fold,
    is_open,
    printable,
)

IdempotencyKey = tuple[str, str, str]
"""(room, principal, cid): what makes a send idempotent."""

decode_message = msgspec.json.Decoder(Message).decode


class Target(NamedTuple):
    """The message a change is about: who wrote it, and how it reads now."""

    principal: str
    body: bytes


class Position(NamedTuple):
    """The seq and the time that somebody else's order has given to a draft."""

    seq: int
    at: int


class Row(NamedTuple):
    """A new entry and what a log keeps beside it."""

    entry: Stored
    submission: Submission
    target: int | None


@dataclass(slots=True)
class RoomHead:
    """The newest entry of a room."""

    seq: int
    at: int


class LogState(Protocol):
    """What a log knows already."""

    def head(self, room: str) -> RoomHead: ...
    def find_stored(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, Stored]: ...
    def target(self, room: str, seq: int) -> Target | None: ...
    def trimmed(self, room: str) -> int:
        """The seq up to which what was accepted is known to have been let go since; 0: nothing."""
        ...


@dataclass(slots=True)
class Plan:
    """An outcome for every submission, the new rows, and the messages that read differently now."""

    outcomes: list[Outcome] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    folded: dict[tuple[str, int], bytes] = field(default_factory=dict)


def sequence(
    batch: Sequence[Submission],
    state: LogState,
    now: int = 0,
    positions: Sequence[Position] | None = None,
    *,
    assume_new: bool = False,
) -> Plan:
    """Give every draft its place: the next one, ``now`` (in milliseconds), or the one in ``places``. ``at`` grows
    strictly within a room even where the clock doesn't. The heads of the shelf move on: a log whose commit
    fails forgets them.

    ``trusting``: the shelf isn't asked for what is in the log already, for storing it twice would fail.
    """
    plan = Plan()
    keys = [(room, who, draft.cid) for room, who, draft, *_ in batch if draft.cid]
    known = {} if assume_new else state.find_stored(keys)
    fresh: dict[tuple[str, int], Target] = {}
    for index, submission in enumerate(batch):
        room, principal, draft, verified, _ = submission
        first = known.get((room, principal, draft.cid)) if draft.cid else None
        if first is not None:
            plan.outcomes.append(deduplicate(first, submission))
            continue
        head = state.head(room)
        seq, at = positions[index] if positions else (head.seq + 1, now)
        at = max(at, head.at + 1)
        entry = make_entry(draft, room, seq, at, verified=verified)
        about = target_seq(draft)
        if about is not None:
            old = fresh.get((room, about)) or state.target(room, about)
            if old is None and 0 < about <= state.trimmed(room):
                pass  # it was there when this was accepted
            elif (refusal := validate(submission, entry, old)) or old is None:
                plan.outcomes.append(refusal or _missing(about))
                continue
            else:
                before = decode_message(old.body)
                after = apply_entry(before, entry)
                if after is not before:
                    fresh[room, about] = Target(old.principal, encode(after))
                    plan.folded[room, about] = fresh[room, about].body
        body = encode(entry)
        change = isinstance(entry, Change)
        stored = Stored(room, seq, head.seq, at, body, change)
        if not change:
            fresh[room, seq] = Target(principal, body)
        if draft.cid:
            known[room, principal, draft.cid] = stored
        head.seq, head.at = seq, at
        plan.rows.append(Row(stored, submission, about if change else None))
        plan.outcomes.append(stored)
    return plan


def make_entry(draft: Draft, room: str, seq: int, at: int, *, verified: bool = False) -> Message | Change:
    """The entry that ``draft`` becomes at this place of the log."""
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
            return Change(
                seq=seq, room=room, user=draft.user, at=at, kind="delete", target=draft.target, cid=cid
            )
        case Expire():
            return Change(
                seq=seq, room=room, user=draft.user, at=at, kind="expire", target=draft.target, cid=cid
            )
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


def target_seq(draft: Draft) -> int | None:
    """The seq of the message that it changes or answers; None where it stands by itself."""
    return draft.re if isinstance(draft, Send) else draft.target


def validate(submission: Submission, entry: Message | Change, about: Target | None) -> Rejected | None:
    """Why a draft, as the ``entry`` it would become, may not be about that message; None where it may."""
    _, principal, draft, verified, moderator = submission
    if about is None:
        return _missing(target_seq(draft))
    message = decode_message(about.body)
    author = about.principal
    if message.verified and not verified:
        author = ""  # who merely says to be them is not
    if moderator and isinstance(draft, Delete):
        author = principal  # a moderator deletes anybody's
    return _refusal(entry, principal, message, author)


def apply_entry(message: Message, entry: Message | Change) -> Message:
    """How ``message`` reads once ``entry``, which is about it, is in the log; itself where nothing changes."""
    return fold(message, entry) if isinstance(entry, Change) else answered(message, entry)


def _missing(seq: int | None) -> Rejected:
    return Rejected("not_found", f"this room has no message {seq}", 404)


def deduplicate(first: Stored, submission: Submission) -> Outcome:
    """The same draft composed at the same place gives the same bytes; anything else is another body."""
    draft = submission.draft
    if encode(make_entry(draft, first.room, first.seq, first.at, verified=submission.verified)) == first.body:
        return first._replace(dup=True)
    return Rejected(
        "conflict", f"cid {printable(draft.cid)} was already used for another message: make a new cid", 409
    )


def _refusal(entry: Message | Change, principal: str, about: Message, author: str) -> Rejected | None:
    """Why ``entry`` may not be about that message of ``author``'s; None where it may."""
    seq = about.seq
    match entry:
        case Change(kind="edit" | "delete" | "expire" as kind) if author != principal:
            return Rejected("forbidden", f"only its author may {kind} message {seq}", 403)
        case Change(kind="expire") if not is_open(about):
            return Rejected("conflict", f"message {seq} is no open question", 409)
        case Message(choice=str(choice)) if about.ask is None or choice not in (
            about.ask.choices or (choice,)
        ):
            return Rejected("bad_choice", f"message {seq} does not offer the choice {printable(choice)}", 400)
        case Message(choice=str(), user=user) if about.ask and about.ask.from_ not in (None, user):
            return Rejected("forbidden", f"message {seq} asks somebody else", 403)
    return None
