"""Attachments go with the messages that named them, in rooms that let old messages go.

Whoever names an attachment stores its description anew (``NatsParts.name``), so that its time tells when a message
named it last. One that was named last before the oldest message that a room keeps is named by none of those.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Any

from .log import LogError
from .nats_bucket import Value, Values
from .nats_link import Link

SLACK = 600.0
"""Seconds between an attachment's naming and its message, at the most, however wrong the servers' clocks are."""

KeptSince = Callable[[str], Awaitable[float | None]]
"""When the oldest message was stored that a room keeps (seconds since the epoch); None: it lets nothing go."""


def kept_in(link: Link) -> str:
    """The bucket for what messages name."""
    return f"{link.address.stream}-parts"


def uploaded_to(link: Link) -> str:
    """The bucket for what no message has named yet; what one has named stays there for its day too."""
    return f"{link.address.stream}-uploads"


def described(link: Link, bucket: str) -> Values:
    """The descriptions of what is in a bucket of NATS' object store, by their ``key``."""
    return Values(link, f"OBJ_{bucket}", f"$O.{bucket}.M.", rollup=True)


def key(room: str, sha256: str) -> str:
    return urlsafe_b64encode(object_name(room, sha256).encode()).decode()


def object_name(room: str, sha256: str) -> str:
    return f"{room}/{sha256}"


async def sweep(link: Link, kept_since: KeptSince) -> int:
    """Let go what no kept message names. Returns how many went. Raises LOST or LogError."""
    values = described(link, kept_in(link))
    if not await values.is_there():
        return 0
    gone, seq, more = 0, 0, True
    since: dict[str, float | None] = {}
    while more:
        found, more = await values.above(seq)
        more = more and bool(found)
        for value in found:
            seq = value.seq
            info = json.loads(value.value)
            if info.get("deleted"):
                await _forget(link, value, info)
                continue
            room = urlsafe_b64decode(value.key).decode().partition("/")[0]
            if room not in since:
                since[room] = await kept_since(room)
            kept = since[room]
            if kept is not None and value.at < kept - SLACK:
                gone += await _remove(link, kept_in(link), value, info)
    return gone


async def _remove(link: Link, bucket: str, seen: Value, info: dict[str, Any]) -> bool:
    """As NATS' own tools do, but only if nobody has named it, or uploaded it again, meanwhile."""
    mark = {**info, "deleted": True, "size": 0, "chunks": 0, "digest": ""}
    if not await described(link, bucket).put(seen.key, json.dumps(mark).encode(), last=seen.seq):
        return False
    if bucket == kept_in(link):
        await _remove_upload(link, seen)
    await _purge(link, bucket, f"C.{info['nuid']}")
    return True


async def _remove_upload(link: Link, named: Value) -> None:
    """What it was brought from, if that is still there."""
    values = described(link, uploaded_to(link))
    upload = await values.get(named.key) if await values.is_there() else None
    if upload is None or upload.at > named.at:
        return
    info = json.loads(upload.value)
    if not info.get("deleted"):
        await _remove(link, uploaded_to(link), upload, info)


async def _forget(link: Link, mark: Value, info: dict[str, Any]) -> None:
    """The mark goes with the next sweep; and the rest, where the one before was interrupted."""
    await _purge(link, kept_in(link), f"C.{info['nuid']}")
    await _remove_upload(link, mark)
    await _purge(link, kept_in(link), f"M.{mark.key}", seq=mark.seq + 1)


async def _purge(link: Link, bucket: str, subject: str, **more: int) -> None:
    answer = await link.ask(f"STREAM.PURGE.OBJ_{bucket}", {"filter": f"$O.{bucket}.{subject}", **more})
    if error := answer.get("error"):
        raise LogError(f"attachments can't be let go: {error.get('description')}")
