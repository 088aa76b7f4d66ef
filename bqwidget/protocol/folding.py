"""Folds later entries into a message: edits, reactions, appended text, steps, votes, answers."""

from __future__ import annotations

import msgspec

from .entries import Change, Message, Step


def fold(message: Message, change: Change) -> Message:
    """``message`` after ``change``. Folding the same change again has no further effect."""
    replace = msgspec.structs.replace
    if message.deleted:
        return message
    match change.kind:
        case "edit":
            text = message.text if change.text is None else change.text
            return replace(message, text=text, edited=change.at, redacted=False)
        case "delete":
            return replace(without_content(message), deleted=True, edited=change.at, redacted=False)
        case "expire":
            return replace(message, expired=change.at)
        case "react" if change.pin:
            return replace(message, pinned=None if change.on is False else change.at)
        case "react":
            emoji = change.emoji or ""
            return replace(message, reactions=_marked(message.reactions, emoji, change.user, on=change.on is not False))
        case "append":
            if not message.live or change.length is not None:
                return message
            text = message.text
            if change.text is not None and change.offset is not None:  # else it was removed
                text = spliced(text, change.offset, change.text, replace=bool(change.replace))
            return replace(message, text=text, progress=change.progress or message.progress)
        case "step":
            return _with_step(message, change)
        case "end":
            if not message.live:
                return message
            text = message.text if change.text is None else change.text
            progress = message.progress and replace(message.progress, left_ms=None)
            return replace(
                message, text=text, live=False, end=change.end, stopped_by=change.stopped_by, progress=progress
            )
        case "vote":
            return _with_vote(message, change)


def spliced(text: str, offset: int, piece: str, *, replace: bool = False) -> str:
    """``text`` with ``piece`` at ``offset``, in code points; the overlap of the two is dropped.

    Returns ``text`` itself if it does not reach ``offset``: the piece between them is missing.
    Example: ``spliced("one t", 4, "two") == "one two"``
    """
    if offset > len(text):
        return text
    return text[:offset] + piece if replace else text + piece[len(text) - offset :]


def common_length(one: str, other: str) -> int:
    """How many code points both texts begin with. Example: ``common_length("one two", "one three") == 5``

    By bisection, because slices are compared much faster than single characters.
    """
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _marked(marks: dict[str, tuple[str, ...]], key: str, user: str, *, on: bool) -> dict[str, tuple[str, ...]]:
    """``marks``, which are the users of each key, with ``user`` added to those of ``key`` or removed from them."""
    others = tuple(each for each in marks.get(key, ()) if each != user)
    marks = {**marks, key: (*others, user) if on else others}
    return {key: users for key, users in marks.items() if users}


def _with_step(message: Message, change: Change) -> Message:
    if not message.live or change.id is None or change.title is None or change.state is None:
        return message
    step = Step(id=change.id, title=change.title, state=change.state, text=change.text, ms=change.ms)
    steps = {each.id: each for each in message.steps}
    steps[step.id] = step
    return msgspec.structs.replace(message, steps=tuple(steps.values()))


def _with_vote(poll: Message, vote: Change) -> Message:
    """``poll`` after ``vote``. With the last vote of those who were asked it ends, as ``expired`` says."""
    ask, choice = poll.ask, vote.choice
    if ask is None or choice is None or not can_vote(poll, vote.user, choice, vote.at, vote.real_at):
        return poll
    votes = poll.votes
    for each in poll.votes:
        votes = _marked(votes, each, vote.user, on=False)
    votes = _marked(votes, choice, vote.user, on=True)
    voted = {user for users in votes.values() for user in users}
    expired = vote.at if ask.asked and voted.issuperset(ask.asked) else None
    return msgspec.structs.replace(poll, votes=votes, expired=expired)


def can_vote(poll: Message, user: str, choice: str, at: int, real_at: int | None = None) -> bool:
    """Whether ``user`` may vote for ``choice``: the poll is open, offers it, and was put to them."""
    ask = poll.ask
    if ask is None or not ask.poll or not is_open(poll) or choice not in (ask.choices or ()):
        return False
    in_time = ask.expires is None or (at if real_at is None else real_at) <= ask.expires
    return in_time and (not ask.asked or user in ask.asked)


def without_content(message: Message) -> Message:
    """``message`` without what its author wrote and others added; who sent it and when stays, and what it replies to.

    ``choice`` stays too: one of the choices of a question, which still has them, decides whether that was answered.
    """
    return msgspec.structs.replace(
        message,
        text="",
        parts=(),
        ask=None,
        reactions={},
        answer=None,
        expired=None,
        live=False,
        steps=(),
        progress=None,
        votes={},
        pinned=None,
        cell=None,
    )


def is_empty(message: Message) -> bool:
    """Whether nothing of the message is left to read: it was deleted, or its delete follows in the raw log."""
    return message.deleted or (message.redacted and not message.text and not message.parts)


def is_open(question: Message) -> bool:
    """Whether it is a question without an answer, or a poll, that has not expired."""
    return question.ask is not None and question.answer is None and question.expired is None


def is_answer(question: Message, reply: Message) -> bool:
    """Whether ``reply`` answers the open ``question``: in time, by an asked user, and with one of its choices."""
    ask = question.ask
    if ask is None or ask.poll or not is_open(question) or reply.re != question.seq:
        return False
    moment = reply.at if reply.real_at is None else reply.real_at
    in_time = ask.expires is None or moment <= ask.expires
    from_them = not ask.asked or reply.user in ask.asked
    return in_time and from_them and (not ask.choices or reply.choice in ask.choices)


def answered(question: Message, reply: Message) -> Message:
    """``question`` after ``reply``, with ``answer`` set if that is its answer."""
    return msgspec.structs.replace(question, answer=reply.seq) if is_answer(question, reply) else question
