"""The frames that the server writes to members about entries, as they are on the wire."""

from __future__ import annotations

from bqserver.model import Outcome, Rejected, Stored
from bqserver.websocket.connection import text_frame
from bqwidget.protocol import Ack, Error, Synced, encode


def entry_frame(entry: Stored) -> bytes:
    """The frame of an entry, from its stored bytes."""
    kind = b"change" if entry.change else b"message"
    return text_frame(b'{"type":"%b","entry":%b,"prev":%d}' % (kind, entry.body, entry.prev))


def synced(seq: int) -> bytes:
    return text_frame(encode(Synced(seq=seq)))


def outcome_frame(cid: str, outcome: Outcome) -> bytes:
    """To the sender of ``cid``: ``ack`` or ``error``."""
    if isinstance(outcome, Rejected):
        return refusal(outcome, cid)
    return text_frame(encode(Ack(cid=cid, seq=outcome.seq, at=outcome.at, dup=outcome.dup)))


def refusal(refused: Rejected, cid: str | None) -> bytes:
    retry_ms = None if refused.retry_after is None else int(refused.retry_after * 1000)
    return text_frame(encode(Error(code=refused.code, message=refused.message, cid=cid, retry_ms=retry_ms)))
