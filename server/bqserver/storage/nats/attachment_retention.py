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

from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.kv import KeyValue, LastValues, Value

UPLOAD_TTL = 24 * 3600.0
"""Seconds that an upload waits for the message that names it."""
RETENTION_MARGIN = UPLOAD_TTL + 3600.0
"""Seconds that an attachment stays after that: what was uploaded again has its day, and servers' clocks differ."""
REMOVED = b""

KeptSince = Callable[[str], Awaitable[float | None]]
"""When the oldest message was stored that a room keeps (seconds since the epoch); None: it lets nothing go."""

_log = logging.getLogger("bqserver.nats")


def attachment_bucket(client: JetStreamClient) -> str:
    """The bucket of NATS' object store for what messages name."""
    return f"{client.address.stream}-parts"


def open_marks(client: JetStreamClient, replicas: int = 1) -> KeyValue:
    """The marks, each under its ``mark_key``; of a live one, the value is the Part."""
    return KeyValue(client, "named", replicas)


def mark_key(room: str, sha256: str) -> str:
    return f"{room}.{sha256}"


def object_name(room: str, sha256: str) -> str:
    return f"{room}/{sha256}"


async def sweep(client: JetStreamClient, kept_since: KeptSince) -> int:
    """Let go what no kept message names. Returns how many went. Raises LOST or StorageError."""
    marks = open_marks(client)
    if not await marks.exists():
        return 0
    gone, seq, more = 0, 0, True
    since: dict[str, float | None] = {}
    while more:
        found, more = await marks.get_after(seq)
        more = more and bool(found)
        for mark in found:
            seq = mark.seq
            room, _, sha256 = mark.key.partition(".")
            if room not in since:
                since[room] = await kept_since(room)
            kept = since[room]
            if mark.value == REMOVED or (kept is not None and mark.at < kept - RETENTION_MARGIN):
                gone += await _remove(client, marks, mark, object_name(room, sha256))
    return gone


async def _remove(client: JetStreamClient, marks: KeyValue, mark: Value, name: str) -> bool:
    """Unless somebody names it meanwhile. What was interrupted is done again by the next sweep."""
    store = attachment_bucket(client)
    descriptions = LastValues(client, f"OBJ_{store}", f"$O.{store}.M.", rollup=True)
    key = urlsafe_b64encode(name.encode()).decode()
    seen = await descriptions.get(key)  # before it is gone: what is kept anew has another one
    marked = await marks.put(mark.key, REMOVED, last=mark.seq)
    if not marked:
        return False
    if seen is not None:
        info = json.loads(seen.value)
        deleted = json.dumps({**info, "deleted": True, "size": 0, "chunks": 0, "digest": ""}).encode()
        if at := await descriptions.put(key, deleted, last=seen.seq):
            await LastValues(client, f"OBJ_{store}", f"$O.{store}.C.").purge(info["nuid"], at)
            await descriptions.purge(key, at)
    await marks.purge(mark.key, marked)
    return True
