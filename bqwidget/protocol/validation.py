"""Checks of a client's drafts against the limits of its server."""

from __future__ import annotations

import re

from bqwidget.errors import ProtocolError

from .base import printable
from .entries import Ask, Part
from .frames import Draft, Edit, Post, React, Send
from .limits import (
    MAX_CHOICE,
    MAX_CHOICES,
    MAX_CID,
    MAX_EMOJI,
    MAX_NAME,
    MAX_PARTS,
    MAX_TIME,
    ROOM_NAME,
    SHA256,
    Limits,
)

INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that Unicode classes as letters or marks but that are invisible: joiners, fillers, variation selectors."""


def is_visible(name: str) -> bool:
    """Whether something of ``name`` can be seen."""
    return any(one.isprintable() and not one.isspace() for one in INVISIBLE.sub("", name))


def check(draft: Draft | Post, limits: Limits) -> None:
    """Raises ProtocolError (``empty``, ``too_long``, ``bad_field``) with the field and the limit."""
    _check_text("user", draft.user, limits.user)
    if not is_visible(draft.user):
        raise ProtocolError("empty", "user has no visible character: give it one", field="user")
    if draft.cid is not None:
        _check_text("cid", draft.cid, MAX_CID)
    if isinstance(draft, Send | Edit) and draft.will is not None:
        _check_text("will", draft.will, limits.text)
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
        raise ProtocolError("too_long", f"{field} has {len(value):,} characters; the limit is {limit:,}", field=field)
    if not value.strip():
        raise ProtocolError("empty", f"{field} is empty: give it 1 to {limit:,} characters", field=field)
