"""AttachmentStore: the attachments of a log, each stored once per room under the SHA-256 of its bytes.

Knowing a hash does not grant access: an attachment exists only in the rooms to which it was uploaded. An upload
that no message references is deleted after a day. A referenced one is kept as long as a message references it that
is neither deleted nor removed with old ones (in a cluster, until a day after the removal of old ones).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec

from bqserver.errors import StorageError
from bqserver.model import References, Rejected
from bqwidget.protocol import Part, Send, printable

MAX_STORED_BYTES = 256 * 1024 * 1024
"""Bytes that the in-memory store keeps; above it the oldest attachments are removed, as the oldest messages are."""

REMOVAL_DELAY = 20.0
"""Seconds that an attachment of deleted messages is only hidden: a message on its way to the log may reference it."""

_log = logging.getLogger("bqserver.parts")


class StoredAttachment(NamedTuple):
    """Its bytes and description. ``part.name`` is None: each message names it on its own."""

    part: Part
    body: bytes


class AttachmentStore(Protocol):
    """Methods are called on the server's event loop and don't block it. All raise StorageError."""

    async def put(self, room: str, attachment: StoredAttachment) -> None:
        """Store durably. Storing the same bytes again restarts the day that an upload waits for its message."""

    async def get(self, room: str, sha256: str) -> StoredAttachment | None: ...

    async def reference(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        """Mark attachments as referenced by a message, so that they are kept. Returns those that exist in the room."""

    def settle(self, references: References) -> None:
        """A commit has changed which messages reference attachments: hide those that none references any more."""


class MemoryAttachments:
    """The in-memory store: nothing survives the process; above ``max_bytes`` the oldest attachments are removed."""

    def __init__(self, *, max_bytes: int = MAX_STORED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._stored: dict[tuple[str, str], StoredAttachment] = {}
        self._hidden: dict[tuple[str, str], StoredAttachment] = {}

    async def put(self, room: str, attachment: StoredAttachment) -> None:
        key = room, attachment.part.sha256
        if key in self._stored:
            self._stored[key] = self._stored.pop(key)  # now the newest: a message is about to reference it
            return
        self._stored[key] = attachment
        self._size += attachment.part.size
        while self._size > self._max_bytes and len(self._stored) > 1:
            self._size -= self._stored.pop(next(iter(self._stored))).part.size

    async def get(self, room: str, sha256: str) -> StoredAttachment | None:
        return self._stored.get((room, sha256))

    async def reference(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        return {sha256: self._stored[room, sha256].part for sha256 in hashes if (room, sha256) in self._stored}

    def settle(self, references: References) -> None:
        for key in references.named:
            if (hidden := self._hidden.pop(key, None)) is not None:
                self._stored[key] = hidden
                self._size += hidden.part.size
        for key in references.freed:
            if (freed := self._stored.pop(key, None)) is not None:
                self._hidden[key] = freed
                self._size -= freed.part.size
                asyncio.get_running_loop().call_later(REMOVAL_DELAY, self._hidden.pop, key, None)

    async def close(self) -> None:
        self._stored.clear()


async def resolve_attachments(store: AttachmentStore | None, room: str, draft: Send) -> Send | Rejected:
    """``draft`` with its ``parts`` as stored; rejected if one does not exist, or has another type or size."""
    if store is None:
        return _NOT_SUPPORTED
    try:
        known = await store.reference(room, [part.sha256 for part in draft.parts])
    except StorageError as error:
        _log.error("a message's attachments could not be looked up: %s", error)
        return Rejected("unavailable", "attachments can't be read at the moment: try again", 503, 5.0)
    parts = []
    for part in draft.parts:
        stored = known.get(part.sha256)
        shown = printable(part.name or part.sha256)
        if stored is None:
            message = f"this room has no attachment {shown}: upload it first, to /rooms/{room}/parts"
            return Rejected("no_part", message, 404)
        if (part.mime, part.size) != (stored.mime, stored.size):
            message = f"attachment {shown} is {stored.mime} with {stored.size:,} bytes: send its real type and size"
            return Rejected("bad_part", message, 400)
        parts.append(msgspec.structs.replace(stored, name=part.name))
    return msgspec.structs.replace(draft, parts=tuple(parts))


_NOT_SUPPORTED = Rejected("no_parts", "this server accepts no attachments: send text", 400)
