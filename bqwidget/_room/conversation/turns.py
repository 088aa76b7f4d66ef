"""Turns: what people wrote and what this member's code answered, selected from a room's messages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from bqwidget._room.callbacks.loop_guard import is_sent_in_callback
from bqwidget.protocol import TABLE, Message, Part, is_empty, visible

PICTURE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Types that every model with picture input accepts."""
MAX_PICTURE_BYTES = 3_750_000
"""Larger ones are named only: in base64, the API of Anthropic accepts 5 MB."""


class Picture(NamedTuple):
    mime: str
    data: bytes


class Turn(NamedTuple):
    """One message. ``own``: the assistant's. ``text``: with the names of attachments that are not in ``pictures``."""

    own: bool
    user: str
    text: str
    pictures: tuple[Picture, ...] = ()


def is_of_program(message: Message) -> bool:
    """Whether a program wrote ``message``: an agent, a callback, or code that streams, reports, or asks."""
    return (
        message.author_kind == "agent"
        or message.live
        or message.end is not None
        or message.progress is not None
        or message.ask is not None
        or is_sent_in_callback(message.cid)
    )


def select(
    messages: Sequence[Message],
    is_own: Callable[[Message], bool],
    upto: int | None,
) -> list[Message]:
    """The messages of people and the own ones, up to the seq ``upto``, in the order in which a model reads them.

    Own replies that came after ``upto`` follow what they reply to. Left out: deleted messages, progress, messages that
    are still being written, and what other programs wrote.
    """
    taken: list[tuple[tuple[int, int], Message]] = []
    for message in messages:
        own = is_own(message)
        if is_empty(message) or message.live or message.progress is not None:
            continue
        if not own and is_of_program(message):
            continue
        if upto is None or message.seq <= upto:
            taken.append(((message.seq, 0), message))
        elif own and message.re is not None and message.re <= upto:
            taken.append(((message.re, message.seq), message))
    return [message for _, message in sorted(taken, key=lambda each: each[0])]


def within(messages: Sequence[Message], last: int, max_chars: int | None) -> list[Message]:
    """The newest ``last`` messages, with at most ``max_chars`` characters together; the newest one is always among them."""
    kept = list(messages[max(0, len(messages) - last) :])
    if max_chars is None:
        return kept
    total = 0
    for number, message in enumerate(reversed(kept)):
        total += len(message.text)
        if number and total > max_chars:
            return kept[len(kept) - number :]
    return kept


def wanted_pictures(messages: Iterable[Message], is_own: Callable[[Message], bool], limit: int) -> list[Part]:
    """The newest ``limit`` pictures of others that a model can be shown."""
    parts = [part for message in messages if not is_own(message) for part in message.parts]
    shown = [part for part in parts if part.mime in PICTURE_TYPES and part.size <= MAX_PICTURE_BYTES]
    return shown[max(0, len(shown) - limit) :]


def to_turns(
    messages: Iterable[Message], is_own: Callable[[Message], bool], pictures: Mapping[str, bytes]
) -> list[Turn]:
    """``pictures``: the bytes of those that are shown, by their sha256. Messages without any content are left out."""
    turns = []
    for message in messages:
        own = is_own(message)
        shown = [part for part in message.parts if not own and part.sha256 in pictures]
        named = [_attachment_name(part) for part in message.parts if part not in shown]
        text = "\n".join([*named, message.text]).strip()
        if text or shown:
            images = tuple(Picture(part.mime, pictures[part.sha256]) for part in shown)
            turns.append(Turn(own, message.user, text, images))
    return turns


def _attachment_name(part: Part) -> str:
    kind = "table" if part.mime == TABLE else "picture"
    return f"[{kind}{f': {visible(part.name)}' if part.name else ''}]".replace("\n", " ")
