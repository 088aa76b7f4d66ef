"""Attachments of a cluster, in two buckets of JetStream's object store: one permanent, one with a time to live.

An upload goes into the bucket of uploads, which removes it after a day. The first message that references it copies
it into the permanent bucket. So uploads that no message references disappear without a sweep by any node. In rooms
with a retention rule, attachments that only removed messages referenced are removed too (``attachment_retention``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from weakref import WeakValueDictionary

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ObjectMeta, StorageType
from nats.js.object_store import ObjectStore

from bqserver.errors import ClusterError, StorageError
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.retry import retry
from bqserver.model import References
from bqserver.storage.attachments import REMOVAL_DELAY, StoredAttachment
from bqwidget.protocol import Part, encode

from .attachment_retention import (
    REMOVED,
    UPLOAD_TTL,
    attachment_bucket,
    object_name,
    reference_bucket,
    reference_key,
    remove_reference,
)

TRANSFER_TIMEOUT = 20.0
"""Seconds to store or read one attachment."""
MAX_ATTEMPTS, RETRY_INTERVAL = 20, 0.2
"""Attempts to renew a reference while other nodes change it, and the seconds between two."""

_decode: Callable[[bytes | str], Part] = msgspec.json.Decoder(Part).decode


IsReferenced = Callable[[str, str], Awaitable[bool]]

_log = logging.getLogger("bqserver.parts")


class _ReferenceChanged(Exception):  # noqa: N818 - never leaves this module
    """Another node has changed the reference meanwhile."""


class NatsAttachments:
    """AttachmentStore of a stream's rooms. The buckets are created by the first upload. ``replicas``: of each."""

    def __init__(self, client: NatsClient, replicas: int) -> None:
        self.is_referenced: IsReferenced | None = None
        """Whether a message of the room that is not deleted references the hash now."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._client = client
        self._replicas = replicas
        self._permanent = attachment_bucket(client)
        self._uploads = f"{client.address.stream}-uploads"
        self._references = reference_bucket(client, replicas)
        self._created = False
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, room: str, attachment: StoredAttachment) -> None:
        async with _time_limit():
            if await self._renew(room, attachment.part.sha256, keep=False) is None:
                # A repeated upload is stored again, so its day begins again.
                await _store(await self._bucket(self._uploads, ttl=UPLOAD_TTL), room, attachment)

    async def get(self, room: str, sha256: str) -> StoredAttachment | None:
        async with _time_limit():
            if await self._is_hidden(room, sha256):
                return None
            found = await self._read(self._permanent, room, sha256)
            return found or await self._read(self._uploads, room, sha256)

    async def reference(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        async with _time_limit():
            parts = {sha256: await self._renew(room, sha256, keep=True) for sha256 in hashes}
            return {sha256: part for sha256, part in parts.items() if part is not None}

    def settle(self, references: References) -> None:
        """Hide them on every node, and remove them later: a message on its way may reference one again."""
        for room, sha256 in references.freed:
            task = asyncio.get_running_loop().create_task(self._remove_freed(room, sha256))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def flush(self) -> None:
        """Wait until what this node has hidden is removed."""
        await asyncio.gather(*self._tasks)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _remove_freed(self, room: str, sha256: str) -> None:
        try:
            key = reference_key(room, sha256)
            reference = await self._references.get(key)
            if reference is None or not await self._references.put(key, REMOVED, last=reference.seq):
                return  # a message has referenced it again meanwhile
            await asyncio.sleep(REMOVAL_DELAY)
            if self.is_referenced is None or await self.is_referenced(room, sha256):
                await self._references.put(key, reference.value)
                return
            await remove_reference(self._client, self._references, key)
            with suppress(nats.js.errors.NotFoundError):
                await (await self._jetstream().object_store(self._uploads)).delete(object_name(room, sha256))
        except (StorageError, nats.js.errors.Error, *CONNECTION_ERRORS) as error:
            _log.warning("an attachment of deleted messages could not be removed: %s", error_text(error))

    async def _is_hidden(self, room: str, sha256: str) -> bool:
        with suppress(nats.errors.NoRespondersError):  # there is no reference yet
            reference = await self._references.get_direct(reference_key(room, sha256))
            return reference is not None and reference.value == REMOVED
        return False

    async def _read(self, bucket: str, room: str, sha256: str) -> StoredAttachment | None:
        try:
            store = await self._jetstream().object_store(bucket)
            found = await store.get(object_name(room, sha256))
        except nats.js.errors.NotFoundError:
            return None
        return StoredAttachment(_decode(found.info.description or ""), found.data or b"")

    async def _renew(self, room: str, sha256: str, *, keep: bool) -> Part | None:
        """Renew the reference of a permanent attachment, and return its part; None if there is none. ``keep``: make it
        permanent first, if it is an upload.
        """
        key = reference_key(room, sha256)
        first: int | None = None

        async def attempt() -> Part | None:
            nonlocal first
            reference = await self._references.get(key)
            part: Part | None
            if reference is not None and reference.value != REMOVED:
                part = _decode(reference.value)
                if first is not None and reference.seq != first:
                    return part  # renewed by another node meanwhile
            else:
                # An attachment can be permanent without a reference: its node was killed between the two.
                part = await self._find_permanent(room, sha256) if reference is None else None
                part = part or (await self._make_permanent(room, sha256) if keep else None)
            if part is None:
                return None
            first = reference.seq if reference else 0
            if not await self._references.put(key, encode(part), last=first):
                raise _ReferenceChanged
            return part

        async with self._locks.setdefault(key, asyncio.Lock()):
            if not self._created:
                await self._references.create()
                self._created = True
            return await retry(
                attempt,
                lambda _: ClusterError("the cluster does not say which attachments are referenced: try again"),
                interval=RETRY_INTERVAL,
                max_attempts=MAX_ATTEMPTS,
                errors=(_ReferenceChanged,),
            )

    async def _find_permanent(self, room: str, sha256: str) -> Part | None:
        try:
            store = await self._jetstream().object_store(self._permanent)
            info = await store.get_info(object_name(room, sha256))
        except nats.js.errors.NotFoundError:
            return None
        return _decode(info.description or "")

    async def _make_permanent(self, room: str, sha256: str) -> Part | None:
        upload = await self._read(self._uploads, room, sha256)
        if upload is None:
            return None
        await _store(await self._bucket(self._permanent), room, upload)
        return upload.part

    async def _bucket(self, bucket: str, ttl: float | None = None) -> ObjectStore:
        jetstream = self._jetstream()
        try:
            return await jetstream.object_store(bucket)
        except nats.js.errors.NotFoundError:
            return await jetstream.create_object_store(
                bucket, storage=StorageType.FILE, replicas=self._replicas, ttl=ttl
            )

    def _jetstream(self) -> JetStreamContext:
        return self._client.connection().jetstream()


async def _store(bucket: ObjectStore, room: str, attachment: StoredAttachment) -> None:
    meta = ObjectMeta(description=encode(attachment.part).decode())
    await bucket.put(object_name(room, attachment.part.sha256), attachment.body, meta)


@asynccontextmanager
async def _time_limit() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TRANSFER_TIMEOUT):
            yield
    except CONNECTION_ERRORS as error:
        raise ClusterError(f"the cluster does not answer for attachments: {error_text(error)}") from error
