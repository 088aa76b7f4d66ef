"""The frames that a client sends, and the body of a POST."""

from __future__ import annotations

from typing import Literal, final

from .base import Struct
from .entries import Ask, CellAnchor, Ending, Part, Progress
from .server_frames import Command


class Send(Struct, frozen=True, tag_field="type", tag="chat.send"):
    """A new message. ``cid``: an id by the client, so that a repeated frame is stored once. ``re``: the seq replied to.

    ``choice``: which choice of the question ``re`` it gives. ``ask``: makes it a question. ``progress``: see ``Progress``.
    The server replaces ``user`` by the verified name where there is one.
    """

    cid: str
    user: str
    text: str
    re: int | None = None
    choice: str | None = None
    ask: Ask | None = None
    parts: tuple[Part, ...] = ()
    will: str | None = None
    """The text that the server gives to the message when this client has been gone for a heartbeat. Not stored."""
    live: bool = False
    """Opens a live message: its text may be empty and grows by ``chat.append``, until ``chat.end``."""
    progress: Progress | None = None
    format: Literal["plain"] | None = None
    """``plain``: the text is shown as it is; without it, the text is Markdown."""
    stoppable: bool = True
    """False: the author of this live message does not stop when asked to, so windows don't offer it."""
    cell: CellAnchor | None = None


class Edit(Struct, frozen=True, tag_field="type", tag="chat.edit"):
    """Replace the text of the own message ``target``. ``will`` replaces the message's earlier one, also by none."""

    cid: str
    user: str
    target: int
    text: str
    will: str | None = None


class Delete(Struct, frozen=True, tag_field="type", tag="chat.delete"):
    """Delete the message ``target``: one's own, or, for a moderator, any."""

    cid: str
    user: str
    target: int


class React(Struct, frozen=True, tag_field="type", tag="chat.react"):
    """Add the reaction ``emoji`` to the message ``target``, or remove it (``on`` False).

    ``pin`` True: a moderator pins the message, or unpins it (``on`` False); earlier clients show that as a reaction.
    """

    cid: str
    user: str
    target: int
    emoji: str
    on: bool = True
    pin: bool | None = None


class Expire(Struct, frozen=True, tag_field="type", tag="chat.expire"):
    """End the own open question ``target``."""

    cid: str
    user: str
    target: int


class Append(Struct, frozen=True, tag_field="type", tag="chat.append"):
    """A piece of the own live message ``target``, after ``offset`` code points of its text. It is not acknowledged.

    ``replace``: the message's text from ``offset`` on is replaced. ``progress``: the new progress.
    """

    target: int
    offset: int
    text: str
    replace: bool | None = None
    progress: Progress | None = None
    cid: str = ""
    user: str = ""
    """Set by the server."""


class SetStep(Struct, frozen=True, tag_field="type", tag="chat.step"):
    """Add the step ``id`` to the own live message ``target``, or change it. The fields are those of ``Step``."""

    cid: str
    target: int
    id: str
    title: str
    state: Literal["running", "done", "failed"]
    text: str | None = None
    ms: int | None = None
    user: str = ""
    """Set by the server."""


class End(Struct, frozen=True, tag_field="type", tag="chat.end"):
    """End the own live message ``target``. ``text``: replaces the whole text. ``stopped_by``: who asked for it."""

    cid: str
    target: int
    end: Ending
    text: str | None = None
    stopped_by: str | None = None
    user: str = ""
    """Set by the server."""


class Stop(Struct, frozen=True, tag_field="type", tag="chat.stop"):
    """Ask the author of the live message ``target`` to stop."""

    target: int
    user: str


class Vote(Struct, frozen=True, tag_field="type", tag="chat.vote"):
    """Vote for ``choice`` in the poll ``target``; an earlier vote of the same user no longer counts."""

    cid: str
    user: str
    target: int
    choice: str


class SetCommands(Struct, frozen=True, tag_field="type", tag="chat.commands"):
    """All commands that this kernel or agent offers; they replace earlier ones."""

    commands: tuple[Command, ...]


class Busy(Struct, frozen=True, tag_field="type", tag="chat.busy"):
    """Whether this kernel runs a cell."""

    busy: bool


class Typing(Struct, frozen=True, tag_field="type", tag="chat.typing"):
    """This member is writing, or does what ``text`` says; in force for 5 s, or until the member sends. ``on`` False: ends it."""

    user: str | None = None
    text: str | None = None
    on: bool = True


class Resume(Struct, frozen=True, tag_field="type", tag="chat.resume"):
    """Request all entries above ``after`` on this connection."""

    after: int
    epoch: str | None = None


class Read(Struct, frozen=True, tag_field="type", tag="chat.read"):
    """This verified member has read everything up to ``seq``. Not part of the log; a lower one has no effect."""

    seq: int


class Ping(Struct, frozen=True, tag_field="type", tag="chat.ping"):
    """Answered with ``synced``."""


Draft = Send | Edit | Delete | React | Expire | Append | SetStep | End | Vote
"""The frames that become an entry of the log."""
ClientFrame = Draft | Stop | SetCommands | Busy | Typing | Resume | Read | Ping


@final
class Post(Struct, frozen=True):
    """The body of ``POST /rooms/{room}/messages``. ``live`` is refused: a live message needs a WebSocket."""

    user: str
    text: str
    cid: str | None = None
    re: int | None = None
    choice: str | None = None
    ask: Ask | None = None
    parts: tuple[Part, ...] = ()
    live: bool = False
    format: Literal["plain"] | None = None
    cell: CellAnchor | None = None
