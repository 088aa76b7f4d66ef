"""The commands of browsers to the kernel's end of a window, and how they are validated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from bqwidget.protocol import (
    MAX_INVITE_MINUTES,
    MAX_INVITE_USES,
    Delete,
    Edit,
    Error,
    Message,
    React,
    Read,
    Send,
    Stop,
    Struct,
    Typing,
    Vote,
)

_Client = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Number = Annotated[int, msgspec.Meta(ge=1)]
_PageSize = Annotated[int, msgspec.Meta(ge=1, le=200)]


class _Command(Struct, frozen=True, tag_field="do"):
    client: _Client
    k: _Number


class OpenCommand(_Command, frozen=True, tag="open"):
    """Send a snapshot: a browser's first command, repeated when an envelope is missing."""


class PingCommand(_Command, frozen=True, tag="ping"):
    """Only be acknowledged: a quiet browser asks whether this kernel still knows the comm."""


class FrameCommand(_Command, frozen=True, tag="frame"):
    """Send a client frame to the room."""

    frame: Send | Edit | Delete | React | Vote | Typing | Stop | Read


class HistoryCommand(_Command, frozen=True, tag="history"):
    """Reply with ``limit`` messages: before a seq, after it, around it or around a time in ms; else the newest.

    ``pinned``: 1 for those that are pinned.
    """

    before: int | None = None
    after: int | None = None
    around: int | None = None
    at: int | None = None
    pinned: int | None = None
    limit: _PageSize = 50


class SearchCommand(_Command, frozen=True, tag="search"):
    """Reply with the newest ``limit`` messages that contain all words of ``q``."""

    q: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    limit: _PageSize = 50


class LinkCommand(_Command, frozen=True, tag="link"):
    """Reply with the address of the room's page; ``invite``: with a code that lets ``uses`` people in, for ``minutes``."""

    invite: bool = False
    uses: Annotated[int, msgspec.Meta(ge=1, le=MAX_INVITE_USES)] = 1
    minutes: Annotated[float, msgspec.Meta(gt=0, le=MAX_INVITE_MINUTES)] = 60


class ModerateCommand(_Command, frozen=True, tag="moderate"):
    """Give a moderator's ``order``, if there is one, and reply with what is in force; ``minutes`` limits a mute."""

    order: Literal["close", "reopen", "mute", "unmute"] | None = None
    user: str | None = None
    minutes: float | None = None


class DownloadCommand(_Command, frozen=True, tag="part"):
    """Reply with one chunk of an attachment, from the byte ``at`` on, in a buffer."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    at: Annotated[int, msgspec.Meta(ge=0)] = 0


class UploadCommand(_Command, frozen=True, tag="put"):
    """Add one chunk of an attachment, from a buffer; after the last one, upload it and reply with the part."""

    upload: _Client
    mime: Annotated[str, msgspec.Meta(max_length=100)]
    size: _Number
    at: Annotated[int, msgspec.Meta(ge=0)] = 0
    data: bytes = b""


Query = HistoryCommand | SearchCommand | LinkCommand | ModerateCommand
"""The commands that ask the server something."""

Answer = list[Message] | str | dict[str, Any]
"""Messages, a link, or what moderators have ordered."""


class AckCommand(Struct, frozen=True, tag_field="do", tag="seen"):
    """The browser has shown all envelopes up to ``n``."""

    client: _Client
    n: Annotated[int, msgspec.Meta(ge=0)]


Request = FrameCommand | Query | DownloadCommand | UploadCommand
"""The commands that the widget executes; the others concern the comm itself."""


class _CommandHeader(Struct, frozen=True):
    """The fields that an invalid command needs to get an error reply."""

    client: _Client
    k: _Number
    do: str = ""
    frame: Any = None


class InvalidCommand(Struct, frozen=True):
    client: str
    k: int
    do: str
    error: Error


def parse_command(content: object) -> OpenCommand | PingCommand | AckCommand | Request | InvalidCommand | None:
    """The command; an InvalidCommand if an error can be sent to the browser; else None."""
    try:
        return msgspec.convert(content, OpenCommand | PingCommand | AckCommand | Request)
    except msgspec.ValidationError as error:
        reason = str(error)
    try:
        header = msgspec.convert(content, _CommandHeader)
    except msgspec.ValidationError:
        return None
    cid = header.frame.get("cid") if isinstance(header.frame, dict) else None
    answer = Error(code="bad_field", message=reason, cid=cid if isinstance(cid, str) else None)
    return InvalidCommand(client=header.client, k=header.k, do=header.do, error=answer)
