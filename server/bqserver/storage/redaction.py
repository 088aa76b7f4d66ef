"""What is left of raw entries after a later edit or delete of their message. Pure."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from bqwidget.protocol import Change, Message, encode, without_content

decode_message = msgspec.json.Decoder(Message).decode
decode_change = msgspec.json.Decoder(Change).decode

LIVE_KINDS = frozenset(("append", "step", "end"))
"""Kinds of the changes that only a live message has, by its author."""
ADDITIONS = frozenset(("vote", "step"))
"""Changes whose content is part of a message until that is deleted: an edit does not replace it."""


def redact(held: dict[int, bytes], after: Message) -> dict[int, bytes]:
    """The raw entries in ``held``, which have a part of a message, when that has become ``after`` without this part.

    An edited message's own entry shows the newest text to clients that don't follow changes.
    """
    redacted = {}
    for seq, body in held.items():
        if seq != after.seq:
            change = decode_change(body)
            if after.deleted or change.kind not in ADDITIONS:
                redacted[seq] = encode(without_text(change))
        elif not after.deleted:
            redacted[seq] = encode(replace(decode_message(body), text=after.text, redacted=True))
        else:
            message = decode_message(body)
            # Still live, for the entries that follow were accepted because it was.
            redacted[seq] = encode(replace(without_content(message), redacted=True, live=message.live))
    return redacted


def is_redacted(entry: Message | Change) -> bool:
    """Whether a text was removed from it. An end without one may have had one."""
    if isinstance(entry, Message):
        return entry.redacted
    if entry.kind == "vote":
        return entry.choice is None
    if entry.kind == "step":
        return entry.title is None
    return entry.kind in ("edit", "append", "end") and entry.text is None and entry.length is None


def without_text(entry: Message | Change) -> Message | Change:
    """``entry`` without what it says; a choice is a text of the message that offers it."""
    if isinstance(entry, Message):
        return replace(without_content(entry), choice=None, redacted=False)
    return replace(entry, text=None, choice=None, title=None)
