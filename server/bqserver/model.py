"""Values that every layer shares: what is submitted to a log, what becomes of it, and what a member may do."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from bqwidget.errors import ProtocolError
from bqwidget.protocol import Draft


class Role(IntEnum):
    """What a member may do in a room. Each role includes the ones below it."""

    NONE = 0
    READ = 1
    WRITE = 2
    MODERATE = 3


class Submission(Struct, frozen=True, gc=False):
    """A draft on its way into the log.

    ``principal``: the sender according to the server. ``verified``: the server has authenticated that name.
    ``moderator``: the sender may delete messages of others. ``now``: of a reply or a vote, the server's present time
    when it was accepted (milliseconds since the epoch), for the question's end. ``author``: of a live message,
    ``Peer.author`` of its sender, who is so known again after a restart of the server. ``author_kind``: of the message,
    "agent" or None.
    """

    room: str
    principal: str
    draft: Draft
    verified: bool = False
    moderator: bool = False
    now: int | None = None
    author: str | None = None
    author_kind: str | None = None


class RedactedSubmission(Submission, frozen=True, gc=False):
    """One from another log, without its text: an edit or a delete that follows there has replaced that."""


class Stored(Struct, frozen=True, gc=False):
    """An entry of the log. ``body``: its JSON. ``prev``: the seq before it. ``dup``: it was stored already. ``author``:
    ``Submission.author``, when it is new.
    """

    room: str
    seq: int
    prev: int
    at: int
    body: bytes
    change: bool = False
    dup: bool = False
    author: str | None = None


class Rejected(NamedTuple):
    """A request or a draft that was not accepted: the error's code and message, its HTTP status, and seconds to wait.

    ``field``: the path of the field that is to blame. ``target``, ``offset``: as in the wire's ``error``.
    """

    code: str
    message: str
    status: int
    retry_after: float | None = None
    field: str | None = None
    target: int | None = None
    offset: int | None = None

    @classmethod
    def of(cls, error: ProtocolError, target: int | None = None) -> Rejected:
        return cls(error.code, str(error), 400, field=error.field, target=target)


STOPPING = Rejected("restart", "the server is stopping: it will be back", 503, 1.0)

Outcome = Stored | Rejected


class References(NamedTuple):
    """Attachments by (room, hash): those that a commit references, and those that no message references after it."""

    named: Sequence[tuple[str, str]] = ()
    freed: Sequence[tuple[str, str]] = ()


class Bounds(NamedTuple):
    """The first and last seq of a room's log; both are 0 before the first entry.

    ``trimmed``: entries up to this seq were removed, and the oldest entry's ``prev`` is this seq; 0: none were.
    """

    oldest: int
    seq: int
    trimmed: int = 0


class LiveRow(NamedTuple):
    """A live message of the log: its folded JSON, and ``Submission.author``."""

    room: str
    seq: int
    author: str
    body: bytes


class RoomRow(NamedTuple):
    """A room that has entries, and its last seq."""

    name: str
    seq: int


class RoomView(NamedTuple):
    """What is shown of a room first: its bounds, and its newest messages up to there (folded, as JSON)."""

    bounds: Bounds
    messages: list[bytes]
