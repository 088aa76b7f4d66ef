"""Entries, which the log keeps: messages with their attachments, and changes to earlier messages."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .base import Struct, printable

TABLE = "application/vnd.bqwidget.table+json"
"""A Table as JSON: never HTML, so that whoever shows it builds it of elements."""

_LOOKED_AT = 4096
_BEGINS = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    # Possessive: what stands before the root is passed over once, and never in another way.
    "image/svg+xml": re.compile(
        rb"(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*>)*+<svg[\s/>]", re.DOTALL
    ),
}
IMAGES = frozenset(_BEGINS)
"""The types of picture that a room takes; all of them are shown by ``<img>`` alone."""


def image_type(data: bytes) -> str | None:
    """What kind of picture these bytes begin like; None where they are none that a room takes."""
    head = bytes(data[:_LOOKED_AT])
    return next((mime for mime, begins in _BEGINS.items() if begins.match(head)), None)


class Ask(Struct, frozen=True):
    """A message that is a question: who may answer, with what, until when."""

    choices: tuple[str, ...] | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    expires: int | None = None


class Part(Struct, frozen=True):
    """An attachment, fetched from ``/rooms/{room}/parts/{sha256}``. All but its name is the server's to know.

    ``width`` and ``height`` are a picture's, in pixels, so that its place can be kept before it is there.
    """

    mime: str
    sha256: str
    size: int
    name: str | None = None
    width: int | None = None
    height: int | None = None


class Table(Struct, frozen=True):
    """The body of a part of type TABLE: a table's first rows and columns, and how many it has in all."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...]
    total_rows: int
    total_columns: int


class Message(Struct, frozen=True):
    """One message of a room, with every later change folded in.

    ``seq`` grows within the room (never assume +1); ``at`` grows strictly within the room. ``edited`` is
    the time of the last edit, ``reactions`` maps an emoji to the users who gave it. Of a question, ``answer``
    is the seq of the message that answered it and ``expired`` the time at which it ended without one.
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
    """The server knows that it was ``user``; else the name is what somebody said."""

    def __repr__(self) -> str:
        parts = f", parts=[{', '.join(printable(part.name or part.mime) for part in self.parts)}]"
        return (
            f"Message(seq={self.seq}, user={printable(self.user)}, text={printable(self.text)}, at={self.at}"
            f"{parts if self.parts else ''})"
        )


class Change(Struct, frozen=True):
    """An entry that alters the earlier message ``target``; it has a ``seq`` of its own."""

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
    """``message`` as it reads after ``change``; folding the same change twice is folding it once."""
    replace = msgspec.structs.replace
    if message.deleted:
        return message
    match change.kind:
        case "edit":
            return replace(message, text=change.text or "", edited=change.at)
        case "delete":
            return replace(message, text="", parts=(), reactions={}, deleted=True, edited=change.at)
        case "expire":
            return replace(message, expired=change.at)
        case "react":
            emoji = change.emoji or ""
            users = tuple(user for user in message.reactions.get(emoji, ()) if user != change.user)
            users = (*users, change.user) if change.on is not False else users
            reactions = {**message.reactions, emoji: users}
            return replace(message, reactions={key: who for key, who in reactions.items() if who})


def is_open(question: Message) -> bool:
    """Whether it is a question that nobody has answered and that has not been given up."""
    return question.ask is not None and question.answer is None and question.expired is None


def is_answer(question: Message, reply: Message) -> bool:
    """Whether ``reply`` is the answer: the first by seq, in time, from whom it was asked, and one of the choices."""
    ask = question.ask
    if ask is None or not is_open(question) or reply.re != question.seq:
        return False
    in_time = ask.expires is None or reply.at <= ask.expires
    from_them = ask.from_ is None or reply.user == ask.from_
    return in_time and from_them and (not ask.choices or reply.choice in ask.choices)


def answered(question: Message, reply: Message) -> Message:
    """``question`` as it reads after ``reply``."""
    return msgspec.structs.replace(question, answer=reply.seq) if is_answer(question, reply) else question
