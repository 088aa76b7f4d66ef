"""Transcript: messages as static HTML or as plain text. Names and texts are escaped, so nothing in it runs."""

from __future__ import annotations

import html
from collections.abc import Iterable

from bqwidget.protocol import Message, shown_time, visible


class Transcript:
    """``str`` of it is the text; a notebook shows it as a list. ``len`` is the number of messages.

    Verified names are marked before the line, where an unverified name can't imitate the mark.
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
        return f"Room {self.room}, {count:,} message{'' if count == 1 else 's'}, times in UTC"


def _line(message: Message) -> str:
    text = "(deleted)" if message.deleted else _content(message).replace("\n", "\n    ")
    return f"{shown_time(message)}  {_name(message)}: {text}"


def _item(message: Message) -> str:
    """``bdi`` and ``dir`` keep the writing direction of a name or a text from affecting the rest."""
    text = "<i>deleted</i>" if message.deleted else html.escape(_content(message)).replace("\n", "<br>")
    mark = " <i>(verified)</i>" if message.verified else ""
    return (
        f"<li><b><bdi>{html.escape(_name(message))}</bdi></b>{mark}"
        f' <time>{shown_time(message)}</time><br><span dir="auto">{text}</span></li>'
    )


def _content(message: Message) -> str:
    """Attachments are named, not shown, so that the notebook file stays small and holds no files of others."""
    named = [f"[{part.name or part.mime}, {part.size:,} bytes]".replace("\n", " ") for part in message.parts]
    return visible("\n".join([*named, *([message.text] if message.text else [])]))


def _name(message: Message) -> str:
    return visible(message.user).replace("\n", "\\n")
