"""Entries of the log: messages with their attachments, and changes of earlier messages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from .base import Struct, printable

TABLE = "application/vnd.bqwidget.table+json"
"""The MIME type of a Table as JSON. It is never HTML: a view creates elements from it."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_LOOKED_AT = 4096
_BEGINS = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    # Possessive, so that the part before the root element is matched in linear time.
    "image/svg+xml": re.compile(
        rb"(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*>)*+<svg[\s/>]", re.DOTALL
    ),
}
IMAGES = frozenset(_BEGINS)
"""The picture types that a room accepts. They are shown by ``<img>`` only."""


def image_type(data: bytes) -> str | None:
    """The MIME type of a picture by its first bytes; None if it is not one of IMAGES."""
    head = bytes(data[:_LOOKED_AT])
    return next((mime for mime, begins in _BEGINS.items() if begins.match(head)), None)


class Ask(Struct, frozen=True):
    """Makes a message a question. ``from_``: only this user may answer. ``expires``: the time of its end."""

    choices: tuple[str, ...] | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    expires: int | None = None


class Part(Struct, frozen=True):
    """An attachment, fetched from ``/rooms/{room}/parts/{sha256}``. The server sets all fields but ``name``.

    ``size``: bytes. ``width``, ``height``: of a picture, in pixels, so that a view can reserve its space.
    """

    mime: str
    sha256: str
    size: int
    name: str | None = None
    width: int | None = None
    height: int | None = None


class Table(Struct, frozen=True):
    """The body of an attachment of type TABLE: the first rows and columns, and the total numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...]
    total_rows: int
    total_columns: int


class Message(Struct, frozen=True):
    """One message of a room, with all later changes folded in.

    ``seq`` grows within the room, not always by 1; ``at`` grows strictly. ``re``: the seq of the message to which this
    is a reply. ``edited``: the time of the last edit. ``reactions``: emoji to the users who gave it. Of a question:
    ``answer`` is the seq of its answer, ``expired`` the time at which it ended without one.
    Example: ``room.messages[-1].text``
    """

    seq: int
    room: str
    user: str
    text: str
    at: int
    cid: str | None = None
    re: int | None = None
    choice: str | None = None
    ask: Ask | None = None
    parts: tuple[Part, ...] = ()
    edited: int | None = None
    deleted: bool = False
    reactions: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    answer: int | None = None
    expired: int | None = None
    verified: bool = False
    """Whether the server authenticated ``user``; else the name is self-asserted."""
    real_at: int | None = None
    """Of a reply: the server's present time, where ``at`` differs from it because the clock was set."""
    redacted: bool = False
    """In the raw log: a later edit or delete has replaced what was sent, which is stored nowhere any more."""

    @property
    def time(self) -> datetime:
        """``at`` as a datetime in UTC. Example: ``message.time.astimezone()`` is the local time."""
        return _EPOCH + timedelta(milliseconds=self.at)

    def __repr__(self) -> str:
        parts = f", parts=[{', '.join(printable(part.name or part.mime) for part in self.parts)}]"
        return (
            f"Message(seq={self.seq}, user={printable(self.user)}, text={printable(self.text)}, "
            f"time='{shown_time(self)} UTC'{parts if self.parts else ''})"
        )


def shown_time(message: Message) -> str:
    """The time in UTC, to the second; of a time after the year 9999, its milliseconds."""
    try:
        return f"{message.time:%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return str(message.at)


class Change(Struct, frozen=True):
    """An entry that changes the earlier message with the seq ``target``; it has a ``seq`` of its own.

    An edit without ``text`` was superseded by a later edit or a delete: the server has removed its text.
    """

    seq: int
    room: str
    user: str
    at: int
    kind: Literal["edit", "delete", "react", "expire"]
    target: int
    cid: str | None = None
    text: str | None = None
    emoji: str | None = None
    on: bool | None = None


Entry = Message | Change


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
        case "react":
            emoji = change.emoji or ""
            users = tuple(user for user in message.reactions.get(emoji, ()) if user != change.user)
            users = (*users, change.user) if change.on is not False else users
            reactions = {**message.reactions, emoji: users}
            return replace(message, reactions={key: who for key, who in reactions.items() if who})


def without_content(message: Message) -> Message:
    """``message`` without what its author wrote and others added; who sent it and when stays, and what it replies to.

    ``choice`` stays too: one of the choices of a question, which still has them, decides whether that was answered.
    """
    return msgspec.structs.replace(message, text="", parts=(), ask=None, reactions={}, answer=None, expired=None)


def is_empty(message: Message) -> bool:
    """Whether nothing of the message is left to read: it was deleted, or its delete follows in the raw log."""
    return message.deleted or (message.redacted and not message.text and not message.parts)


def is_open(question: Message) -> bool:
    """Whether it is a question without an answer that has not expired."""
    return question.ask is not None and question.answer is None and question.expired is None


def is_answer(question: Message, reply: Message) -> bool:
    """Whether ``reply`` answers the open ``question``: in time, by an asked user, and with one of its choices."""
    ask = question.ask
    if ask is None or not is_open(question) or reply.re != question.seq:
        return False
    moment = reply.at if reply.real_at is None else reply.real_at
    in_time = ask.expires is None or moment <= ask.expires
    from_them = ask.from_ is None or reply.user == ask.from_
    return in_time and from_them and (not ask.choices or reply.choice in ask.choices)


def answered(question: Message, reply: Message) -> Message:
    """``question`` after ``reply``, with ``answer`` set if that is its answer."""
    return msgspec.structs.replace(question, answer=reply.seq) if is_answer(question, reply) else question
