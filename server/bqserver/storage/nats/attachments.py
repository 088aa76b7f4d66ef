"""Attachments in a cluster: two buckets of JetStream's object store, the one for good and the one for a day.

An upload goes into the one that forgets. The first message that names it brings it into the one that keeps: so
what no message names goes by itself, and no node has to remember what it still has to sweep. Where old messages
are let go, what only they name goes with them (attachment_retention).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ObjectMeta, StorageType
from nats.js.object_store import ObjectStore

from bqserver.errors import ClusterError
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.kv import KeyValue
from bqserver.storage.attachments import StoredAttachment
from bqwidget.protocol import Part, encode

from .attachment_retention import REMOVED, UPLOAD_TTL, attachment_bucket, mark_key, object_name, open_marks

TRANSFER_TIMEOUT = 20.0
"""Seconds for one attachment, there or back."""

MAX_ATTEMPTS, RETRY_INTERVAL = 20, 0.2
"""How often a mark is tried that another node may be changing, and the seconds between."""

_T = TypeVar("_T")
_decode: Callable[[bytes | str], Part] = msgspec.json.Decoder(Part).decode


class NatsAttachments:
    """AttachmentStore of a stream's rooms. The buckets are made with the first upload. ``replicas``: of each."""

    def __init__(self, client: JetStreamClient, replicas: int) -> None:
        self._client = client
        self._replicas = replicas
        self._kept = attachment_bucket(client)
        self._uploads = f"{client.address.stream}-uploads"
        self._marked_in = open_marks(client, replicas)
        self._made = False
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, room: str, kept: StoredAttachment) -> None:
        await _with_timeout(self._put(room, kept))

    async def get(self, room: str, sha256: str) -> StoredAttachment | None:
        return await _with_timeout(self._get(room, sha256))

    async def reference(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        return await _with_timeout(self._name(room, hashes))

    async def _put(self, room: str, kept: StoredAttachment) -> None:
        if await self._marked(room, kept.part.sha256, keep=False) is None:
            # The same again is put again: it has a day from now on.
            uploads = await self._bucket(self._uploads, ttl=UPLOAD_TTL)
            await _store(uploads, room, kept)

    async def _get(self, room: str, sha256: str) -> StoredAttachment | None:
        return await self._read(self._kept, room, sha256) or await self._read(self._uploads, room, sha256)

    async def _read(self, bucket: str, room: str, sha256: str) -> StoredAttachment | None:
        try:
            store = await self._jetstream().object_store(bucket)
            found = await store.get(object_name(room, sha256))
        except nats.js.errors.NotFoundError:
            return None
        return StoredAttachment(_decode(found.info.description or ""), found.data or b"")

    async def _name(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        found = {}
        for sha256 in hashes:
            part = await self._marked(room, sha256, keep=True)
            if part is not None:
                found[sha256] = part
        return found

    async def _marked(self, room: str, sha256: str, *, keep: bool) -> Part | None:
        """The part, if it is kept, or with ``keep`` comes to be, from its upload; marked anew."""
        key = mark_key(room, sha256)
        async with self._locks.setdefault(key, asyncio.Lock()):
            marks = await self._marks()
            first = None
            for _ in range(MAX_ATTEMPTS):
                mark = await marks.get(key)
                part: Part | None
                if mark is not None and mark.value != REMOVED:
                    part = _decode(mark.value)
                    if first is not None and mark.seq != first:
                        return part  # another node has done it, since we began
                else:
                    # Kept and never marked: by a node that fell in between.
                    part = await self._unmarked(room, sha256) if mark is None else None
                    part = part or (await self._keep(room, sha256) if keep else None)
                if part is None:
                    return None
                first = mark.seq if mark else 0
                if await marks.put(key, encode(part), last=first):
                    return part
                await asyncio.sleep(RETRY_INTERVAL)
        raise ClusterError("the cluster does not say which attachments are named: try again")

    async def _unmarked(self, room: str, sha256: str) -> Part | None:
        try:
            store = await self._jetstream().object_store(self._kept)
            info = await store.get_info(object_name(room, sha256))
        except nats.js.errors.NotFoundError:
            return None
        return _decode(info.description or "")

    async def _keep(self, room: str, sha256: str) -> Part | None:
        upload = await self._read(self._uploads, room, sha256)
        if upload is None:
            return None
        await _store(await self._bucket(self._kept), room, upload)
        return upload.part

    async def _marks(self) -> KeyValue:
        if not self._made:
            await self._marked_in.create()
            self._made = True
        return self._marked_in

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


async def _store(bucket: ObjectStore, room: str, kept: StoredAttachment) -> None:
    meta = ObjectMeta(description=encode(kept.part).decode())
    await bucket.put(object_name(room, kept.part.sha256), kept.body, meta)


async def _with_timeout(work: Awaitable[_T]) -> _T:
    try:
        return await asyncio.wait_for(work, TRANSFER_TIMEOUT)
    except CONNECTION_ERRORS as error:
        raise ClusterError(f"the cluster does not answer for attachments: {error_text(error)}") from error
