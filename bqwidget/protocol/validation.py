"""Checks of a client's drafts against the limits of its server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from bqwidget.errors import ProtocolError

from .base import printable
from .client_frames import Append, Draft, Edit, End, Post, React, Send, SetStep, Vote
from .entries import Ask, CellAnchor, Part, Progress
from .limits import (
    MAX_ACTIVITY,
    MAX_ASKED,
    MAX_CELL_ID,
    MAX_CHOICE,
    MAX_CHOICES,
    MAX_CID,
    MAX_COMMAND_HELP,
    MAX_COMMAND_NAME,
    MAX_COMMAND_USAGE,
    MAX_COMMANDS,
    MAX_EMOJI,
    MAX_NAME,
    MAX_NOTEBOOK_PATH,
    MAX_PARTS,
    MAX_STEP_TEXT,
    MAX_STEP_TITLE,
    MAX_TIME,
    ROOM_NAME,
    SHA256,
    Limits,
)
from .server_frames import Command

INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that Unicode classes as letters or marks but that are invisible: joiners, fillers, variation selectors."""


COMMAND_NAME = re.compile(r"[\w-]+")


_WITHOUT_USER = frozenset({Append, SetStep, End})
"""Drafts whose user the server sets. To look up a type takes a third of the time of ``isinstance``."""


@lru_cache(1000)  # the same members send again and again
def is_visible(name: str) -> bool:
    """Whether something of ``name`` can be seen."""
    return any(one.isprintable() and not one.isspace() for one in INVISIBLE.sub("", name))


def check(draft: Draft | Post, limits: Limits) -> None:
    """Raises ProtocolError (``empty``, ``too_long``, ``bad_field``) with the field and the limit."""
    if type(draft) not in _WITHOUT_USER:
        _check_text("user", draft.user, limits.user)
        if not is_visible(draft.user):
            raise ProtocolError("empty", "user has no visible character: give it one", field="user")
    if draft.cid is not None and type(draft) is not Append:
        _check_text("cid", draft.cid, MAX_CID)
    match draft:
        case Send() | Post():
            if draft.live and type(draft) is Post:
                raise ProtocolError(
                    "bad_field", "live: a live message is opened by WebSocket, not by POST", field="live"
                )
            if draft.text or not (draft.parts or draft.live):
                _check_text("text", draft.text, limits.text)
            if type(draft) is Send:
                if draft.will is not None:
                    _check_text("will", draft.will, limits.text)
                if draft.progress is not None:
                    _check_progress(draft.progress)
            if draft.choice is not None:
                _check_text("choice", draft.choice, MAX_CHOICE)
            if draft.ask is not None:
                _check_ask(draft.ask, limits)
            if draft.parts:
                _check_parts(draft.parts)
            if draft.cell is not None:
                _check_cell(draft.cell)
        case Edit():
            _check_text("text", draft.text, limits.text)
            if draft.will is not None:
                _check_text("will", draft.will, limits.text)
        case React():
            _check_text("emoji", draft.emoji, MAX_EMOJI)
        case Append():
            if draft.offset < 0:
                raise ProtocolError("bad_field", "offset: code points, 0 or more", field="offset")
            _check_length("text", draft.text, limits.text)
            if draft.progress is not None:
                _check_progress(draft.progress)
        case SetStep():
            _check_text("id", draft.id, MAX_CID)
            _check_text("title", draft.title, MAX_STEP_TITLE)
            _check_length("text", draft.text or "", MAX_STEP_TEXT)
            if draft.ms is not None and not 0 <= draft.ms < MAX_TIME:
                raise ProtocolError("bad_field", "ms: milliseconds, 0 or more", field="ms")
        case End():
            _check_length("text", draft.text or "", limits.text)
            if draft.stopped_by is not None:
                _check_text("stopped_by", draft.stopped_by, limits.user)
        case Vote():
            _check_text("choice", draft.choice, MAX_CHOICE)


