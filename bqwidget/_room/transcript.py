"""Transcript: messages as a static page or as plain text. Everything of theirs is escaped; nothing in it runs."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from bqwidget.protocol import Message

_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control, bidi and ANSI characters: in a terminal or a line of text they would rewrite their surroundings."""


class Transcript:
    """``str`` is the text; in a notebook it shows as a list. ``len`` is the number of messages.

    Where the server vouches for some of the names, these are marked: before the line, where no name can stand.
    """

    def __init__(self, room: str, messages: Iterable[Message]) -> None:
        self.room = room
        self.messages = tuple(messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __str__(self) -> str:
        marks = {True: "✓ ", False: "  "} if any(message.verified for message in self.messages) else {}
        return "\n".join(
            [self._title(), *(marks.get(message.verified, "") + _line(message) for message in self.messages)]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        items = "".join(map(_item, self.messages))
        return f"<p><b>{html.escape(self._title())}</b></p><ol>{items}</ol>"

    def _title(self) -> str:
        count = len(self.messages)
        return f"Room {self.room}, {count:,} message{'' if count == 1 else 's'}"


def _line(message: Message) -> str:
    text = "(deleted)" if message.deleted else _content(message).replace("\n", "\n    ")
    return f"{_time(message)}  {_name(message)}: {text}"


def _item(message: Message) -> str:
    """Each name and text keeps its own direction of writing (``bdi``, ``dir``), and nobody else's."""
    text = "<i>deleted</i>" if message.deleted else html.escape(_content(message)).replace("\n", "<br>")
    mark = " <i>(verified)</i>" if message.verified else ""
    return (
        f"<li><b><bdi>{html.escape(_name(message))}</bdi></b>{mark}"
        f' <time>{_time(message)}</time><br><span dir="auto">{text}</span></li>'
    )


def _content(message: Message) -> str:
    """Attachments are named and not shown: what is saved with a notebook stays small, and theirs."""
    named = [f"[{part.name or part.mime}, {part.size:,} bytes]".replace("\n", " ") for part in message.parts]
    return _visible("\n".join([*named, *([message.text] if message.text else [])]))


def _name(message: Message) -> str:
    return _visible(message.user).replace("\n", "\\n")


def _time(message: Message) -> str:
    return datetime.fromtimestamp(message.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _visible(text: str) -> str:
    return _INVISIBLE.sub(lambda found: repr(found[0])[1:-1], text)
