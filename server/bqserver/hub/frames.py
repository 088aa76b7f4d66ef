"""The frames that the server writes to members about entries, as bytes on the wire."""

from __future__ import annotations

from bqserver.model import Outcome, Rejected, Stored
from bqserver.websocket.framing import text_frame
from bqwidget.protocol import Ack, AppendFrame, Error, Synced, encode


def entry_frame(entry: Stored) -> bytes:
    """``message`` or ``change``, from the entry's stored bytes."""
    kind = b"change" if entry.change else b"message"
    return text_frame(b'{"type":"%b","entry":%b,"prev":%d}' % (kind, entry.body, entry.prev))


def change_frame(body: bytes, prev: int) -> bytes:
    return text_frame(b'{"type":"change","entry":%b,"prev":%d}' % (body, prev))


def finished_frame(body: bytes) -> bytes:
    """A live message that has ended, for members that were not shown it before."""
    return text_frame(b'{"type":"message","entry":%b}' % body)


def append_frame(frame: AppendFrame) -> bytes:
    return text_frame(encode(frame))


def synced_frame(seq: int) -> bytes:
    return text_frame(encode(Synced(seq=seq)))


def outcome_frame(cid: str, outcome: Outcome) -> bytes:
    """``ack`` or ``error``, for the sender of ``cid``."""
    if isinstance(outcome, Stored):
        return text_frame(encode(Ack(cid=cid, seq=outcome.seq, at=outcome.at, dup=outcome.dup)))
    return error_frame(outcome, cid)


def error_frame(rejected: Rejected, cid: str | None) -> bytes:
    retry_ms = None if rejected.retry_after is None else int(rejected.retry_after * 1000)
    error = Error(
        code=rejected.code,
        message=rejected.message,
        cid=cid,
        retry_ms=retry_ms,
        field=rejected.field,
        target=rejected.target,
        offset=rejected.offset,
    )
    return text_frame(encode(error))
