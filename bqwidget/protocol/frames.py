"""Frames: those that a server sends, those that a client sends, and the body of a POST."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .base import Struct
from .entries import Ask, Change, Message, Part
from .limits import Limits

# ---- server to client ------------------------------------------------------------------------------


class Hello(Struct, frozen=True, tag_field="type", tag="hello"):
    """The first frame. ``oldest`` to ``seq`` is the log; ``resumed``: the missed entries follow."""

    room: str
    epoch: str
    seq: int
    oldest: int
    resumed: bool
    limits: Limits
    heartbeat_ms: int
    user: str | None = None
    """The verified name under which this member writes; absent if its frames may set the name."""
    now: int | None = None
    """The server's clock, which sets ``at`` and ends questions."""


class MessageFrame(Struct, frozen=True, tag_field="type", tag="message"):
    """A new message. ``prev``: the seq of the entry before it in the log; 0 for the first."""

    entry: Message
    prev: int | None = None


class ChangeFrame(Struct, frozen=True, tag_field="type", tag="change"):
    entry: Change
    prev: int | None = None


class Ack(Struct, frozen=True, tag_field="type", tag="ack", omit_defaults=False):
    """The entry sent under ``cid`` is durable. ``dup``: it was so before."""

    cid: str
    seq: int
    at: int
    dup: bool


class Synced(Struct, frozen=True, tag_field="type", tag="synced"):
    """All entries up to ``seq`` have been sent. Repeated when idle, so that the loss of the last ones is noticed."""

    seq: int


class Gap(Struct, frozen=True, tag_field="type", tag="gap"):
    """The entries in ``from < seq <= to`` were not sent. Fetch them by HTTP; the next ``prev`` is ``to``."""

    from_: int = msgspec.field(name="from")
    to: int
    reason: Literal["long", "slow", "trimmed", "epoch"]


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    """A frame was refused. ``cid``: of the refused send. ``retry_ms``: when a retry may be accepted."""

    code: str
    message: str
    cid: str | None = None
    retry_ms: int | None = None


class Bye(Struct, frozen=True, tag_field="type", tag="bye"):
    """The server is about to close this connection with ``code``. ``retry_ms``: when to reconnect."""

    code: int
    retry_ms: int | None = None


class Profile(Struct, frozen=True):
    """How to show a verified member. Sent with the presence, not kept in the log.

    ``name``: a display name, shown with ``user``. ``initials``: shown without a picture. ``color``: a CSS colour,
    possibly JupyterLab's ``var(--jp-collaborator-color1)``. ``avatar``: a small picture as a ``data:`` URL; another
    address would tell its host who reads the room.
    """

    name: str | None = None
    initials: str | None = None
    color: str | None = None
    avatar: str | None = None


class Member(Struct, frozen=True):
    """A member of the room. ``kind``: ``person`` or ``kernel``. ``busy``: a kernel that runs a cell."""

    user: str
    kind: str = "person"
    busy: bool | None = None
    typing: bool | None = None
    verified: bool = False
    profile: Profile | None = None


class Presence(Struct, frozen=True, tag_field="type", tag="presence"):
    """All members who are in the room now."""

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
    will: str | None = None
    """The text that the server gives to the message when this client has been gone for a heartbeat. Not stored."""


class Edit(Struct, frozen=True, tag_field="type", tag="chat.edit"):
    """``will`` replaces an earlier one of the message; without it there is none any more."""

    cid: str
    user: str
    target: int
    text: str
    will: str | None = None


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
    """End the own open question ``target``."""

    cid: str
    user: str
    target: int


class Busy(Struct, frozen=True, tag_field="type", tag="chat.busy"):
    """Whether this kernel runs a cell."""

    busy: bool


class Typing(Struct, frozen=True, tag_field="type", tag="chat.typing"):
    user: str | None = None


class Resume(Struct, frozen=True, tag_field="type", tag="chat.resume"):
    """Request all entries above ``after`` on this connection."""

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
