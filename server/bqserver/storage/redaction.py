"""What is left of raw entries whose text a later edit or delete has replaced. Pure."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from bqwidget.protocol import Change, Message, encode, without_content

decode_message = msgspec.json.Decoder(Message).decode
decode_change = msgspec.json.Decoder(Change).decode


def redact(held: dict[int, bytes], after: Message) -> dict[int, bytes]:
    """The raw entries in ``held``, which have texts of a message, when that has become ``after``.

    An edited message's own entry shows the newest text to clients that don't follow changes.
    """
    redacted = {}
    for seq, body in held.items():
        if seq != after.seq:
            redacted[seq] = encode(replace(decode_change(body), text=None))
        elif not after.deleted:
            redacted[seq] = encode(replace(decode_message(body), text=after.text, redacted=True))
        else:
            redacted[seq] = encode(replace(without_content(decode_message(body)), redacted=True))
    return redacted


def is_redacted(entry: Message | Change) -> bool:
    if isinstance(entry, Message):
        return entry.redacted
    return entry.kind in ("edit", "append") and entry.text is None and entry.length is None


def without_text(entry: Message | Change) -> Message | Change:
    if isinstance(entry, Message):
        return replace(without_content(entry), choice=None, redacted=False)
    return replace(entry, text=None)
