"""One page: the last messages of a room as a view has them, the stream's seq up to which that is so, and how it is cut.

Pure, but for the connection that it is made from.
"""

from __future__ import annotations

import sqlite3

import msgspec

from bqserver.model import Bounds
from bqserver.storage.sequencer import decode_message
from bqserver.storage.sqlite import queries
from bqwidget.protocol import MAX_TIME, Struct

from . import replica_state

MAX_MESSAGES = 50
"""On a page, at the most: what a room shows first."""
MAX_BYTES = 256_000
"""Bytes of them; NATS takes 1 MB, and gives it back in base64."""


class Snapshot(Struct, frozen=True):
    """``seq``: up to there everything that the stream has of the room is in here; ``whole``: no message is before these.

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
        """The newest ``limit`` messages; None: there may be more of them than the page has."""
        if not self.whole and len(self.messages) < limit:
            return None
        return [bytes(raw) for raw in self.messages[max(0, len(self.messages) - limit) :]]

    def without(self, upto: int) -> Snapshot:
        """The same without the messages up to there, which were let go; itself where it has none of them."""
        left = [raw for raw in self.messages if decode_message(raw).seq > upto]
        if len(left) == len(self.messages):
            return self
        return msgspec.structs.replace(self, messages=left, whole=True)


_decode = msgspec.json.Decoder(Snapshot).decode


def decode_snapshot(value: bytes) -> Snapshot | None:
    """None: it is no page. Anybody who may publish in the account can put anything there."""
    try:
        page = _decode(value)
        times = [decode_message(raw).at for raw in page.messages]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return page if page.seq > 0 and all(0 <= at < MAX_TIME for at in times) else None


def take_snapshot(db: sqlite3.Connection, epoch: str, room: str) -> Snapshot | None:
    """What a view has of the room at one moment. None: nothing, or its newest message alone is too large."""
    db.execute("BEGIN")
    try:
        seq = replica_state.cursor(db, room)
        bounds = replica_state.bounds(db, room)
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
