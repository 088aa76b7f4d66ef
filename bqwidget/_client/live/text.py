"""LiveText: a live message as this member sees it, and as the log has it."""

from __future__ import annotations

from msgspec.structs import replace

from bqwidget.protocol import AppendFrame, Change, Message, fold, spliced


class LiveText:
    """``message`` is shown. ``logged`` is its text as far as it is in the log, of which ``message.text`` is ahead.

    At its end, a message has the text of the log: pieces that the server lost before it had saved them are dropped,
    so that all members end with the same text.
    """

    __slots__ = ("logged", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.logged = message.text

    def grow(self, piece: AppendFrame) -> bool:
        """Add a piece that is not in the log yet; False if that changes nothing."""
        before = self.message
        text = spliced(before.text, piece.offset, piece.text, replace=bool(piece.replace))
        progress = piece.progress or before.progress
        if text == before.text and progress == before.progress:
            return False
        self.message = replace(before, text=text, progress=progress)
        return True

    def lacks(self, change: Change) -> bool:
        """Whether ``change``, an append that does not repeat its text, is about text that has not arrived here."""
        if change.kind != "append" or change.text is not None or change.length is None:
            return False
        return (change.offset or 0) + change.length > len(self.message.text)

    def fold(self, change: Change) -> Message:
        message = fold(self.message, change)
        match change.kind:
            case "append":
                offset, piece = change.offset or 0, change.text
                if piece is None:
                    piece = message.text[offset : offset + (change.length or 0)]
                self.logged = spliced(self.logged, offset, piece, replace=bool(change.replace))
            case "edit":
                self.logged = message.text
            case "end" if change.text is None:
                message = replace(message, text=self.logged)
        self.message = message
        return message
