"""Assigns seq and timestamp to each draft, or resolves it to a duplicate or a rejection.

Pure: the log supplies its state (``LogState``) and the time, and stores the returned ``Plan``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from bqserver.model import Outcome, References, Rejected, Stored, Submission
from bqwidget.protocol import (
    Change,
    Message,
    Part,
    answered,
    encode,
    fold,
    printable,
)

from .entries import new_entry, target_seq
from .redaction import ADDITIONS, LIVE_KINDS, decode_change, decode_message, is_redacted, redact, without_text
from .rejections import missing, reject, reject_excess

IdempotencyKey = tuple[str, str, str]
"""(room, principal, cid): identifies a draft that is sent again."""


class Target(Struct, frozen=True, gc=False):
    """The message that a draft changes or answers: the principal of its author, and its current JSON."""

    principal: str
    body: bytes


class Position(NamedTuple):
    """The seq and time (ms) that another log, such as a stream, has assigned to a draft."""

    seq: int
    at: int


class Row(Struct, frozen=True, gc=False):
    """A new entry with the columns that a log stores for it. ``target``: the message that a change applies to."""

    entry: Stored
    submission: Submission
    target: int | None


@dataclass(slots=True)
class RoomHead:
    """Seq and time (ms) of the newest entry of a room."""

    seq: int
    at: int


class LogState(Protocol):
    """What is stored already."""

    def head(self, room: str) -> RoomHead: ...
    def find_stored(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, Stored]: ...
    def target(self, room: str, seq: int) -> Target | None: ...
    def texts(self, room: str, seq: int) -> dict[int, bytes]:
        """The JSON, by seq, of the raw entries with a text of message ``seq``: its own, and those of its changes."""
        ...

    def additions(self, room: str, seq: int) -> dict[int, bytes]:
        """The JSON, by seq, of the raw changes that are ADDITIONS to message ``seq``."""
        ...

    def trimmed(self, room: str) -> int:
        """Accepted entries up to this seq were removed since; 0: none were."""
        ...


@dataclass(slots=True)
class Plan:
    """An outcome for every submission, and what to store, by (room, seq).

    ``rows``: entries to insert. ``folded``: the new JSON of changed messages. ``redacted``: the new JSON of raw
    entries whose text is superseded; it replaces the one in ``rows`` too. ``emptied``: the attachments of deleted
    messages. ``targets``: the message that each redacted entry belongs to. ``references``: what became of attachments, once the plan is stored.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    folded: dict[tuple[str, int], bytes] = field(default_factory=dict)
    redacted: dict[tuple[str, int], bytes] = field(default_factory=dict)
    targets: dict[tuple[str, int], int] = field(default_factory=dict)
    emptied: dict[tuple[str, int], tuple[Part, ...]] = field(default_factory=dict)
    references: References = References()  # noqa: RUF009 - immutable


def sequence(
    batch: Sequence[Submission],
    state: LogState,
    now: int = 0,
    positions: Sequence[Position] | None = None,
    *,
    assume_new: bool = False,
) -> Plan:
    """Assign each draft the next seq and ``now`` (in milliseconds), or the given position.

    ``at`` increases strictly within a room, even if the clock does not. Advances the heads of ``state``: after a
    failed commit the log has to reset them. ``assume_new``: skip the search for duplicates; the caller relies on
    the database to reject a duplicate key.
    """
    plan = Plan()
    keys = [(one.room, one.principal, one.draft.cid) for one in batch if one.draft.cid]
    known = {} if assume_new else state.find_stored(keys)
    fresh: dict[tuple[str, int], Target] = {}
    changed: dict[tuple[str, int], Message] = {}  # decoded once: a batch may change one message many times
    redactor = _Redactor(plan, state)
    for index, submission in enumerate(batch):
        room, principal, draft = submission.room, submission.principal, submission.draft
        first = known.get((room, principal, draft.cid)) if draft.cid else None
        if first is not None:
            plan.outcomes.append(deduplicate(first, submission))
            continue
        head = state.head(room)
        seq, at = positions[index] if positions else (head.seq + 1, now)
        at = max(at, head.at + 1)
        entry = new_entry(submission, seq, at)
        ref = target_seq(draft)
        if ref is not None:
            old = fresh.get((room, ref)) or state.target(room, ref)
            if old is not None:
                before = changed.get((room, ref)) or decode_message(old.body)
                entry = _by_author(entry, before)
                rejection = reject(submission, entry, old.principal, before)
                if rejection is None and positions is None:
                    rejection = reject_excess(before, entry)
                if rejection is not None:
                    plan.outcomes.append(rejection)
                    continue
                after = apply_entry(before, entry)
                if after is not before:
                    if (room, ref) in fresh and (room, ref) not in changed:
                        redactor.texts[room, ref] = {ref: old.body}  # a message of this batch: its raw entry
                    fresh[room, ref], changed[room, ref] = old, after
                    redactor.apply(before, after, entry)
                elif before.deleted and isinstance(entry, Change) and entry.text is not None:
                    entry = replace(entry, text=None)
            elif positions is None or not 0 < ref <= state.trimmed(room):
                # else another log accepted this draft, and its target existed then
                plan.outcomes.append(missing(ref))
                continue
        body = encode(entry)
        stored = Stored(room, seq, head.seq, at, body, type(entry) is Change, author=submission.author)
        if not stored.change:
            fresh[room, seq] = Target(principal, body)
        if draft.cid:
            known[room, principal, draft.cid] = stored
        head.seq, head.at = seq, at
        plan.rows.append(Row(stored, submission, ref if stored.change else None))
        plan.outcomes.append(stored)
    plan.folded.update({key: encode(message) for key, message in changed.items()})
    return plan


