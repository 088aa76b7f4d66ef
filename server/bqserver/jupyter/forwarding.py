"""Forwards requests to the server behind the extension, and its answers to the clients, piece by piece as they come."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPOutputError, RequestStartLine, ResponseStartLine
from tornado.iostream import SSLIOStream, StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from bqserver.auth.admission import LoginThrottle
from bqserver.auth.gateway import Forwarded, ForwardedMember
from bqserver.auth.identity import Denied, Identity
from bqserver.errors import ServerUnreachable
from bqserver.fairness.pace import limit_unsent_bytes
from bqserver.model import Role
from bqserver.web.errors import ApiError, error_body
from bqserver.web.handler import HEADERS, SAFE_METHODS
from bqserver.web.requests import http1_connection, is_upgrade, retry_header

from .pipes import connect_streams, hand_over, take_socket
from .problem_page import CSP, render_problem
from .relay import Relay, Relays
from .upstream import NOT_FORWARDED, Upstream

HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade")
"""Headers of an answer that concern one connection only."""
UNAVAILABLE_RETRY_SECONDS = 2.0
INTERNET_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class Route:
    """What the handlers need of the extension. ``base``: the path before all routes, with a slash at both ends."""

    upstream: Upstream
    relays: Relays
    base: str
    login_throttle: LoginThrottle
    opened: Awaitable[bool]
    """Whether there are rooms, once that is known."""


@stream_request_body
class ForwardingHandler(RequestHandler):
    """Base of the handlers: ``identify`` says who the client is; the server decides what that member may do."""

    _server: HTTP1Connection | None = None
    _answer: asyncio.Future[bool] | None = None
    _stopped = False

    def initialize(self, route: Route) -> None:
        self.route = route
        connection = http1_connection(self.request)
        connection.set_max_body_size(sys.maxsize)  # the server bounds it, in bytes and in time
        self.path = self.request.path.removeprefix(route.base)

    async def identify(self) -> Identity | Denied:
        """Who sends the request. Raises ApiError if it must not be forwarded."""
        raise NotImplementedError

    async def reidentify(self) -> Identity | Denied:
        """``identify``, some time later."""
        return await self.identify()

    @property
    def is_page(self) -> bool:
        parts = self.path.split("/")
        is_room = len(parts) == 2 and parts[0] == "rooms"  # noqa: PLR2004 - rooms/NAME
        return self.request.method in ("GET", "HEAD") and (is_room or parts == [""]) and not is_upgrade(self.request)

    def set_default_headers(self) -> None:
        for name in ("Content-Type", "Date", "Server"):
            self.clear_header(name)  # an answer's headers are the server's

    def compute_etag(self) -> None:
        """The server has decided about that."""

    async def prepare(self) -> None:
        if not await self.route.opened:
            raise ApiError(404, "not_found", "there are no rooms here: the log of this Jupyter server says why")
        key, address, throttle = (
            self.request.headers.get("Authorization"),
            self.request.remote_ip or "",
            self.route.login_throttle,
        )
        if key is not None and (locked := throttle.check(address, key)):
            raise ApiError.of(locked)
        found = await self.identify()
        if key is not None:
            if isinstance(found, Identity):
                throttle.record_success(address, key)
            else:
                throttle.record_failure(address)
        self.welcome(found)
        if not self._finished and not self.route.upstream.takes_reports:
            self.check_remote(found)
        if not self._finished:
            await self.forward(found)

    def welcome(self, found: Identity | Denied) -> None:
        """Called before a request is forwarded; may finish it."""

    def check_remote(self, found: Identity | Denied) -> None:
        """Before a server that does not know this gateway: refuse here, and send browsers there for pages.

        Raises ApiError.
        """
        upstream, method = self.route.upstream, self.request.method
        if self.path == "health":
            self.finish(b'{"ok":true}')  # of this gateway: it needs no token, and that server has its own
        elif isinstance(found, Denied):
            raise ApiError(401, *found)
        elif found.max_role < Role.WRITE and (
            found.max_role < Role.READ or method not in SAFE_METHODS or is_upgrade(self.request)
        ):
            raise ApiError(403, "read_only", "Jupyter's authorizer does not let you write in these rooms")
        elif self.is_page and upstream.page_url is not None:
            self.redirect(upstream.page_url + self.uri())

    async def forward(self, found: Identity | Denied) -> None:
        """Send the head of the request, and begin to read the answer. ``found``: who sends it."""
        relay = None
        if is_upgrade(self.request) and isinstance(found, Identity):
            relay = Relay(self.route.relays, found, self.reidentify)
        forwarded = Forwarded(
            ForwardedMember.of(found), self.request.remote_ip or "", self.route.base, relay.name if relay else None
        )
        headers = self.request.headers.copy()
        for name in NOT_FORWARDED:
            headers.pop(name, None)
        if relay is not None:
            headers["Connection"] = "Upgrade"
        try:
            if relay is not None and await self._hand_over(relay, headers, forwarded):
                return
            self._server = await self.route.upstream.send(self.request.method or "", self.uri(), headers, forwarded)
        except ServerUnreachable as error:
            why = str(error) if isinstance(found, Identity) else "the rooms can't be reached: try again"
            raise ApiError(503, error.code, why, retry_after=UNAVAILABLE_RETRY_SECONDS) from error
        self._answer = asyncio.ensure_future(self._server.read_response(_Answer(self, relay)))

    async def _hand_over(self, relay: Relay, headers: HTTPHeaders, forwarded: Forwarded) -> bool:
        """Hand the client's connection over, so that the bytes of a WebSocket take no way through this process. False:
        that is not possible. Raises ServerUnreachable.
        """
        stream = http1_connection(self.request).stream
        if isinstance(stream, SSLIOStream) or "Content-Length" in headers or "Transfer-Encoding" in headers:
            return False
        local = await self.route.upstream.connect_for_handover(headers, forwarded)
        if local is None:
            return False
        if self._stopped:
            local.close()
            return True
        relay.start(hand_over(*take_socket(self.detach()), encode_head(f"GET {self.uri()} HTTP/1.1", headers), local))
        return True

    def uri(self) -> str:
        """The request's path and query below the base, without a token, which Jupyter takes from the query too."""
        query = self.request.query
        if "token=" in query:
            query = urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "token"])
        return f"/{self.path}" + (f"?{query}" if query else "")

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._server is None or self._answer is None or self._answer.done():
            return None
        return self._write(self._server, chunk)

    async def _write(self, server: HTTP1Connection, chunk: bytes) -> None:
        with suppress(StreamClosedError):  # the server has answered before the end of the body
            await server.write(chunk)

    async def get(self, *_: str) -> None:
        """The same for every method: the body is complete, and the answer ends the request."""
        assert self._server is not None
        assert self._answer is not None
        if not self._answer.done():
            with suppress(StreamClosedError, HTTPOutputError):
                self._server.finish()
        await self._answer
        if not self._finished and not self._stopped:
            raise ApiError(503, "unavailable", "the server has ended: try again", retry_after=UNAVAILABLE_RETRY_SECONDS)

    head = post = put = patch = delete = options = get

    def join(self, relay: Relay, head: ResponseStartLine, headers: HTTPHeaders) -> None:
        """The server has accepted the WebSocket: from here on, only bytes are passed on."""
        assert self._server is not None
        server, client = self._server.detach(), self.detach()
        if isinstance(client, SSLIOStream) or client.socket.family in INTERNET_FAMILIES:
            client.set_nodelay(True)
        with suppress(StreamClosedError):
            client.write(encode_head(f"{head.version} {head.code} {head.reason}", headers))
        relay.start(connect_streams(server, client, relay.stopped))

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._stop()

    def on_finish(self) -> None:
        super().on_finish()
        self._stop()

    def _stop(self) -> None:
        self._stopped = True
        if self._server is not None and self._server.stream is not None:
            self._server.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        for name, value in HEADERS:
            self.set_header(name, value)
        if not isinstance(error, ApiError):
            phrase = HTTPStatus(status_code).phrase
            error = ApiError(
                status_code, phrase.lower().replace(" ", "_"), f"{self.request.method} {self.request.path}: {phrase}"
            )
        if error.retry_after is not None:
            self.set_header("Retry-After", retry_header(error.retry_after))
        reads_html = self.is_page and "text/html" in self.request.headers.get("Accept", "")
        if reads_html and error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE):
            self.set_header("Content-Type", "text/html; charset=UTF-8")
            self.set_header("Content-Security-Policy", CSP)
            self.finish(render_problem(error.message))
            return
        self.finish(error_body(error.code, error.message, error.field))

    def log_exception(self, *exc_info: Any) -> None:
        if not isinstance(exc_info[1], HTTPError):  # a client's mistake is answered, not logged
            super().log_exception(*exc_info)


