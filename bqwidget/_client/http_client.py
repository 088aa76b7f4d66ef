"""HttpClient: a room's server over HTTP: pages of its log, attachments, and other requests."""

from __future__ import annotations

import asyncio
import hashlib
from asyncio import Future
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import IOStream
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.tcpclient import TCPClient

from bqwidget.errors import ConnectionRefused
from bqwidget.protocol import Change, Entry, Message, Part

from .endpoint import Endpoint
from .message_list import PAGE_SIZE, PageRequest

Decoded = TypeVar("Decoded")

REQUEST_TIMEOUT, TRANSFER_TIMEOUT, SEARCH_TIMEOUT = 20.0, 120.0, 120.0
"""Seconds for a request, one that carries an attachment, and a search: the first of a large room builds its index."""
RETRYABLE_STATUSES = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed later."""

_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_part = msgspec.json.Decoder(Part).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Attachment(NamedTuple):
    part: Part
    data: bytes


class _TrackingTCPClient(TCPClient):
    """Keeps its streams, also while they connect, because closing Tornado's client does not close requests in progress."""

    def __init__(self) -> None:
        super().__init__()
        self._open: WeakSet[IOStream] = WeakSet()
        self._is_closed = False

    def _create_stream(self, *args: Any, **kwargs: Any) -> tuple[IOStream, Future[IOStream]]:
        stream, connected = super()._create_stream(*args, **kwargs)
        self._track(stream)
        return stream, connected

    async def connect(self, *args: Any, **kwargs: Any) -> IOStream:
        stream = await super().connect(*args, **kwargs)
        self._track(stream)  # of TLS: another one
        return stream

    def _track(self, stream: IOStream) -> None:
        self._open.add(stream)
        if self._is_closed:
            stream.close()

    def close_streams(self) -> None:
        self._is_closed = True
        for stream in list(self._open):
            stream.close()


