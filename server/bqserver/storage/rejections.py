"""Why a draft can't change or answer a message. Pure."""

from __future__ import annotations

from bqserver.model import Rejected, Submission
from bqwidget.protocol import (
    MAX_EMOJIS,
    MAX_REACTIONS,
    MAX_STEPS,
    MAX_VOTES,
    Change,
    Delete,
    Message,
    React,
    can_vote,
    is_empty,
    is_open,
    printable,
)


def reject_excess(message: Message, entry: Message | Change) -> Rejected | None:
    """The reason why ``entry`` is one reaction or vote too many; None: it is not. Each of them is part of the message, so
    the cost of one grows with their number.

    This decides about new drafts only: the entries of a stream or a copy, which an earlier version accepted, stay.
    """
    match entry:
        case Change(kind="react", on=on, pin=pin) if on is not False and not pin:
            return _reject_reaction(message, entry)
        case Change(kind="vote", user=user) if sum(map(len, message.votes.values())) >= MAX_VOTES:
            if not any(user in users for users in message.votes.values()):
                return Rejected(
                    "too_many_votes", f"poll {message.seq} has {MAX_VOTES:,} votes, which is the limit", 409
                )
    return None


def _reject_reaction(message: Message, entry: Change) -> Rejected | None:
    users = message.reactions.get(entry.emoji or "", ())
    if not users and len(message.reactions) >= MAX_EMOJIS:
        text = f"message {message.seq} has {MAX_EMOJIS} different reactions, which is the limit: choose one of these"
        return Rejected("too_many_reactions", text, 409)
    if entry.user not in users and sum(map(len, message.reactions.values())) >= MAX_REACTIONS:
        text = f"message {message.seq} has {MAX_REACTIONS:,} reactions, which is the limit: remove one first"
        return Rejected("too_many_reactions", text, 409)
    return None


def reject(submission: Submission, entry: Message | Change, author: str, message: Message) -> Rejected | None:
    """The reason why ``entry`` can't change or answer ``message`` of ``author``; None: it can."""
    principal, draft, moderator = submission.principal, submission.draft, submission.moderator
    if message.verified and not submission.verified:
        author = ""  # an unverified sender of the same name is not the author
    if isinstance(draft, React) and draft.pin and not moderator:
        return Rejected("forbidden", f"only a moderator may pin message {message.seq}, or unpin it", 403)
    if moderator and isinstance(draft, Delete):
        author = principal  # a moderator may delete any message
    return _reject_change(entry, principal, message, author)


def missing(seq: int | None) -> Rejected:
    return Rejected("not_found", f"this room has no message {seq}", 404)


def _reject_change(entry: Message | Change, principal: str, message: Message, author: str) -> Rejected | None:
    """The reason why ``entry`` can't apply to a message of ``author``; None: it can."""
    seq = message.seq
    match entry:
        case Change(kind="vote") if message.deleted:
            return _not_a_poll(seq)
        case Change(kind="vote", choice=None):
            return None  # another log accepted it, and its poll is deleted there
        case Change(kind="edit" | "delete" | "expire" as kind) if author != principal:
            return Rejected("forbidden", f"only its author may {kind} message {seq}", 403)
        case Change(kind="edit") if message.live:
            return Rejected("live", f"message {seq} is still being written: end it, then edit it", 409, target=seq)
        case Change(kind="append" | "step" | "end"):
            return _reject_writing(entry, principal, message, author)
        case _ if is_empty(message):
            return None  # what it asked is not known any more
        case Change(kind="expire") if not is_open(message):
            return Rejected("conflict", f"message {seq} is not an open question", 409)
        case Change(kind="vote"):
            return _reject_vote(message, entry)
        case Message(choice=str(choice)) if message.ask is None or choice not in (message.ask.choices or (choice,)):
            return Rejected("bad_choice", f"message {seq} does not offer the choice {printable(choice)}", 400)
        case Message(choice=str(), user=user) if message.ask and user not in (message.ask.asked or (user,)):
            return Rejected("forbidden", f"message {seq} is addressed to another member", 403)
    return None


def _reject_vote(poll: Message, vote: Change) -> Rejected | None:
    """The reason why ``vote`` does not count in ``poll``; None: it does."""
    ask, seq, choice = poll.ask, poll.seq, vote.choice
    if ask is None or not ask.poll:
        return _not_a_poll(seq)
    if choice is None or choice not in (ask.choices or ()):
        return Rejected("bad_choice", f"poll {seq} does not offer the choice {printable(choice or '')}", 400)
    if ask.asked and vote.user not in ask.asked:
        return Rejected("forbidden", f"poll {seq} is addressed to other members", 403)
    if not can_vote(poll, vote.user, choice, vote.at, vote.real_at):
        return Rejected("conflict", f"poll {seq} has ended", 409)
    return None


def _reject_writing(change: Change, principal: str, message: Message, author: str) -> Rejected | None:
    """The reason why ``change`` can't be written on the live ``message`` of ``author``; None: it can."""
    seq = message.seq
    if author != principal:
        return Rejected("forbidden", f"only its author may write on message {seq}", 403, target=seq)
    if not message.live:
        return Rejected("not_live", f"message {seq} is not being written any more", 409, target=seq)
    is_new = change.kind == "step" and all(step.id != change.id for step in message.steps)
    if is_new and len(message.steps) >= MAX_STEPS:
        text = f"message {seq} has {MAX_STEPS} steps, which is the limit: change one of these"
        return Rejected("too_many_steps", text, 409, target=seq)
    return None


def _not_a_poll(seq: int) -> Rejected:
    return Rejected("not_a_poll", f"message {seq} is not a poll: reply to it", 400)
