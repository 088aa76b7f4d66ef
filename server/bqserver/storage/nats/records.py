"""What travels through the stream: a submission with who published it, and its place once it is stored.

Pure: bytes and headers in, structs out. The stream keeps what was asked for; what became of it is worked out
from its order by every node alike (nats_view).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from bqserver.model import Submission
from bqserver.storage.sequencer import Position
from bqwidget.protocol import Draft, Struct, encode


class Record(Struct, frozen=True):
    """A message of the stream. ``node`` and ``number`` tell the publishing node which of its publisher it is."""

    by: str
    """The principal."""
    draft: Draft
    node: str = ""
    number: int = 0
    verified: bool = False
    moderator: bool = False
    at: int | None = None
    """The time it had in another log, where it was copied from one (milliseconds)."""


class StreamMessage(NamedTuple):
    """A stored message. ``last``: the stream's seq of the message before it in the same room, 0 for the first;
    ``envelope`` None: somebody else put something there that is none.
    """

    room: str
    seq: int
    prev: int
    at: int
    record: Record | None

    @property
    def place(self) -> Position:
        given = self.record.at if self.record else None
        return Position(self.seq, self.at if given is None else given)


_decode = msgspec.json.Decoder(Record).decode


def encode_record(submission: Submission, node: str, number: int, at: int | None = None) -> bytes:
    _, principal, draft, verified, moderator = submission
    return encode(
        Record(
            by=principal,
            draft=draft,
            node=node,
            number=number,
            verified=verified,
            moderator=moderator,
            at=at,
        )
    )


def decode_stream_message(room: str, headers: Mapping[str, str], payload: bytes) -> StreamMessage:
    """A message as JetStream republishes it, or gives it from its store: the headers hold its place."""
    try:
        envelope = _decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        envelope = None
    at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
    return StreamMessage(
        room,
        int(headers["Nats-Sequence"]),
        int(headers["Nats-Last-Sequence"]),
        int(at.timestamp() * 1000),
        envelope,
    )


def submission_of(room: str, envelope: Record) -> Submission:
    return Submission(room, envelope.by, envelope.draft, envelope.verified, envelope.moderator)


def message_id(room: str, principal: str, cid: str, retry: int = 0) -> str:
    """The ``Nats-Msg-Id``: a stream knows them all together, so the room and the principal are part of it.

    ``retry`` above 0: the first of that id was refused, so it does not count as sent.
    """
    named = [room, principal, cid, retry] if retry else [room, principal, cid]
    return hashlib.sha256(encode(named)).hexdigest()
