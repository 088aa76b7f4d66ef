"""A snapshot: a room's last messages as a replica has them, and the stream's seq up to which they are exact.

Pure, except for the connection that it is read from.
"""

from __future__ import annotations

import sqlite3

import msgspec

from bqserver.model import Bounds
from bqserver.storage.redaction import decode_message
from bqserver.storage.sqlite import queries
from bqwidget.protocol import MAX_TIME, NOT_JSON, Struct

from . import replica

MAX_MESSAGES = 50
"""Messages of a snapshot: what a client requests first of a room."""
MAX_BYTES = 256_000
"""Bytes of all its messages; NATS takes 1 MB, and returns it in base64."""


class Snapshot(Struct, frozen=True):
    """``seq``: the seq up to which it covers the stream; ``whole``: it has the room's first message.

    ``oldest``, ``newest`` and ``trimmed`` are the room's Bounds.
    """

    epoch: str
    seq: int
    oldest: int
    newest: int
    messages: list[msgspec.Raw]
    trimmed: int = 0
    whole: bool = False

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.oldest, self.newest, self.trimmed)

    def last(self, limit: int) -> list[bytes] | None:
        """The newest ``limit`` messages; None: the room may have more of them than the snapshot."""
        if not self.whole and len(self.messages) < limit:
            return None
        return [bytes(raw) for raw in self.messages[max(0, len(self.messages) - limit) :]]

    def without(self, upto: int) -> Snapshot:
        """A copy without the messages up to that seq, which were trimmed; ``self`` if it has none of them."""
        left = [raw for raw in self.messages if decode_message(raw).seq > upto]
        if len(left) == len(self.messages):
            return self
        return msgspec.structs.replace(self, messages=left, whole=True)


_decode = msgspec.json.Decoder(Snapshot).decode


def decode_snapshot(value: bytes) -> Snapshot | None:
    """None if it is not a snapshot: every client that may publish in the account can write to the bucket."""
    try:
        snapshot = _decode(value)
        times = [decode_message(raw).at for raw in snapshot.messages]
    except NOT_JSON:
        return None
    return snapshot if snapshot.seq > 0 and all(0 <= at < MAX_TIME for at in times) else None


def take_snapshot(db: sqlite3.Connection, epoch: str, room: str) -> Snapshot | None:
    """What a replica has of the room at one moment. None if it has nothing, or the newest message is too large."""
    db.execute("BEGIN")
    try:
        seq = replica.cursor(db, room)
        bounds = queries.bounds(db, room)
        bodies = queries.messages(db, room, MAX_MESSAGES + 1, None, None)
    finally:
        db.execute("COMMIT")
    kept, size = list[msgspec.Raw](), 0
    for body in bodies[: -MAX_MESSAGES - 1 : -1]:
        size += len(body)
        if size > MAX_BYTES:
            break
        kept.append(msgspec.Raw(body))
    if not seq or (bodies and not kept):
        return None
    return Snapshot(
        epoch=epoch,
        seq=seq,
        oldest=bounds.oldest,
        newest=bounds.seq,
        trimmed=bounds.trimmed,
        whole=len(kept) == len(bodies),
        messages=kept[::-1],
    )
