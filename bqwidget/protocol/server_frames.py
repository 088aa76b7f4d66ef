"""The frames that a server sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from .base import Struct
from .entries import Change, Message, Progress
from .limits import Limits


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
    member: str | None = None
    """The ``id`` of this client among the members; absent if they are told apart by their verified names."""
    read: int | None = None
    """Up to where this verified member has read, in any window; 0: nothing. Absent if that is not known."""
    role: str | None = None
    """``read`` or ``moderate``, as at the join; absent for a member who may read and write."""
    share: Literal["login", "invite", "session"] | None = None
    """How people get in with the room's address, if this member gives it to them: by a login, by an invite that this
    member can make, or only those who have a session. Absent: everyone does.
    """
    pins: bool | None = None
    """Whether messages of the room may be pinned; ``?pinned=1`` gives them. Absent: none is."""


class MessageFrame(Struct, frozen=True, tag_field="type", tag="message"):
    """A new message. ``prev``: the seq of the entry before it in the log; 0 for the first."""

    entry: Message
    prev: int | None = None


class ChangeFrame(Struct, frozen=True, tag_field="type", tag="change"):
    """A change of an earlier message, such as an edit. ``prev``: as of ``MessageFrame``."""

    entry: Change
    prev: int | None = None


class AppendFrame(Struct, frozen=True, tag_field="type", tag="append"):
    """A piece of the live message ``target``, not yet in the log; the fields are those of ``Change``."""

    target: int
    offset: int
    text: str
    replace: bool | None = None
    progress: Progress | None = None


class StopFrame(Struct, frozen=True, tag_field="type", tag="stop"):
    """``user`` asks the author of the live message ``target`` to stop."""

    target: int
    user: str


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
    """A frame was refused. ``cid``: of the refused send. ``retry_ms``: when a retry may be accepted.

    ``field``: the path of the field that is to blame, such as ``ask.choices``. ``target``: the live message whose
    ``chat.append`` was refused; with the code ``behind``, ``offset`` is where the next one has to begin.
    """

    code: str
    message: str
    cid: str | None = None
    retry_ms: int | None = None
    field: str | None = None
    target: int | None = None
    offset: int | None = None


class ReadFrame(Struct, frozen=True, tag_field="type", tag="read"):
    """This verified member has read everything up to ``seq``, in any window."""

    seq: int


class Bye(Struct, frozen=True, tag_field="type", tag="bye"):
    """The server is about to close this connection with ``code``. ``retry_ms``: when to reconnect."""

    code: int
    retry_ms: int | None = None


class Profile(Struct, frozen=True, repr_omit_defaults=True):
    """How to show a verified member. Sent with the presence, not kept in the log.

    ``name``: a display name, shown with ``user``. ``initials``: shown without a picture. ``color``: a CSS colour,
    possibly JupyterLab's ``var(--jp-collaborator-color1)``. ``avatar``: a small picture as a ``data:`` URL; another
    address would tell its host who reads the room.
    """

    name: str | None = None
    initials: str | None = None
    color: str | None = None
    avatar: str | None = None


class Command(Struct, frozen=True, repr_omit_defaults=True):
    """A command that a member offers, such as ``mean``, which is sent as "/mean 3 4 8"."""

    name: str
    usage: str = ""
    help: str = ""


class Member(Struct, frozen=True, repr_omit_defaults=True):
    """A member of the room. ``kind``: ``person``, ``kernel`` or ``agent``. ``busy``: a kernel that runs a cell.

    ``typing``: whether they write, or what they say they are doing, such as "thinking…". ``id``: tells apart those who
    use the same unverified name, and is absent where one member does.
    """

    user: str
    kind: str = "person"
    busy: bool | None = None
    typing: bool | str | None = None
    verified: bool = False
    profile: Profile | None = None
    commands: tuple[Command, ...] = ()
    id: str | None = None

    @property
    def key(self) -> tuple[str, str, bool, str]:
        """Equal for all connections of one member, and different for two members."""
        return self.user, self.kind, self.verified, self.id or ""


class Presence(Struct, frozen=True, tag_field="type", tag="presence"):
    """All members who are in the room now.

    ``same_commands``: the members' commands are left out, because they are those of the frame before.
    """

    members: tuple[Member, ...] = ()
    same_commands: bool = False

    def after(self, before: Sequence[Member]) -> tuple[Member, ...]:
        """The members, complete. ``before``: those of the frame before this one."""
        if not self.same_commands:
            return self.members
        commands = {each.key: each.commands for each in before}
        return tuple(msgspec.structs.replace(each, commands=commands.get(each.key, ())) for each in self.members)


class Echo(Struct, frozen=True, tag_field="type", tag="echo"):
    """A frame of an unknown type, as the client sent it."""

    message: Any


ServerFrame = (
    Hello
    | MessageFrame
    | ChangeFrame
    | AppendFrame
    | StopFrame
    | ReadFrame
    | Ack
    | Synced
    | Gap
    | Error
    | Bye
    | Presence
    | Echo
)
