"""Removes attachments that no kept message references, in rooms with a retention rule.

Each reference is recorded in a bucket of small values; the time of a value is when the attachment was last
referenced. No kept message references an attachment that was last referenced before the room's oldest kept message.

A value is replaced only if it has not changed since it was read. So an attachment is either referenced again, and
stays, or is marked as removed (an empty value): the next message that references it needs a new upload.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable

from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.kv import KeyValue, LastValues, Value

UPLOAD_TTL = 24 * 3600.0
"""Seconds that an upload waits for a message that references it."""
RETENTION_MARGIN = UPLOAD_TTL + 3600.0
"""Seconds that an attachment outlives its last message: for a repeated upload's day, and differing server clocks."""
REMOVED = b""

KeptSince = Callable[[str], Awaitable[float | None]]
"""When a room's oldest kept message was stored (seconds since the epoch); None: the room keeps all."""


def attachment_bucket(client: NatsClient) -> str:
    """The bucket of NATS' object store for referenced attachments."""
    return f"{client.address.stream}-parts"


def reference_bucket(client: NatsClient, replicas: int = 1) -> KeyValue:
    """The references, each under its ``reference_key``: the Part, or REMOVED."""
    return KeyValue(client, "named", replicas)


def reference_key(room: str, sha256: str) -> str:
    return f"{room}.{sha256}"


def object_name(room: str, sha256: str) -> str:
    return f"{room}/{sha256}"


async def remove_unreferenced(client: NatsClient, kept_since: KeptSince) -> int:
    """Returns how many attachments were removed. Raises CONNECTION_ERRORS or StorageError."""
    references = reference_bucket(client)
    if not await references.exists():
        return 0
    removed, seq, more = 0, 0, True
    since: dict[str, float | None] = {}
    while more:
        found, more = await references.get_after(seq)
        more = more and bool(found)
        for reference in found:
            seq = reference.seq
            room, _, sha256 = reference.key.partition(".")
            if room not in since:
                since[room] = await kept_since(room)
            kept = since[room]
            if reference.value == REMOVED or (kept is not None and reference.at < kept - RETENTION_MARGIN):
                removed += await _remove(client, references, reference, object_name(room, sha256))
    return removed


async def remove_reference(client: NatsClient, references: KeyValue, key: str) -> None:
    """Remove an attachment unless it is referenced meanwhile. Raises CONNECTION_ERRORS or StorageError."""
    reference = await references.get(key)
    if reference is not None and reference.value == REMOVED:
        room, _, sha256 = key.partition(".")
        await _remove(client, references, reference, object_name(room, sha256))


async def _remove(client: NatsClient, references: KeyValue, reference: Value, name: str) -> bool:
    """Remove an attachment, unless it is referenced meanwhile. The next sweep completes an interrupted removal."""
    store = attachment_bucket(client)
    descriptions = LastValues(client, f"OBJ_{store}", f"$O.{store}.M.", rollup=True)
    key = urlsafe_b64encode(name.encode()).decode()
    description = await descriptions.get(key)  # read before the mark: a later upload has another description
    marked = await references.put(reference.key, REMOVED, last=reference.seq)
    if not marked:
        return False
    if description is not None:
        info = json.loads(description.value)
        deleted = json.dumps({**info, "deleted": True, "size": 0, "chunks": 0, "digest": ""}).encode()
        if at := await descriptions.put(key, deleted, last=description.seq):
            await LastValues(client, f"OBJ_{store}", f"$O.{store}.C.").purge(info["nuid"], at)
            await descriptions.purge(key, at)
    await references.purge(reference.key, marked)
    return True