def validate(submission: Submission, entry: Message | Change, target: Target | None) -> Rejected | None:
    """The reason why a draft, which would become ``entry``, can't change or answer ``target``; None: it can."""
    if target is None:
        return missing(target_seq(submission.draft))
    return reject(submission, entry, target.principal, decode_message(target.body))


def _by_author(entry: Message | Change, other: Message | Change) -> Message | Change:
    """``entry`` in the name of ``other``, if only the author of a live message can have sent it."""
    if isinstance(entry, Change) and entry.kind in LIVE_KINDS:
        return replace(entry, user=other.user)
    return entry


def apply_entry(message: Message, entry: Message | Change) -> Message:
    """``message`` after ``entry``, which changes or answers it; the same object if nothing changes."""
    return fold(message, entry) if isinstance(entry, Change) else answered(message, entry)


def deduplicate(first: Stored, submission: Submission) -> Outcome:
    """The stored entry if ``submission`` is the same draft, which gives the same bytes; else a conflict.

    Nothing is kept of a text that was edited or deleted, not even a hash that guesses could be compared with. So a
    repeated draft of such an entry is a duplicate whatever its text: it must neither be stored again nor fail.
    """
    stored = (decode_change if first.change else decode_message)(first.body)
    # What an earlier release stored does not say what its author is.
    author_kind = None if isinstance(stored, Change) else stored.author_kind
    same = replace(submission, now=stored.real_at, author_kind=author_kind)
    entry = _by_author(new_entry(same, first.seq, first.at), stored)
    if encode(entry) == first.body:
        return replace(first, dup=True)
    if is_redacted(stored) and without_text(entry) == without_text(stored):
        return replace(first, dup=True)
    cid = printable(submission.draft.cid)
    return Rejected("conflict", f"cid {cid} was already used for another message: make a new cid", 409)


class _Redactor:
    """Redacts raw entries, in ``plan``, whose text has been superseded. ``texts``: by message, those that have one, apart
    from the changes of live messages in this batch.
    """

    def __init__(self, plan: Plan, state: LogState) -> None:
        self.texts: dict[tuple[str, int], dict[int, bytes]] = {}
        self._additions: dict[tuple[str, int], dict[int, bytes]] = {}
        self._written: dict[tuple[str, int], dict[int, bytes]] = {}
        self._plan = plan
        self._state = state

    def apply(self, before: Message, after: Message, entry: Message | Change) -> None:
        """``entry`` has changed a message."""
        key = after.room, after.seq
        if isinstance(entry, Change) and entry.kind in ADDITIONS:
            self._additions.setdefault(key, {})[entry.seq] = encode(entry)
        elif isinstance(entry, Change) and entry.kind in LIVE_KINDS and entry.text is not None:
            self._written.setdefault(key, {})[entry.seq] = encode(entry)
        if not after.deleted and after.edited == before.edited:
            return
        held = self.texts[key] if key in self.texts else self._state.texts(*key)
        held = held | self._written.pop(key, {})
        if after.deleted:
            held = held | self._state.additions(*key) | self._additions.pop(key, {})
            self._plan.emptied[key] = before.parts
        new = redact(held, after)
        for seq, body in new.items():
            self._plan.redacted[after.room, seq] = body
            self._plan.targets[after.room, seq] = after.seq
        self.texts[key] = {} if after.deleted else {after.seq: new[after.seq], entry.seq: encode(entry)}
