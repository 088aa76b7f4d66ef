"""The routes of attachments: uploaded by members who may write in the room, downloaded by those who may read there."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from http import HTTPStatus

import msgspec

from bqserver.errors import StorageError
from bqserver.model import Role
from bqserver.storage.attachments import AttachmentStore, StoredAttachment
from bqwidget.errors import ProtocolError
from bqwidget.protocol import MAX_NAME, SHA256, Part, encode, printable

from .body import DISCARD_LIMIT, BodyHandler
from .errors import ApiError, bad_request
from .handler import Handler
from .media import ALLOWED_TYPES, inspect

CSP = "default-src 'none'; sandbox"
"""A picture that is also a document (SVG), opened by its address, has no origin, runs nothing and loads nothing."""
CACHE_SECONDS = 365 * 24 * 3600
FILE_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
}

_log = logging.getLogger("bqserver.parts")


class UploadHandler(BodyHandler):
    """``POST /rooms/{room}/parts?name=``: raw bytes under their Content-Type; 201 and the part, once it is durable."""

    def check_headers(self) -> None:
        """Check all that is known before the first byte is read, for the body may be long."""
        room, *_ = self.path_args
        self.check_writer(room)
        self.store()
        if self.mime not in ALLOWED_TYPES:
            message = f"{printable(self.mime)} is not accepted: an attachment is {', '.join(ALLOWED_TYPES)}"
            raise ApiError(415, "bad_type", message)
        with bad_request():
            _check_name(self.get_query_argument("name", None))
        self.content_length()
        self._check_rate()

    def check_writer(self, room: str) -> None:
        self.authorize(room, Role.WRITE)
        policy, principal = self.context.hub.policy, self.identity.principal
        level = policy.authenticator.role(self.identity, room)
        if principal is not None and (refused := policy.check_can_write(self.identity, level, room, principal)):
            raise ApiError.of(refused)

    async def post(self, room: str) -> None:
        self.check_writer(room)  # rights may have changed since the first byte
        data = self.body()
        if not data:
            raise ApiError(400, "empty", "the attachment is empty: send its bytes as the body")
        with bad_request():
            part = await asyncio.to_thread(inspect, self.mime, data)
        try:
            put = partial(self.store().put, room, StoredAttachment(part, data))
            await self.in_turn(self.context.hub.shares.uploads, put)
        except StorageError as error:
            _log.error("an attachment could not be stored: %s", error)
            raise ApiError(503, "unavailable", "the attachment could not be stored: try again", retry_after=5) from None
        name = self.get_query_argument("name", None)
        await self.finish_json(encode(msgspec.structs.replace(part, name=name)), HTTPStatus.CREATED)

    @property
    def mime(self) -> str:
        return self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def store(self) -> AttachmentStore:
        hub = self.context.hub
        if hub.attachments is None or not hub.limits.part:
            raise ApiError(404, "no_parts", "this server accepts no attachments: send text")
        return hub.attachments

    def _check_rate(self) -> None:
        self.rate_counted = True
        if refused := self.context.hub.too_fast(self.member, "messages and attachments"):
            raise ApiError.of(refused)

    @property
    def _max_bytes(self) -> int:
        return self.context.hub.limits.part

    @property
    def _max_read_bytes(self) -> int:
        return self._max_bytes + DISCARD_LIMIT

    def _too_big(self) -> ApiError:
        size = int(self.request.headers.get("Content-Length", "0"))
        return ApiError(
            413,
            "too_big",
            f"the attachment has {size:,} bytes; the limit is {self._max_bytes:,}: send a smaller one",
        )


class DownloadHandler(Handler):
    """``GET /rooms/{room}/parts/{sha256}``: the bytes, for members who may read in that room."""

    async def get(self, room: str, sha256: str) -> None:
        self.authorize(room, Role.READ)
        await self.read(self.context.hub.shares.downloads, partial(self.send, room, sha256))

    async def send(self, room: str, sha256: str) -> None:
        body: bytes | None
        part, body = await self.find(room, sha256)
        self.set_headers(part, sha256)
        if f'"{sha256}"' in self.request.headers.get("If-None-Match", ""):
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        budget = self.context.hub.shares.attachments
        if not budget.acquire(self.member, part.size):
            body = None  # many may wait
            await self.reserve(budget, part.size)
        try:
            await self.finish_in_pieces(body or (await self.find(room, sha256)).body)
        finally:
            budget.release(self.member, part.size)

    async def find(self, room: str, sha256: str) -> StoredAttachment:
        """Raises ApiError (404)."""
        store = self.context.hub.attachments
        kept = await store.get(room, sha256) if store and SHA256.fullmatch(sha256) else None
        if kept is None:
            raise ApiError(404, "no_part", f"room {room} has no attachment {printable(sha256)}")
        return kept

    def set_headers(self, part: Part, sha256: str) -> None:
        self.set_header("Content-Type", part.mime)
        self.set_header("Content-Security-Policy", CSP)
        name = f"{sha256[:12]}.{FILE_EXTENSIONS.get(part.mime, 'json')}"
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.set_header("Cache-Control", f"private, max-age={CACHE_SECONDS}, immutable")
        self.add_header("Vary", "Authorization, Cookie")
        self.set_header("ETag", f'"{sha256}"')


def _check_name(name: str | None) -> None:
    if name is not None and not 0 < len(name) <= MAX_NAME:
        raise ProtocolError(
            "too_long", f"name has {len(name):,} characters; it must have 1 to {MAX_NAME}", field="name"
        )
