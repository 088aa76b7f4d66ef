"""AttachmentStore: the attachments beside the log, each kept once a room under the hash of its bytes.

Whoever knows a hash gets nothing by it: a part is there only in the rooms in which it was uploaded. An upload
that no message names is let go after a day; what a message names is kept as long as the log, or, where that lets
messages go, a day longer than the last that named it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from bqserver.errors import StorageError
from bqserver.model import Rejected
from bqwidget.protocol import Part, Post, Send, printable

MAX_TRANSFER_BYTES = 64 * 1024 * 1024
"""Bytes of all uploads and downloads that are held in memory at one moment."""
MAX_STORED_BYTES = 256 * 1024 * 1024
"""Bytes that a store in memory keeps; the oldest parts make room, as the oldest messages do there."""

Draft = TypeVar("Draft", Send, Post)

_log = logging.getLogger("bqserver.parts")


class StoredAttachment(NamedTuple):
    """``part`` has no name: that is what each message calls it."""

    part: Part
    body: bytes


class AttachmentStore(Protocol):
    """Methods are called on the server's event loop, and none of them blocks it. All raise StorageError."""

    async def put(self, room: str, kept: StoredAttachment) -> None:
        """Durable when it returns; the same again is nothing new."""

    async def get(self, room: str, sha256: str) -> StoredAttachment | None: ...

    async def reference(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        """Those of them that are in the room; a message names them from now on, so they stay."""


class MemoryAttachments:
    """For a log in memory: nothing survives the process, and the oldest make room at ``most`` bytes."""

    def __init__(self, *, max_bytes: int = MAX_STORED_BYTES) -> None:
        self._most = max_bytes
        self._size = 0
        self._kept: dict[tuple[str, str], StoredAttachment] = {}

    async def put(self, room: str, kept: StoredAttachment) -> None:
        key = room, kept.part.sha256
        if key in self._kept:
            self._kept[key] = self._kept.pop(key)  # the newest again: a message is about to name it
            return
        self._kept[key] = kept
        self._size += kept.part.size
        while self._size > self._most and len(self._kept) > 1:
            self._size -= self._kept.pop(next(iter(self._kept))).part.size

    async def get(self, room: str, sha256: str) -> StoredAttachment | None:
        return self._kept.get((room, sha256))

    async def reference(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        return {one: self._kept[room, one].part for one in hashes if (room, one) in self._kept}

    async def close(self) -> None:
        self._kept.clear()


class MemoryBudget:
    """Room in memory for bodies on their way in and out, so that many at once can't fill it."""

    def __init__(self, most: int = MAX_TRANSFER_BYTES) -> None:
        self._left = most

    def acquire(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True

    def release(self, size: int) -> None:
        self._left += size


async def resolve_attachments(store: AttachmentStore | None, room: str, draft: Draft) -> Draft | Rejected:
    """``draft`` with its parts as the store knows them; refused where one isn't there, or isn't as it says."""
    if store is None:
        return _NONE_TAKEN
    try:
        known = await store.reference(room, [part.sha256 for part in draft.parts])
    except StorageError as error:
        _log.error("a message's attachments could not be looked up: %s", error)
        return Rejected("unavailable", "attachments can't be read just now: try again", 503, 5.0)
    parts = []
    for part in draft.parts:
        truth = known.get(part.sha256)
        shown = printable(part.name or part.sha256)
        if truth is None:
            message = f"this room has no attachment {shown}: upload it first, to /rooms/{room}/parts"
            return Rejected("no_part", message, 404)
        if (part.mime, part.size) != (truth.mime, truth.size):
            message = f"the attachment {shown} is {truth.mime} of {truth.size:,} bytes: say so"
            return Rejected("bad_part", message, 400)
        parts.append(msgspec.structs.replace(truth, name=part.name))
    return msgspec.structs.replace(draft, parts=tuple(parts))


_NONE_TAKEN = Rejected("no_parts", "this server takes no attachments: send text", 400)
