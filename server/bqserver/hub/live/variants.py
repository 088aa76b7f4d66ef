"""What members are sent in place of the entries of live messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from bqserver.hub.frames import change_frame, entry_frame, finished_frame
from bqserver.model import Stored
from bqserver.storage.interface import MessageLog
from bqserver.storage.redaction import LIVE_KINDS, decode_change, decode_message
from bqwidget.protocol import Change, Message, encode

LIVE_FIELD = b'"live":true'
"""Only a live message's JSON has this: in a text, the quotes are escaped."""


class Variant(NamedTuple):
    """The frames of one entry: for members that follow live messages (``live=1``), and for those that do not.

    ``live``: for those who were sent the pieces; ``full``: for the others. ``plain`` is empty where they get nothing.
    """

    live: bytes
    full: bytes
    plain: bytes


def opening(entry: Stored) -> Variant:
    frame = entry_frame(entry)
    return Variant(frame, frame, b"")


def changing(entry: Stored, change: Change, message: Message, sent: int | None) -> Variant | None:
    """For a change of a live message, which is ``message`` after it; None: everyone gets the entry.

    ``sent``: the characters that the members that follow live messages have of it; None if they were not sent the text
    of this change. They may have fewer than are stored, if the text was replaced.
    """
    if change.kind not in LIVE_KINDS:
        return None
    full = entry_frame(entry)
    if change.kind == "append" and change.text is not None and change.offset is not None and sent is not None:
        offset = min(change.offset, sent)
        body = encode(replace(change, text=None, offset=offset, length=min(len(change.text), sent - offset)))
        return Variant(change_frame(body, entry.prev), full, b"")
    return Variant(full, full, finished_frame(encode(message)) if change.kind == "end" else b"")


async def plain_replay(log: MessageLog, entries: Sequence[Stored]) -> bytes:
    """The frames of ``entries`` for a member that does not follow live messages: each of these once, at its end."""
    frames = []
    for entry in entries:
        if not entry.change:
            frames.append(b"" if LIVE_FIELD in entry.body else entry_frame(entry))
            continue
        change = decode_change(entry.body)
        if change.kind not in LIVE_KINDS:
            frames.append(entry_frame(entry))
        elif change.kind == "end":
            frames += [
                finished_frame(body)
                for body in await log.messages(entry.room, limit=1, before=change.target + 1)
                if (found := decode_message(body)).seq == change.target and not found.deleted
            ]
    return b"".join(frames)
