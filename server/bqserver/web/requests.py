"""What handlers and the fast path read from a request: its addresses, its headers, its numbers."""

from __future__ import annotations

import math
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream

from bqserver.auth.origins import parse_address, strip_port

JSON = "application/json"

MAX_UNUSED_BODY_BYTES = 16 * 1024
"""Bytes of the longest body of a request that needs none. Tornado would keep 100 MB of one in memory."""
FORWARDED_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""Some proxies name the WebSocket's scheme."""
MAX_DIGITS = 18
"""A longer number would not fit an SQLite integer."""


def cookie_name(request: HTTPServerRequest) -> str:
    """Cookies ignore ports: without the port in its name, two servers on one machine would overwrite each other's session."""
    port = request.host.rpartition(":")[2]
    return f"bqserver-{port}" if port.isdigit() else "bqserver"


def session_cookie(request: HTTPServerRequest) -> str:
    """The signed value of the session cookie; empty without one.

    Tornado parses all cookies into Morsels: 0.1 s for 60 kB of them, and 5 s before 6.4.2.
    """
    name, value = cookie_name(request), ""
    for pair in request.headers.get("Cookie", "").split(";"):
        key, _, found = pair.partition("=")
        if key.strip() == name:
            value = found.strip().strip('"')
    return value


def http1_connection(request: HTTPServerRequest) -> HTTP1Connection:
    """The request's connection. Tornado's server speaks HTTP/1 only; its annotations do not say so."""
    return cast(HTTP1Connection, request.connection)


def is_upgrade(request: HTTPServerRequest) -> bool:
    return request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket"


def server_address(request: HTTPServerRequest) -> str:
    """The local address that the client connected to; a socket without an address counts as loopback."""
    return local_address(getattr(request.connection, "stream", None))


def local_address(stream: IOStream | None) -> str:
    name = stream.socket.getsockname() if stream is not None and stream.socket is not None else None
    return str(name[0]) if isinstance(name, tuple) else "127.0.0.1"


def apply_forwarded(request: HTTPServerRequest) -> None:
    """Take the client's address and scheme from ``X-Forwarded-For`` and ``-Proto``, as a reverse proxy sends them.

    Only the last value of each counts: the proxy adds it, and the client may have sent the others. Tornado's own
    ``xheaders`` prefers ``X-Real-IP`` and ``X-Scheme``, which many proxies pass on from the client unchanged.
    """
    if (address := forwarded_address(_last_value(request, "X-Forwarded-For"))) is not None:
        request.remote_ip = address
    if (scheme := FORWARDED_SCHEMES.get(_last_value(request, "X-Forwarded-Proto").lower())) is not None:
        request.protocol = scheme


def forwarded_address(text: str) -> str | None:
    """The IP address in one value of ``X-Forwarded-For``, without its port; None if it is none."""
    is_bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    address = parse_address(text if is_bare_ipv6 else strip_port(text))
    return None if address is None else str(address)


def _last_value(request: HTTPServerRequest, name: str) -> str:
    return request.headers.get(name, "").rpartition(",")[2].strip()


def is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == JSON


def whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def retry_header(seconds: float) -> str:
    """HTTP knows whole seconds, and 0 would be no waiting at all."""
    return str(max(1, math.ceil(seconds)))
