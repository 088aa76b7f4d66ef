"""Rest: a room's server over HTTP, on the room's thread: pages of its log, and whatever else is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import IOStream
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.tcpclient import TCPClient

from bqwidget.errors import ConnectionRefused
from bqwidget.protocol import Change, Entry, Message, Part
from bqwidget.session import PAGE_SIZE, PageRequest

from .endpoint import Endpoint

Decoded = TypeVar("Decoded")

REQUEST_TIMEOUT = 20.0
TRANSFER_TIMEOUT = 120.0
"""Seconds that an attachment may be on its way."""
RETRYABLE_STATUSES = frozenset({408, 425, 429})
"""Statuses below 500 that are about the moment and not about the request."""

_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_part = msgspec.json.Decoder(Part).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, Any]]).decode


class _TrackingTCPClient(TCPClient):
    """Knows its streams, for Tornado's client closes no request that is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self._open: WeakSet[IOStream] = WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> IOStream:
        stream = await super().connect(*args, **kwargs)
        self._open.add(stream)
        return stream

    def close_streams(self) -> None:
        for stream in list(self._open):
            stream.close()


class HttpClient:
    """One client for all requests of a room; every method raises ConnectionRefused where there is no answer."""

    def __init__(self, endpoint: Endpoint, room: str) -> None:
        self._endpoint = endpoint
        self._room = room
        # Not the loop's shared client: this one is closed together with its room's connection.
        self._client = SimpleAsyncHTTPClient(force_instance=True)
        self._client.tcp_client = self._streams = _TrackingTCPClient()

    def close(self) -> None:
        self._client.close()
        self._streams.close_streams()

    async def messages(
        self, *, before: int | None = None, after: int | None = None, limit: int
    ) -> list[Message]:
        """Folded messages, ascending: the last below ``before``, or the first above ``after``."""
        body = await self.get(f"rooms/{self._room}/messages", before=before, after=after, limit=limit)
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
        """What a session wants."""
        if page.kind == "messages":
            return list(await self.messages(before=page.seq, limit=page.limit))
        body = await self.get(f"rooms/{self._room}/log", after=page.seq, limit=page.limit)
        return [_to_entry(fields) for fields in self._decoded(_decode_objects, body)]

    async def get(self, path: str, **query: object) -> bytes:
        return await self._request(HTTPRequest(self._endpoint.http_url(path, **query)))

    async def post(self, path: str, body: object) -> bytes:
        return await self._request(
            HTTPRequest(
                self._endpoint.http_url(path),
                method="POST",
                body=msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
            )
        )

    async def upload(self, part: Part, data: bytes) -> Part:
        """The part as the server knows it; the same bytes again are nothing new."""
        request = HTTPRequest(
            self._endpoint.http_url(f"rooms/{self._room}/parts"),
            method="POST",
            body=data,
            headers={"Content-Type": part.mime},
        )
        return self._decoded(_decode_part, await self._request(request, TRANSFER_TIMEOUT))

    async def download(self, sha256: str) -> bytes:
        """An attachment's bytes."""
        request = HTTPRequest(self._endpoint.http_url(f"rooms/{self._room}/parts/{sha256}"))
        data = await self._request(request, TRANSFER_TIMEOUT)
        if hashlib.sha256(data).hexdigest() != sha256:
            base = self._endpoint.base
            raise ConnectionRefused(f"{base} gave something else than the attachment {sha256}", url=base)
        return data

    def _decoded(self, decode: Callable[[bytes], Decoded], body: bytes) -> Decoded:
        try:
            return decode(body)
        except msgspec.DecodeError as error:  # a hotel's log-in page, say
            base = self._endpoint.base
            raise ConnectionRefused(f"{base} gave no answer of a bqserver: {error}", url=base) from None

    async def _request(self, request: HTTPRequest, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        for name, value in self._endpoint.headers.items():
            request.headers[name] = value
        request.request_timeout = request.connect_timeout = timeout or REQUEST_TIMEOUT
        request.follow_redirects = False  # the token is for this server alone
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:  # the latter: a timeout, or an answer that was cut
            raise ConnectionRefused(f"{self._endpoint.base}: {error}", url=self._endpoint.base) from error
        if response.error is not None:
            told = response.headers.get("Retry-After")
            raise refusal_from_response(response.code, response.body or b"", self._endpoint.base, told)
        return response.body


def refusal_from_response(
    status: int, body: bytes, url: str, retry_after: str | None = None
) -> ConnectionRefused:
    """An HTTP answer in the error's words: ``{"error": {"code", "message"}}``, or whatever a proxy said."""
    try:
        told = msgspec.json.decode(body)["error"]
        code, message = str(told["code"]), str(told["message"])
    except (msgspec.DecodeError, TypeError, KeyError):
        code, message = None, "no reason was given"
    seconds = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
    return ConnectionRefused(
        f"{url} answered {status}: {message}", url=url, status=status, code=code, retry_after=seconds
    )


def is_permanent(error: ConnectionRefused) -> bool:
    """Whether trying again is pointless: the request itself was wrong, not its moment."""
    return error.status is not None and error.status < 500 and error.status not in RETRYABLE_STATUSES  # noqa: PLR2004


def _to_entry(fields: dict[str, Any]) -> Entry:
    return msgspec.convert(fields, Change) if "kind" in fields else msgspec.convert(fields, Message)
