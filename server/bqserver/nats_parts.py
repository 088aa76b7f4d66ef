"""Attachments in a cluster: two buckets of JetStream's object store, the one for good and the one for a day.

An upload goes into the one that forgets. The first message that names it brings it into the one that keeps: so
what no message names goes by itself, and no node has to remember what it still has to sweep. Where old messages
are let go, what only they name goes with them (nats_part_retention).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable
from typing import TypeVar

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ObjectMeta, StorageType
from nats.js.object_store import ObjectStore

from bqwidget.protocol import Part, encode

from .log import LogError
from .nats_connection import LOST, explained
from .nats_link import Link
from .nats_part_retention import described, kept_in, key, object_name, uploaded_to
from .parts import Kept

UNNAMED_FOR = 24 * 3600.0
"""Seconds that an upload waits for the message that names it."""
PATIENCE = 20.0
"""Seconds for one attachment, there or back."""

_T = TypeVar("_T")
_decode = msgspec.json.Decoder(Part).decode


class NatsParts:
    """PartStore of a stream's rooms. The buckets are made with the first upload. ``replicas``: of each."""

    def __init__(self, link: Link, replicas: int) -> None:
        self._link = link
        self._replicas = replicas
        self._kept = kept_in(link)
        self._uploads = uploaded_to(link)

    async def put(self, room: str, kept: Kept) -> None:
        await _tried(self._put(room, kept))

    async def get(self, room: str, sha256: str) -> Kept | None:
        return await _tried(self._get(room, sha256))

    async def name(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        return await _tried(self._name(room, hashes))

    async def close(self) -> None:
        """The connection is the log's."""

    async def _put(self, room: str, kept: Kept) -> None:
        if await self._renewed(room, kept.part.sha256) is None:
            # The same again is put again: it has a day from now on.
            uploads = await self._bucket(self._uploads, ttl=UNNAMED_FOR)
            await _store(uploads, room, kept)

    async def _get(self, room: str, sha256: str) -> Kept | None:
        for bucket in (self._kept, self._uploads):
            try:
                store = await self._jetstream().object_store(bucket)
                found = await store.get(object_name(room, sha256))
            except nats.js.errors.NotFoundError:
                continue
            return Kept(_decode(found.info.description or ""), found.data or b"")
        return None

    async def _name(self, room: str, hashes: Iterable[str]) -> dict[str, Part]:
        found = {}
        for sha256 in hashes:
            part = await self._renewed(room, sha256)
            if part is None and (upload := await self._get(room, sha256)):
                await _store(await self._bucket(self._kept), room, upload)
                part = upload.part
            if part is not None:
                found[sha256] = part
        return found

    async def _renewed(self, room: str, sha256: str) -> Part | None:
        """The one that is kept, its description stored anew: retention goes by when that was."""
        values, one = described(self._link, self._kept), key(room, sha256)
        if not await values.is_there():
            return None
        while seen := await values.get(one):
            info = json.loads(seen.value)
            if info.get("deleted"):
                return None
            if await values.put(one, seen.value, last=seen.seq):
                return _decode(info.get("description") or "")
        return None

    async def _bucket(self, bucket: str, ttl: float | None = None) -> ObjectStore:
        jetstream = self._jetstream()
        try:
            return await jetstream.object_store(bucket)
        except nats.js.errors.NotFoundError:
            return await jetstream.create_object_store(
                bucket, storage=StorageType.FILE, replicas=self._replicas, ttl=ttl
            )

    def _jetstream(self) -> JetStreamContext:
        return self._link.client().jetstream()


async def _store(bucket: ObjectStore, room: str, kept: Kept) -> None:
    meta = ObjectMeta(description=encode(kept.part).decode())
    await bucket.put(object_name(room, kept.part.sha256), kept.body, meta)


async def _tried(work: Awaitable[_T]) -> _T:
    try:
        return await asyncio.wait_for(work, PATIENCE)
    except LOST as error:
        raise LogError(f"the cluster does not answer for attachments: {explained(error)}") from error
