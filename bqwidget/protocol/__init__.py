"""chat.v1: the frames between a room and its members, the entries they carry, and their limits.

Every frame is one JSON object with a ``type``. Times (``at``, ``expires``) are milliseconds since the
epoch; ``*_ms`` are durations in milliseconds. Unknown fields and unknown server frames are ignored, so
both may be added without a new version.

A ``user`` is what somebody said, unless it is ``verified``: then the server knows that it was them, and their
``profile`` (what Jupyter says of their looks) may come with it. Only servers send either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from bqwidget.errors import ProtocolError

SUBPROTOCOL = "chat.v1"
ROOM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_CID = 64
MAX_EMOJI = 16
MAX_CHOICES = 50
MAX_CHOICE = 1_000
MAX_PARTS = 20
MAX_NAME = 255
"""Characters in an attachment's name."""
MAX_TIME = 1 << 53
"""Beyond it JavaScript's numbers are no longer exact."""
SHA256 = re.compile(r"[0-9a-f]{64}")
SHOWN = 80
"""Characters of somebody's text in a repr, a log or an error."""
MAX_REPLAY = 500
"""Above this many missed entries the server sends ``gap{reason: long}`` instead of replaying."""


class Struct(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What travels is frozen, and an absent optional field is absent on the wire too.

    Frozen values hold no cycles, so the garbage collector need not walk them: in a list of 100,000 messages that
    was a third of what each new one cost.
    """


class Limits(Struct, frozen=True, omit_defaults=False):
    """What the server accepts, told to every member in ``hello``."""

    text: int = 16_000
    """Characters (Unicode code points) in ``text``."""
    user: int = 64
    frame: int = 128 * 1024
    """Bytes in one frame or request body."""
    rate: int = 20
    """Messages per ``rate_ms`` and principal; 0 is no limit."""
    rate_ms: int = 10_000
    room: int = 64
    """Characters in a room's name."""
    buffer: int = 1024 * 1024
    """Bytes that may wait for a peer that reads slowly, before it is cut off (4008)."""
    part: int = 10 * 1024 * 1024
    """Bytes in one attachment; 0: this server takes none."""


# ---- entries: what the log keeps -------------------------------------------------------------------


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
    reactions: dict[str, tuple[str, ...]] = {}
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


# ---- what a part may be ----------------------------------------------------------------------------

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


# ---- encode, decode, check -------------------------------------------------------------------------

encode = msgspec.json.Encoder().encode
"""A frame or entry as JSON bytes."""

NOT_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding raises: a text of ten thousand brackets is given up with RecursionError, and a string that is
not UTF-8 with UnicodeDecodeError."""

_decode_client: Callable[[str | bytes], ClientFrame] = msgspec.json.Decoder(ClientFrame).decode
_decode_server: Callable[[str | bytes], ServerFrame] = msgspec.json.Decoder(ServerFrame).decode
_decode_post: Callable[[bytes], Post] = msgspec.json.Decoder(Post).decode
_CLIENT_TYPES = frozenset(frame.__struct_config__.tag for frame in ClientFrame.__args__)
_SERVER_TYPES = frozenset(frame.__struct_config__.tag for frame in ServerFrame.__args__)


def decode_client(data: str | bytes) -> ClientFrame | Echo:
    """A client's frame; anything that isn't one of ours comes back as the ``Echo`` to answer with.

    Raises ProtocolError for a frame of ours whose fields are wrong (``bad_field``), or that only looser readers
    take for JSON (``bad_json``): a browser writes half a character as an escape that stands for none.
    """
    try:
        return _decode_client(data)
    except NOT_JSON as error:  # ValidationError is one of these
        try:
            message = msgspec.json.decode(data)
        except NOT_JSON:
            if _kind(_loosely(data)) in _CLIENT_TYPES:  # its sender waits for an answer, not for an echo
                raise ProtocolError("bad_json", f"the frame is not JSON: {error}") from None
            return Echo(message=data if isinstance(data, str) else data.decode(errors="replace"))
        if _kind(message) in _CLIENT_TYPES:
            raise _field_error(error) from None
        return Echo(message=message)


def decode_server(data: str | bytes) -> ServerFrame | None:
    """A server's frame; None for a type this version doesn't know, which is to be ignored.

    Raises ProtocolError for bytes that are not a frame at all.
    """
    try:
        return _decode_server(data)
    except NOT_JSON as error:
        try:
            message = msgspec.json.decode(data)
        except NOT_JSON:
            raise ProtocolError("bad_json", f"a frame that is not JSON: {error}") from None
        if isinstance(message, dict) and _kind(message) not in _SERVER_TYPES:
            return None
        raise _field_error(error) from None


def cid_of(data: str | bytes) -> str | None:
    """The cid of a frame that is refused, so that its sender knows which one it was."""
    frame = _loosely(data)
    cid = frame.get("cid") if isinstance(frame, dict) else None
    if not isinstance(cid, str) or any("\ud800" <= one <= "\udfff" for one in cid):
        return None  # halves of characters can't be sent back
    return cid


def _loosely(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _kind(message: Any) -> str | None:
    """The ``type`` of what may be a frame; a type that is no string is none."""
    kind = message.get("type") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) else None


def decode_post(body: bytes) -> Post:
    """The body of a REST post. Raises ProtocolError: ``bad_json`` or ``bad_field``."""
    try:
        return _decode_post(body)
    except msgspec.ValidationError as error:
        raise _field_error(error) from None
    except NOT_JSON as error:
        raise ProtocolError("bad_json", f"the body is not JSON: {error}") from None


def plain(draft: Draft) -> Draft:
    """``draft`` with texts that are nothing but text: what numpy and others derive from str can't be encoded."""
    return msgspec.convert(msgspec.to_builtins(draft, enc_hook=_plain), type(draft))


def check(draft: Draft | Post, limits: Limits) -> None:
    """Raises ProtocolError (``empty``, ``too_long``, ``bad_field``), naming the field and the limit."""
    _check_text("user", draft.user, limits.user)
    if draft.cid is not None:
        _check_text("cid", draft.cid, MAX_CID)
    match draft:
        case Send() | Post():
            if draft.text or not draft.parts:
                _check_text("text", draft.text, limits.text)
            if draft.choice is not None:
                _check_text("choice", draft.choice, MAX_CHOICE)
            if draft.ask is not None:
                _check_ask(draft.ask, limits)
            if len(draft.parts) > MAX_PARTS:
                raise _too_many("parts", len(draft.parts), MAX_PARTS)
            for part in draft.parts:
                _check_part(part)
        case Edit():
            _check_text("text", draft.text, limits.text)
        case React():
            _check_text("emoji", draft.emoji, MAX_EMOJI)


def check_room(name: str) -> str:
    """The name itself. Raises ProtocolError (``bad_room``) where it isn't one."""
    if not ROOM_NAME.fullmatch(name):
        raise ProtocolError(
            "bad_room", f"{printable(name)} is not a room name: 1 to 64 of A-Z a-z 0-9 _ -", field="room"
        )
    return name


def printable(text: str) -> str:
    """``text`` quoted for a repr, a log or an error: control, bidi and ANSI characters are escaped, long text cut."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def is_text(text: str) -> bool:
    """Whether it can travel: halves of characters (a cut emoji, an odd file name) are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # its own might say anything
    raise TypeError(f"a message is text, not {type(value).__name__}")


def _check_ask(ask: Ask, limits: Limits) -> None:
    choices = ask.choices or ()
    if len(choices) > MAX_CHOICES:
        raise _too_many("ask.choices", len(choices), MAX_CHOICES)
    for choice in choices:
        _check_text("ask.choices", choice, MAX_CHOICE)
    if len(set(choices)) < len(choices):
        raise ProtocolError("bad_field", "ask.choices: the same choice twice", field="ask.choices")
    if ask.from_ is not None:
        _check_text("ask.from", ask.from_, limits.user)
    if ask.expires is not None and not 0 <= ask.expires < MAX_TIME:
        raise ProtocolError("bad_field", "ask.expires: milliseconds since the epoch", field="ask.expires")


def _check_part(part: Part) -> None:
    if not SHA256.fullmatch(part.sha256):
        raise ProtocolError("bad_field", "parts.sha256: 64 hexadecimal digits", field="parts.sha256")
    if part.size < 0:
        raise ProtocolError("bad_field", "parts.size: bytes, 0 or more", field="parts.size")
    if part.name is not None:
        _check_text("parts.name", part.name, MAX_NAME)


def _too_many(field: str, count: int, limit: int) -> ProtocolError:
    return ProtocolError("too_long", f"{field} has {count:,} items; the limit is {limit:,}", field=field)


def _check_text(field: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise ProtocolError(
            "too_long", f"{field} has {len(value):,} characters; the limit is {limit:,}", field=field
        )
    if not value.strip():
        raise ProtocolError("empty", f"{field} is empty: give it 1 to {limit:,} characters", field=field)


_PATH = re.compile(r" - at `\$\.?([^`]*)`$|missing required field `([^`]*)`")


def _field_error(error: Exception) -> ProtocolError:
    """msgspec's words, with the field moved to the front."""
    found = _PATH.search(str(error))
    field = next((part for part in found.groups() if part), None) if found else None
    text = str(error).split(" - at `")[0]
    return ProtocolError("bad_field", f"{field}: {text}" if field else text, field=field)