def check_activity(text: str) -> None:
    """Raises ProtocolError (``empty``, ``too_long``) unless ``text`` can be what a member says it is doing."""
    _check_text("text", text, MAX_ACTIVITY)


def check_commands(commands: Sequence[Command]) -> None:
    """Raises ProtocolError (``empty``, ``too_long``, ``bad_field``) with the field and the limit."""
    if len(commands) > MAX_COMMANDS:
        raise _too_many("commands", len(commands), MAX_COMMANDS)
    for command in commands:
        _check_text("commands.name", command.name, MAX_COMMAND_NAME)
        if not COMMAND_NAME.fullmatch(command.name):
            message = f"commands.name: {printable(command.name)} is not a name: letters, digits, _ and -"
            raise ProtocolError("bad_field", message, field="commands.name")
        _check_length("commands.usage", command.usage, MAX_COMMAND_USAGE)
        _check_length("commands.help", command.help, MAX_COMMAND_HELP)


def check_room(name: str) -> str:
    """``name``, if it is a valid room name. Raises ProtocolError (``bad_room``) otherwise."""
    if not ROOM_NAME.fullmatch(name):
        raise ProtocolError(
            "bad_room", f"{printable(name)} is not a room name: 1 to 64 of A-Z a-z 0-9 _ -", field="room"
        )
    return name


def _check_ask(ask: Ask, limits: Limits) -> None:
    choices = ask.choices or ()
    if len(choices) > MAX_CHOICES:
        raise _too_many("ask.choices", len(choices), MAX_CHOICES)
    for choice in choices:
        _check_text("ask.choices", choice, MAX_CHOICE)
    if len(set(choices)) < len(choices):
        raise ProtocolError("bad_field", "ask.choices: the same choice twice", field="ask.choices")
    if ask.poll and not choices:
        raise ProtocolError("bad_field", "ask.choices: a poll needs at least one choice", field="ask.choices")
    if len(ask.asked) > MAX_ASKED:
        raise _too_many("ask.from", len(ask.asked), MAX_ASKED)
    for user in ask.asked:
        _check_text("ask.from", user, limits.user)
    if ask.expires is not None and not 0 <= ask.expires < MAX_TIME:
        raise ProtocolError("bad_field", "ask.expires: milliseconds since the epoch", field="ask.expires")


def _check_progress(progress: Progress) -> None:
    if progress.fraction is not None and not 0 <= progress.fraction <= 1:
        raise ProtocolError("bad_field", "progress.fraction: a number from 0 to 1", field="progress.fraction")
    if progress.left_ms is not None and not 0 <= progress.left_ms < MAX_TIME:
        raise ProtocolError("bad_field", "progress.left_ms: milliseconds, 0 or more", field="progress.left_ms")


def _check_cell(cell: CellAnchor) -> None:
    _check_text("cell.id", cell.id, MAX_CELL_ID)
    _check_length("cell.path", cell.path, MAX_NOTEBOOK_PATH)


def _check_parts(parts: Sequence[Part]) -> None:
    if len(parts) > MAX_PARTS:
        raise _too_many("parts", len(parts), MAX_PARTS)
    for part in parts:
        if not SHA256.fullmatch(part.sha256):
            raise ProtocolError("bad_field", "parts.sha256: 64 hexadecimal digits", field="parts.sha256")
        if part.size < 0:
            raise ProtocolError("bad_field", "parts.size: bytes, 0 or more", field="parts.size")
        if part.name is not None:
            _check_text("parts.name", part.name, MAX_NAME)


def _too_many(field: str, count: int, limit: int) -> ProtocolError:
    return ProtocolError("too_long", f"{field} has {count:,} items; the limit is {limit:,}", field=field)


def _check_length(field: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise ProtocolError("too_long", f"{field} has {len(value):,} characters; the limit is {limit:,}", field=field)


def _check_text(field: str, value: str, limit: int) -> None:
    if len(value) > limit:
        _check_length(field, value, limit)
    if not value.strip():
        raise ProtocolError("empty", f"{field} is empty: give it 1 to {limit:,} characters", field=field)
