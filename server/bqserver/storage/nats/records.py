"""The messages of the stream: a submission with the node that published it, and its position once it is stored.

Pure: bytes and headers in, structs out. The stream stores requests; every node computes their outcomes from the
stream's order (``replica``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from bqserver.model import RedactedSubmission, Submission
from bqserver.storage.sequencer import Position
from bqwidget.protocol import NOT_JSON, Draft, Struct, encode


class Record(Struct, frozen=True):
    """The payload of a message. ``node`` and ``number`` tell the publishing node which of its sends this is."""

    by: str
    """The principal."""
    draft: Draft
    node: str = ""
    number: int = 0
    verified: bool = False
    moderator: bool = False
    at: int | None = None
    """The time in the log that it was copied from (milliseconds); None: it was not copied."""
    now: int | None = None
    """``Submission.now``."""
    redacted: bool = False
    """Its text was replaced by an edit or a delete that follows, and is not in the draft any more."""
    author: str | None = None
    """``Submission.author``."""
    author_kind: str | None = None
    """``Submission.author_kind``."""


class StreamMessage(NamedTuple):
    """A stored message. ``prev``: the seq of the message before it in the same room, 0 for the first. ``record`` is
    None if another program has published it.
    """

    room: str
    seq: int
    prev: int
    at: int
    record: Record | None

    @property
    def position(self) -> Position:
        original = self.record.at if self.record else None
        return Position(self.seq, self.at if original is None else original)


_decode = msgspec.json.Decoder(Record).decode


def encode_record(submission: Submission, node: str, number: int, at: int | None = None) -> bytes:
    return encode(
        Record(
            by=submission.principal,
            draft=submission.draft,
            node=node,
            number=number,
            verified=submission.verified,
            moderator=submission.moderator,
            at=at,
            now=submission.now,
            redacted=isinstance(submission, RedactedSubmission),
            author=submission.author,
            author_kind=submission.author_kind,
        )
    )


def decode_record(payload: bytes) -> Record | None:
    """None if another program has stored it."""
    try:
        return _decode(payload)
    except NOT_JSON:
        return None


def decode_stream_message(room: str, headers: Mapping[str, str], payload: bytes) -> StreamMessage:
    """A message that JetStream republished or returned from its store: the headers hold its position."""
    record = decode_record(payload)
    at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
    return StreamMessage(
        room,
        int(headers["Nats-Sequence"]),
        int(headers["Nats-Last-Sequence"]),
        int(at.timestamp() * 1000),
        record,
    )


def submission_of(room: str, record: Record) -> Submission:
    kind = RedactedSubmission if record.redacted else Submission
    return kind(
        room,
        record.by,
        record.draft,
        record.verified,
        record.moderator,
        record.now,
        record.author,
        record.author_kind,
    )


def message_id(room: str, principal: str, cid: str, rejections: int = 0) -> str:
    """The ``Nats-Msg-Id``. Ids are unique in the whole stream, so the room and the principal are part of it.

    ``rejections``: how many messages with this cid were stored and rejected. Each makes a new id, because a rejected
    message does not count as sent.
    """
    key = [room, principal, cid, rejections] if rejections else [room, principal, cid]
    return hashlib.sha256(encode(key)).hexdigest()
