"""The server behind the extension: the user's local one, or another that is chosen by its address."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, RequestStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from bqserver.auth.gateway import HEADER_NAME, Forwarded, forwarded_header
from bqserver.auth.origins import is_loopback
from bqserver.errors import ServerUnreachable, StartError
from bqwidget.errors import LocalServerError
from bqwidget.local import LocalServer, end, find_or_start

CONNECT_TIMEOUT = 10.0
"""Seconds until an address counts as not answering."""
MAX_HEADER_BYTES = 64 * 1024
NOT_FORWARDED = (
    "Authorization", "Connection", "Cookie", "Expect", "Keep-Alive", "Origin", "Proxy-Authorization", "Referer", "Te",
    "Trailer", "Transfer-Encoding", "X-Xsrftoken", HEADER_NAME,
)  # fmt: skip
"""What is between the client and Jupyter, and what only a gateway may say."""


_log = logging.getLogger("bqserver.http")


class Upstream(Protocol):
    """Where requests are forwarded. ``page_url``: where browsers are sent for pages; None: pages are forwarded too.

    ``takes_reports``: it knows this gateway, and the members behind it.
    """

    @property
    def page_url(self) -> str | None: ...
    @property
    def takes_reports(self) -> bool: ...

    async def open(self) -> None:
        """Find or start the server, where that can be done."""

    async def send(self, method: str, uri: str, headers: HTTPHeaders, forwarded: Forwarded) -> HTTP1Connection:
        """Connect, and send the head of a request for ``uri``, which begins after the base. Raises ServerUnreachable."""

    async def connect_for_handover(self, headers: HTTPHeaders, forwarded: Forwarded) -> socket.socket | None:
        """A connection for ``pipes.hand_over``; None where none is possible. Raises ServerUnreachable."""

    def close(self) -> None: ...

    def kernel_environment(self) -> dict[str, str] | None:
        """Variables by which kernels find the server themselves, absent if empty; None: they come by the extension."""


class LocalUpstream:
    """The user's local server, found or started when a request needs it.

    ``log``: that of a server apart, which no one else finds if it is in memory. ``settings``: for a server that is
    started; one that runs keeps its own.
    """

    page_url = None
    takes_reports = True

    def __init__(self, log: str | None, settings: Mapping[str, object]) -> None:
        options = [
            f"--ChatServer.{name}={one}"
            for name, value in settings.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        self._find = partial(find_or_start, log=log, options=options)
        self._settings = settings
        self._is_own = log == "memory"
        if log is not None:
            self._find = partial(self._find, name=f"{log} {os.getpid()}" if self._is_own else log)
        self._server: LocalServer | None = None
        self._finding: asyncio.Future[LocalServer] | None = None
        self._problem = ""

    async def open(self) -> None:
        with suppress(ServerUnreachable):  # it is logged, and the next request tries again
            await self._find_server()

    async def _find_server(self) -> LocalServer:
        """Raises ServerUnreachable. Requests that wait at the same time get the same result."""
        if self._server is None or not self._server.is_current():
            if self._finding is None or self._finding.done():
                self._finding = asyncio.ensure_future(asyncio.to_thread(self._find))
            try:
                self._server = await asyncio.shield(self._finding)
            except LocalServerError as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    _log.error("chat rooms unavailable: %s", error)
                reason = f"the local server can't be started: {error.reason}"
                raise ServerUnreachable(reason, "start_failed") from error
            self._problem = ""
            self._report_settings(self._server)
        return self._server

    def _report_settings(self, server: LocalServer) -> None:
        """Log which settings have no effect, because the server was started with others."""
        others = [name for name, value in self._settings.items() if server.settings.get(name, value) != value]
        for name in others:
            _log.warning(
                "c.BqserverExtension.%s = %r has no effect: the local server, which other programs use too, was started with"
                " %r; for the new value run `kill %d`, and the next request starts it",
                name, self._settings[name], server.settings[name], server.pid,
            )  # fmt: skip

    async def send(self, method: str, uri: str, headers: HTTPHeaders, forwarded: Forwarded) -> HTTP1Connection:
        for _ in range(2):
            server = await self._find_server()
            headers[HEADER_NAME] = forwarded_header(server.gateway_key, forwarded)
            try:
                return await _send(server.url, method, uri, headers)
            except OSError:
                self._server = None  # it has just ended
        raise ServerUnreachable("the local server has just ended: try again")

    async def connect_for_handover(self, headers: HTTPHeaders, forwarded: Forwarded) -> socket.socket | None:
        if sys.platform == "win32":
            return None
        server = await self._find_server()
        headers[HEADER_NAME] = forwarded_header(server.gateway_key, forwarded)
        headers["Host"] = urlsplit(server.url).netloc
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(0)
        try:
            connection.connect(str(server.runtime_file.with_suffix(".socket")))
        except OSError:  # an earlier server has none
            connection.close()
            return None
        return connection

    def kernel_environment(self) -> None:
        return None

    def close(self) -> None:
        if self._is_own and self._server is not None:
            end(self._server)


class RemoteUpstream:
    """A bqserver elsewhere, to which everyone here comes with one token, that of BQWIDGET_TOKEN."""

    takes_reports = False

    def __init__(self, url: str) -> None:
        self.page_url = url.rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StartError(f"c.BqserverExtension.url is {url}: give an address such as https://chat.example.org")
        is_for_another = os.environ.get("BQWIDGET_URL", url) != url
        self._token = "" if is_for_another else os.environ.get("BQWIDGET_TOKEN", "")
        if self._token and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise StartError(f"{url} is not encrypted, and others could read the token: give an https:// address")

    async def open(self) -> None:
        """It may be reachable later."""

    async def send(self, method: str, uri: str, headers: HTTPHeaders, forwarded: Forwarded) -> HTTP1Connection:
        del forwarded  # that server does not know this one
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return await _send(self.page_url, method, uri, headers)
        except OSError as error:
            raise ServerUnreachable("the server of the rooms does not answer: try again") from error

    async def connect_for_handover(self, headers: HTTPHeaders, forwarded: Forwarded) -> None:
        """It is on another machine."""

    def kernel_environment(self) -> dict[str, str]:
        return {"BQWIDGET_URL": self.page_url, "BQWIDGET_TOKEN": self._token}

    def close(self) -> None:
        pass


async def _send(url: str, method: str, uri: str, headers: HTTPHeaders) -> HTTP1Connection:
    """Raises OSError, if nothing was sent."""
    address = urlsplit(url)
    try:
        stream = await _connect(address.hostname or "", address.port, encrypted=address.scheme == "https")
    except (StreamClosedError, TimeoutError) as error:
        raise OSError(str(getattr(error, "real_error", None) or error)) from error
    stream.set_nodelay(True)
    headers["Host"] = address.netloc
    parameters = HTTP1ConnectionParameters(max_header_size=MAX_HEADER_BYTES, max_body_size=sys.maxsize)
    connection = HTTP1Connection(stream, is_client=True, params=parameters)
    connection.write_headers(RequestStartLine(method, address.path.rstrip("/") + uri, "HTTP/1.1"), headers)
    return connection


async def _connect(host: str, port: int | None, *, encrypted: bool) -> IOStream:
    if host == "127.0.0.1" and port is not None and not encrypted:  # without the thread that looks names up
        stream = IOStream(socket.socket())
        await stream.connect((host, port))
        return stream
    tls = ssl.create_default_context() if encrypted else None
    return await TCPClient().connect(host, port or (443 if encrypted else 80), ssl_options=tls, timeout=CONNECT_TIMEOUT)
