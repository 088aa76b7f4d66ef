"""What becomes of each draft: a new entry with its seq and time, the entry it was already, or a refusal.

Pure: a log supplies what it knows as a ``Shelf`` and the time, and stores the plan it gets back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from bqwidget.protocol import Change, Delete, Draft, Edit, Message, React, Send, encode, fold

from .log import Outcome, Refused, Stored, Submission

Key = tuple[str, str, str]
"""(room, principal, cid): what makes a send idempotent."""

_decode_message = msgspec.json.Decoder(Message).decode


class Target(NamedTuple):
    """The message a change is about: who wrote it, and how it reads now."""

    principal: str
    body: bytes


class Row(NamedTuple):
    """A new entry and what a log keeps beside it."""

    entry: Stored
    submission: Submission
    target: int | None


@dataclass(slots=True)
class Head:
    """The newest entry of a room."""

    seq: int
    at: int


class Shelf(Protocol):
    """What a log knows already."""

    def head(self, room: str) -> Head: ...
    def known(self, keys: Iterable[Key]) -> dict[Key, Stored]: ...
    def target(self, room: str, seq: int) -> Target | None: ...


@dataclass(slots=True)
class Plan:
    """An outcome for every submission, the new rows, and the messages that read differently now."""

    outcomes: list[Outcome] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    folded: dict[tuple[str, int], bytes] = field(default_factory=dict)


def sequence(batch: Sequence[Submission], shelf: Shelf, now: int) -> Plan:
    """Give every draft its place. ``now`` is in milliseconds; ``at`` grows strictly within a room even
    where the clock doesn't. The heads of the shelf move on: a log whose commit fails forgets them.
    """
    plan = Plan()
    known = shelf.known([(room, who, draft.cid) for room, who, draft in batch if draft.cid])
    fresh: dict[tuple[str, int], Target] = {}
    for submission in batch:
        room, principal, draft = submission
        first = known.get((room, principal, draft.cid)) if draft.cid else None
        if first is not None:
            plan.outcomes.append(_again(first, draft))
            continue
        head = shelf.head(room)
        seq, at = head.seq + 1, max(now, head.at + 1)
        entry = compose(draft, room, seq, at)
        target = None
        if isinstance(entry, Change):
            target = entry.target
            place = (room, target)
            old = fresh.get(place) or shelf.target(room, target)
            refusal = _may_change(old, target, principal, entry)
            if refusal is not None or old is None:
                plan.outcomes.append(refusal or _not_found(target))
                continue
            body = encode(fold(_decode_message(old.body), entry))
            fresh[place] = Target(old.principal, body)
            plan.folded[place] = body
        body = encode(entry)
        stored = Stored(room, seq, head.seq, at, body, target is not None)
        if target is None:
            fresh[room, seq] = Target(principal, body)
        if draft.cid:
            known[room, principal, draft.cid] = stored
        head.seq, head.at = seq, at
        plan.rows.append(Row(stored, submission, target))
        plan.outcomes.append(stored)
    return plan


def compose(draft: Draft, room: str, seq: int, at: int) -> Message | Change:
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


def _again(first: Stored, draft: Draft) -> Outcome:
    """The same draft composed at the same place gives the same bytes; anything else is another body."""
    if encode(compose(draft, first.room, first.seq, first.at)) == first.body:
        return first._replace(dup=True)
    return Refused("conflict", f"cid {draft.cid} was already used for another message: make a new cid", 409)


def _may_change(old: Target | None, target: int, principal: str, change: Change) -> Refused | None:
    if old is None:
        return _not_found(target)
    if change.kind in ("edit", "delete") and old.principal != principal:
        return Refused("forbidden", f"only its author may {change.kind} message {target}", 403)
    return None


def _not_found(target: int) -> Refused:
    return Refused("not_found", f"target: this room has no message {target}", 404)
