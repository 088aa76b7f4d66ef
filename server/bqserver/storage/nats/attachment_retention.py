"""Attachments go with the messages that named them, in rooms that let old messages go.

Whoever names an attachment marks it, in a bucket of small values beside the attachments: a mark's time is when it was
named last. What was named last before the oldest message that a room keeps is named by none of those.

A mark is changed only by who has seen the last one. So an attachment is either marked again, and stays, or marked as
gone (an empty value): whoever names it then keeps it anew, from an upload of its own.
"""

from __future__ import annotations

import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable

from bqserver.jetstream.client import Link
from bqserver.jetstream.kv import Bucket, Value, Values

UNNAMED_FOR = 24 * 3600.0
"""Seconds that an upload waits for the message that names it."""
SLACK = UNNAMED_FOR + 3600.0
"""Seconds that an attachment stays after that: what was uploaded again has its day, and servers' clocks differ."""
GONE = b""

KeptSince = Callable[[str], Awaitable[float | None]]
"""When the oldest message was stored that a room keeps (seconds since the epoch); None: it lets nothing go."""

_log = logging.getLogger("bqserver.nats")


def kept_in(link: Link) -> str:
    """The bucket of NATS' object store for what messages name."""
    return f"{link.address.stream}-parts"


def marks_of(link: Link, replicas: int = 1) -> Bucket:
    """The marks, each under its ``mark_key``; of a live one, the value is the Part."""
    return Bucket(link, "named", replicas)


def mark_key(room: str, sha256: str) -> str:
    return f"{room}.{sha256}"


def object_name(room: str, sha256: str) -> str:
    return f"{room}/{sha256}"


async def sweep(link: Link, kept_since: KeptSince) -> int:
    """Let go what no kept message names. Returns how many went. Raises LOST or StorageError."""
    marks = marks_of(link)
    if not await marks.is_there():
        return 0
    gone, seq, more = 0, 0, True
    since: dict[str, float | None] = {}
    while more:
        found, more = await marks.above(seq)
        more = more and bool(found)
        for mark in found:
            seq = mark.seq
            room, _, sha256 = mark.key.partition(".")
            if room not in since:
                since[room] = await kept_since(room)
            kept = since[room]
            if mark.value == GONE or (kept is not None and mark.at < kept - SLACK):
                gone += await _remove(link, marks, mark, object_name(room, sha256))
    return gone


async def _remove(link: Link, marks: Bucket, mark: Value, name: str) -> bool:
    """Unless somebody names it meanwhile. What was interrupted is done again by the next sweep."""
    store = kept_in(link)
    descriptions = Values(link, f"OBJ_{store}", f"$O.{store}.M.", rollup=True)
    key = urlsafe_b64encode(name.encode()).decode()
    seen = await descriptions.get(key)  # before it is gone: what is kept anew has another one
    marked = await marks.put(mark.key, GONE, last=mark.seq)
    if not marked:
        return False
    if seen is not None:
        info = json.loads(seen.value)
        deleted = json.dumps({**info, "deleted": True, "size": 0, "chunks": 0, "digest": ""}).encode()
        if at := await descriptions.put(key, deleted, last=seen.seq):
            await Values(link, f"OBJ_{store}", f"$O.{store}.C.").drop(info["nuid"], at)
            await descriptions.drop(key, at)
    await marks.drop(mark.key, marked)
    return True
