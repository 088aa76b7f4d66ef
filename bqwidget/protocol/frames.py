"""Frames, which travel: those that a server sends, those that a client sends, and the body of a POST."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .base import Struct
from .entries import Ask, Change, Message, Part
from .limits import Limits

# ---- server to client ------------------------------------------------------------------------------


class Hello(Struct, frozen=True, tag_field="type", tag="hello"):
    """The first frame. ``seq`` and ``oldest`` bound the log; ``resumed``: a replay of what was missed follows."""

    room: str
    epoch: str
    seq: int
    oldest: int
    resumed: bool
    limits: Limits
    heartbeat_ms: int
    user: str | None = None
    """The verified name under which this member writes; absent where it is the one that frames say."""
    now: int | None = None
    """The server's clock, by which entries get their ``at`` and questions end."""


class MessageFrame(Struct, frozen=True, tag_field="type", tag="message"):
    """A new message; ``prev`` is the seq of the entry before it in the log (0: there is none)."""

    entry: Message
    prev: int | None = None


class ChangeFrame(Struct, frozen=True, tag_field="type", tag="change"):
    entry: Change
    prev: int | None = None


class Ack(Struct, frozen=True, tag_field="type", tag="ack", omit_defaults=False):
    """The entry sent under ``cid`` is durable; ``dup``: it was already."""

    cid: str
    seq: int
    at: int
    dup: bool


class Synced(Struct, frozen=True, tag_field="type", tag="synced"):
    """Everything up to ``seq`` has been sent. Repeated when idle, so that a lost tail shows."""

    seq: int


class Gap(Struct, frozen=True, tag_field="type", tag="gap"):
    """Not sent: the entries in ``from < seq <= to``. Page them by REST; the next ``prev`` is ``to``."""

    from_: int = msgspec.field(name="from")
    to: int
    reason: Literal["long", "slow", "trimmed", "epoch"]


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    """A frame was refused; ``cid`` names the send it answers, ``retry_ms`` says when another try may pass."""

    code: str
    message: str
    cid: str | None = None
    retry_ms: int | None = None


class Bye(Struct, frozen=True, tag_field="type", tag="bye"):
    """The server is about to close this connection, and when to come back."""

    code: int
    retry_ms: int | None = None


class Profile(Struct, frozen=True):
    """How a verified member wants to be shown; told with their presence, and not kept in the log.

    ``name`` is one to read beside ``user``, ``initials`` stand in for a picture, ``color`` is a CSS colour,
    JupyterLab's ``var(--jp-collaborator-color1)`` among them, and ``avatar`` a small picture as a ``data:``
    URL: any other address would tell its host who reads the room.
    """

    name: str | None = None
    initials: str | None = None
    color: str | None = None
    avatar: str | None = None


class Member(Struct, frozen=True):
    """Somebody in the room; ``kind`` is ``person`` or ``kernel``, ``busy`` is told by kernels."""

    user: str
    kind: str = "person"
    busy: bool | None = None
    typing: bool | None = None
    verified: bool = False
    profile: Profile | None = None


class Presence(Struct, frozen=True, tag_field="type", tag="presence"):
    """Who is in the room now: the whole list at once."""

    members: tuple[Member, ...] = ()


class Echo(Struct, frozen=True, tag_field="type", tag="echo"):
    message: Any


ServerFrame = Hello | MessageFrame | ChangeFrame | Ack | Synced | Gap | Error | Bye | Presence | Echo


# ---- client to server ------------------------------------------------------------------------------


class Send(Struct, frozen=True, tag_field="type", tag="chat.send"):
    cid: str
    user: str
    text: str
    re: int | None = None
    choice: str | None = None
    ask: Ask | None = None
    parts: tuple[Part, ...] = ()


class Edit(Struct, frozen=True, tag_field="type", tag="chat.edit"):
    cid: str
    user: str
    target: int
    text: str


class Delete(Struct, frozen=True, tag_field="type", tag="chat.delete"):
    cid: str
    user: str
    target: int


class React(Struct, frozen=True, tag_field="type", tag="chat.react"):
    cid: str
    user: str
    target: int
    emoji: str
    on: bool = True


class Expire(Struct, frozen=True, tag_field="type", tag="chat.expire"):
    """The asker gives up on its open question ``target``."""

    cid: str
    user: str
    target: int


class Busy(Struct, frozen=True, tag_field="type", tag="chat.busy"):
    """A kernel tells whether it runs a cell."""

    busy: bool


class Typing(Struct, frozen=True, tag_field="type", tag="chat.typing"):
    user: str | None = None


class Resume(Struct, frozen=True, tag_field="type", tag="chat.resume"):
    """Ask for everything above ``after`` on this live connection."""

    after: int
    epoch: str | None = None


class Ping(Struct, frozen=True, tag_field="type", tag="chat.ping"):
    """Answered with ``synced``."""


ClientFrame = Send | Edit | Delete | React | Expire | Busy | Typing | Resume | Ping
Draft = Send | Edit | Delete | React | Expire
"""The frames that become an entry of the log."""


class Post(Struct, frozen=True):
    """The body of ``POST /rooms/{room}/messages``."""

    user: str
    text: str
    cid: str | None = None
    re: int | None = None
    choice: str | None = None
    ask: Ask | None = None
    parts: tuple[Part, ...] = ()
