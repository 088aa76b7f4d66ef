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
_SNIFFED_CHARACTERS = 4096
_IMAGE_SIGNATURES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    # Possessive, so that the part before the root element is matched in linear time.
    "image/svg+xml": re.compile(
        rb"(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*>)*+<svg[\s/>]", re.DOTALL
    ),
}
IMAGES = frozenset(_IMAGE_SIGNATURES)
"""The picture types that a room accepts. They are shown by ``<img>`` only."""


def image_type(data: bytes) -> str | None:
    """The MIME type of a picture by its first bytes; None if it is not one of IMAGES."""
    head = bytes(data[:_SNIFFED_CHARACTERS])
    return next((mime for mime, begins in _IMAGE_SIGNATURES.items() if begins.match(head)), None)


class Ask(Struct, frozen=True):
    """Makes a message a question. ``from_``: only this user may answer. ``expires``: the time of its end.

    ``poll``: every member has one vote, of which the last counts; only those in ``from_`` may vote, if there are any.
    """

    choices: tuple[str, ...] | None = None
    from_: str | tuple[str, ...] | None = msgspec.field(default=None, name="from")
    expires: int | None = None
    poll: bool = False

    @property
    def asked(self) -> tuple[str, ...]:
        """The users in ``from_``; empty if every member may answer."""
        return (self.from_,) if isinstance(self.from_, str) else self.from_ or ()


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


class CellAnchor(Struct, frozen=True):
    """The notebook cell that a message is about. ``id``: of the cell, as in the notebook's file.

    ``path``: of the notebook, below the folder that Jupyter serves; "" if it is not known.
    """

    path: str
    id: str


class Step(Struct, frozen=True):
    """One step of what the author of a live message does, such as a search. ``ms``: how long it took."""

    id: str
    title: str
    state: Literal["running", "done", "failed"]
    text: str | None = None
    ms: int | None = None


class Progress(Struct, frozen=True):
    """Makes a live message the progress of some work. ``fraction``: 0 to 1; None if the total is not known.

    ``left_ms``: the time left, estimated. It is no part of the text, for it means nothing once the message has ended.
    """

    fraction: float | None = None
    left_ms: int | None = None


Ending = Literal["done", "stopped", "failed", "lost"]
"""How a live message ended. ``lost``: its author has gone, and the server ended it."""


class Message(Struct, frozen=True):
    """One message of a room, with all later changes folded in.

    ``seq`` grows within the room, not always by 1; ``at`` grows strictly. ``re``: the seq of the message to which this
    is a reply. ``edited``: the time of the last edit. ``reactions``: emoji to the users who gave it. Of a question:
    ``answer`` is the seq of its answer, ``expired`` the time at which it ended without one; of a poll: ``votes`` are
    its choices with the users who chose them, ``expired`` the time at which it ended. ``live``: it is being written,
    so that its text and its ``steps`` still grow; ``end`` is how that ended, ``stopped_by`` the user who stopped it.
    ``stoppable``: a live message may be asked to stop. ``pinned``: the time at which a moderator pinned it. ``format``:
    "plain" if the text is shown as it is, None if it is Markdown. ``author_kind``: "agent" if an agent wrote it, None
    for people and kernels. ``cell``: the notebook cell that it is about.
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
    live: bool = False
    end: Ending | None = None
    stopped_by: str | None = None
    steps: tuple[Step, ...] = ()
    progress: Progress | None = None
    votes: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    format: str | None = None
    stoppable: bool = True
    author_kind: str | None = None
    pinned: int | None = None
    cell: CellAnchor | None = None

    def __hash__(self) -> int:
        return hash((self.room, self.seq))

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

    An edit without ``text`` was superseded by a later edit or a delete: the server has removed its text. The same
    holds for an append without ``text`` and ``length``.
    """

    seq: int
    room: str
    user: str
    at: int
    kind: Literal["edit", "delete", "react", "expire", "append", "step", "end", "vote"]
    target: int
    cid: str | None = None
    text: str | None = None
    """The new text of an edit, the added text of an append, the whole text of an end if it replaces that."""
    emoji: str | None = None
    on: bool | None = None
    pin: bool | None = None
    """Of a react: the message is pinned, or with ``on`` False no more, in place of the reaction."""
    offset: int | None = None
    """Of an append: the code points of the text before it."""
    length: int | None = None
    """Of an append, to a member who was sent the pieces: the code points of ``text``, which is left out."""
    replace: bool | None = None
    """Of an append: what the message had from ``offset`` on is replaced."""
    progress: Progress | None = None
    id: str | None = None
    """Of a step, as ``title``, ``state`` and ``ms``: the fields of ``Step``."""
    title: str | None = None
    state: Literal["running", "done", "failed"] | None = None
    ms: int | None = None
    end: Ending | None = None
    stopped_by: str | None = None
    choice: str | None = None
    """Of a vote."""
    real_at: int | None = None
    """Of a vote: as ``Message.real_at``."""


Entry = Message | Change