class HttpClient:
    """All requests of one room, on its thread. Every method raises ConnectionRefused if the request fails."""

    def __init__(self, endpoint: Endpoint, room: str) -> None:
        self.endpoint = endpoint
        self._room = room
        # Not the loop's shared client: this one is closed with its room's connection.
        self._client = SimpleAsyncHTTPClient(force_instance=True)
        self._client.tcp_client = self._streams = _TrackingTCPClient()

    def close(self) -> None:
        self._client.close()
        self._streams.close_streams()

    async def messages(
        self,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        at: int | None = None,
        pinned: bool = False,
        limit: int,
    ) -> list[Message]:
        """Folded messages, ascending: the last below ``before``, the first above ``after``, or those next to ``around``,
        or to the time ``at`` (ms). ``pinned``: of those that are pinned.
        """
        position = {"before": before, "after": after, "around": around, "at": at, "pinned": 1 if pinned else None}
        return self._decoded(_decode_messages, await self.get(f"rooms/{self._room}/messages", **position, limit=limit))

    async def search(self, words: str, limit: int) -> list[Message]:
        """The newest ``limit`` messages that contain all ``words``, ascending."""
        body = await self.get(f"rooms/{self._room}/search", timeout=SEARCH_TIMEOUT, q=words, limit=limit)
        return self._decoded(_decode_messages, body)

    async def messages_between(self, after: int, upto: int) -> list[Message]:
        """The messages with ``after < seq <= upto``."""
        found: list[Message] = []
        while True:
            page = await self.messages(after=after, limit=PAGE_SIZE)
            found += [message for message in page if message.seq <= upto]
            if len(page) < PAGE_SIZE or page[-1].seq >= upto:
                return found
            after = page[-1].seq

    async def fetch_page(self, page: PageRequest) -> list[Entry]:
        """The page that a session requested."""
        if page.kind == "messages":
            return list(await self.messages(before=page.seq, limit=page.limit))
        body = await self.get(f"rooms/{self._room}/log", after=page.seq, limit=page.limit)
        return [_to_entry(fields) for fields in self._decoded(_decode_objects, body)]

    async def invite(self, uses: int, minutes: float) -> str:
        """The end of a link that admits ``uses`` people within ``minutes``; empty where people log in otherwise."""
        try:
            body = await self.post("invites", {"uses": uses, "minutes": minutes})
        except ConnectionRefused as error:
            if error.code != "no_invites":
                raise
            return ""
        return f"#invite={msgspec.json.decode(body)['code']}"

    async def get(self, path: str, timeout: float | None = None, **query: object) -> bytes:  # noqa: ASYNC109
        return await self._request(HTTPRequest(self.endpoint.http_url(path, **query)), timeout)

    async def post(self, path: str, body: object) -> bytes:
        return await self._request(
            HTTPRequest(
                self.endpoint.http_url(path),
                method="POST",
                body=msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
            )
        )

    async def upload(self, attachment: Attachment) -> Part:
        """The part as the server stored it. Uploading the same bytes again has no further effect."""
        request = HTTPRequest(
            self.endpoint.http_url(f"rooms/{self._room}/parts"),
            method="POST",
            body=attachment.data,
            headers={"Content-Type": attachment.part.mime},
        )
        return self._decoded(_decode_part, await self._request(request, TRANSFER_TIMEOUT))

    async def download(self, sha256: str) -> bytes:
        """An attachment's bytes."""
        request = HTTPRequest(self.endpoint.http_url(f"rooms/{self._room}/parts/{sha256}"))
        data = await self._request(request, TRANSFER_TIMEOUT)
        if hashlib.sha256(data).hexdigest() != sha256:
            base = self.endpoint.base
            raise ConnectionRefused(f"{base} sent other bytes than the attachment {sha256}", url=base)
        return data

    def _decoded(self, decode: Callable[[bytes], Decoded], body: bytes) -> Decoded:
        try:
            return decode(body)
        except msgspec.DecodeError as error:  # a network's login page, for example
            base = self.endpoint.base
            raise ConnectionRefused(f"{base} did not answer like a bqserver: {error}", url=base) from None

    async def _request(self, request: HTTPRequest, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        for name, value in self.endpoint.headers.items():
            request.headers[name] = value
        request.request_timeout = request.connect_timeout = timeout or REQUEST_TIMEOUT
        request.follow_redirects = False  # the token is for this server only
        answer = self._client.fetch(request, raise_error=False)
        answer.add_done_callback(consume_exception)
        try:
            # Tornado would log the error of a request that was cancelled.
            response = await asyncio.shield(answer)
        except (OSError, HTTPClientError) as error:  # the latter: a timeout, or a truncated answer
            raise ConnectionRefused(f"{self.endpoint.base}: {error}", url=self.endpoint.base) from error
        if response.error is not None:
            retry_after = response.headers.get("Retry-After")
            raise refusal_from_response(response.code, response.body or b"", self.endpoint.base, retry_after)
        return response.body


def refusal_from_response(status: int, body: bytes, url: str, retry_after: str | None = None) -> ConnectionRefused:
    """The error for an HTTP answer: ``{"error": {"code", "message"}}``, or the answer of a proxy."""
    try:
        error = msgspec.json.decode(body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (msgspec.DecodeError, TypeError, KeyError):
        code, message = None, "no reason was given"
    seconds = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
    return ConnectionRefused(
        f"{url} answered {status}: {message}", url=url, status=status, code=code, retry_after=seconds
    )


def consume_exception(future: Future[Any]) -> None:
    """Retrieve its exception, for where nothing may wait for it any more."""
    if not future.cancelled():
        future.exception()


def is_permanent(error: ConnectionRefused) -> bool:
    """Whether the same request would fail again."""
    return error.status is not None and error.status < 500 and error.status not in RETRYABLE_STATUSES  # noqa: PLR2004


def _to_entry(fields: dict[str, Any]) -> Entry:
    return msgspec.convert(fields, Change) if "kind" in fields else msgspec.convert(fields, Message)
