"""The routes of attachments: uploaded by members who may write in the room, downloaded by those who may read there."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

import msgspec
from tornado.iostream import StreamClosedError

from bqserver.errors import StorageError
from bqserver.model import Role
from bqserver.storage.attachments import AttachmentStore, StoredAttachment
from bqwidget.errors import ProtocolError
from bqwidget.protocol import MAX_NAME, SHA256, encode, printable

from .body import DISCARD_LIMIT, BodyHandler
from .errors import ApiError, bad_request
from .handler import Handler
from .media import ALLOWED_TYPES, inspect
from .requests import http1_connection

CSP = "default-src 'none'; sandbox"
"""A picture that is also a document (SVG), opened by its address, has no origin, runs nothing and loads nothing."""
TRANSFER_TIMEOUT = 120.0
"""Seconds in which an upload must arrive and a download be read, because it occupies memory meanwhile."""
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

    _held = 0
    _late: asyncio.TimerHandle | None = None

    def check_headers(self) -> None:
        """Check all that is known before the first byte is read, for the body may be long."""
        hub, (room, *_) = self.context.hub, self.path_args
        self.check_writer(room)
        self.store()
        if self.mime not in ALLOWED_TYPES:
            message = f"{printable(self.mime)} is not accepted: an attachment is {', '.join(ALLOWED_TYPES)}"
            raise ApiError(415, "bad_type", message)
        with bad_request():
            _check_name(self.get_query_argument("name", None))
        length = self.content_length()
        self._check_rate()
        if length > self._max_bytes:
            return  # its bytes are dropped, and the sender reads the 413 when it has sent them
        if not hub.attachment_memory.acquire(length):
            raise ApiError(503, "overload", "too many attachments are being transferred: try again", retry_after=2)
        self._held = length
        self._late = asyncio.get_running_loop().call_later(TRANSFER_TIMEOUT, self._give_up)

    def check_writer(self, room: str) -> None:
        self.authorize(room, Role.WRITE)
        policy, principal = self.context.hub.policy, self.identity.principal
        level = policy.authenticator.role(self.identity, room)
        if principal is not None and (refused := policy.check_can_write(self.identity, level, room, principal)):
            raise ApiError.of(refused)

    def data_received(self, chunk: bytes) -> None:
        super().data_received(chunk)
        if not self._held:  # too long: read only so that the sender sees the answer
            self._chunks.clear()

    async def post(self, room: str) -> None:
        if self._late is not None:
            self._late.cancel()
        self.check_writer(room)  # rights may have changed since the first byte
        data = self.body()
        if not data:
            raise ApiError(400, "empty", "the attachment is empty: send its bytes as the body")
        try:
            part = await asyncio.to_thread(inspect, self.mime, data)
        except ProtocolError as error:
            raise ApiError(400, error.code, str(error)) from None
        try:
            await self.store().put(room, StoredAttachment(part, data))
        except StorageError as error:
            _log.error("an attachment could not be stored: %s", error)
            raise ApiError(503, "unavailable", "the attachment could not be stored: try again", retry_after=5) from None
        name = self.get_query_argument("name", None)
        self.finish_json(encode(msgspec.structs.replace(part, name=name)), HTTPStatus.CREATED)

    @property
    def mime(self) -> str:
        return self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def store(self) -> AttachmentStore:
        hub = self.context.hub
        if hub.attachments is None or not hub.limits.part:
            raise ApiError(404, "no_parts", "this server accepts no attachments: send text")
        return hub.attachments

    def on_finish(self) -> None:
        self._release()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._release()

    def _give_up(self) -> None:
        http1_connection(self.request).stream.close()

    def _release(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self.context.hub.attachment_memory.release(self._held)
        self._held = 0

    def _check_rate(self) -> None:
        who = self.identity.principal or self.address
        self.rate_counted = True
        if refused := self.context.hub.too_fast(who, "messages and attachments"):
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
        store, budget = self.context.hub.attachments, self.context.hub.attachment_memory
        kept = await store.get(room, sha256) if store and SHA256.fullmatch(sha256) else None
        if kept is None:
            raise ApiError(404, "no_part", f"room {room} has no attachment {printable(sha256)}")
        part, body = kept
        self.set_header("Content-Type", part.mime)
        self.set_header("Content-Security-Policy", CSP)
        name = f"{sha256[:12]}.{FILE_EXTENSIONS.get(part.mime, 'json')}"
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.set_header("Cache-Control", f"private, max-age={CACHE_SECONDS}, immutable")
        self.add_header("Vary", "Authorization, Cookie")
        self.set_header("ETag", f'"{sha256}"')
        if f'"{sha256}"' in self.request.headers.get("If-None-Match", ""):
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        if not budget.acquire(part.size):
            raise ApiError(503, "overload", "too many attachments are being transferred: try again", retry_after=2)
        try:
            async with asyncio.timeout(TRANSFER_TIMEOUT):
                await self.finish(body)
        except StreamClosedError:
            pass  # the client has gone
        except TimeoutError:
            http1_connection(self.request).detach().close()
        finally:
            budget.release(part.size)


def _check_name(name: str | None) -> None:
    if name is not None and not 0 < len(name) <= MAX_NAME:
        raise ProtocolError("too_long", f"name has {len(name):,} characters; it must have 1 to {MAX_NAME}")
