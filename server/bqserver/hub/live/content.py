"""What a live message says, and the piece that makes one state of it of another. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bqwidget.protocol import Append, AppendFrame, Message, Progress, common_length, spliced


class Content(NamedTuple):
    """What the author of a live message has written."""

    text: str
    progress: Progress | None = None

    @classmethod
    def of(cls, message: Message) -> Content:
        return cls(message.text, message.progress)

    def after(self, append: Append | AppendFrame) -> Content:
        """The content with that piece, whose overlap is dropped. It begins within the text, or at its end."""
        text = spliced(self.text, append.offset, append.text, replace=bool(append.replace))
        return Content(text, append.progress or self.progress)


class Piece(NamedTuple):
    """``text`` follows the first ``offset`` code points, or takes the place of what follows them (``replace``)."""

    offset: int
    text: str
    replace: bool | None = None
    progress: Progress | None = None


def difference(old: Content, new: Content) -> Piece | None:
    """The piece that makes ``new`` of ``old``; None if they are equal."""
    if new == old:
        return None
    progress = None if new.progress == old.progress else new.progress
    if new.text.startswith(old.text):
        return Piece(len(old.text), new.text[len(old.text) :], progress=progress)
    start = common_length(old.text, new.text)
    return Piece(start, new.text[start:], replace=True, progress=progress)


def grows(old: Content, new: Content) -> bool:
    """Whether ``new`` has more text than ``old``, and all of its text."""
    return len(new.text) > len(old.text) and new.text.startswith(old.text)