def encode_head(first: str, headers: HTTPHeaders) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.get_all())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class _Answer(HTTPMessageDelegate):
    """Passes the server's answer on. A WebSocket's is the beginning of its ``relay``."""

    def __init__(self, handler: ForwardingHandler, relay: Relay | None) -> None:
        self._handler = handler
        self._relay = relay

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)
        handler = self._handler
        if start_line.code == HTTPStatus.SWITCHING_PROTOCOLS and self._relay is not None:
            handler.join(self._relay, start_line, headers)
            return
        limit_unsent_bytes(http1_connection(handler.request).stream)
        handler.set_status(start_line.code, start_line.reason)
        for name, value in headers.get_all():
            if name not in HOP_BY_HOP:
                handler.add_header(name, value)
        if headers.get("Connection", "").lower() == "close" and handler.request.method not in SAFE_METHODS:
            handler.set_header("Connection", "close")  # the server has not read the whole body

    def data_received(self, chunk: bytes) -> Awaitable[None]:
        self._handler.write(chunk)
        return self._flush()

    async def _flush(self) -> None:
        with suppress(StreamClosedError):
            await self._handler.flush()

    def on_connection_close(self) -> None:
        """The server has ended within the answer: the client must not take the part for the whole."""
        if self._handler._headers_written and not self._handler._finished:  # noqa: SLF001
            http1_connection(self._handler.request).stream.close()

    def finish(self) -> None:
        if not self._handler._finished:  # noqa: SLF001 - Tornado has no other way to ask
            self._handler.finish()
