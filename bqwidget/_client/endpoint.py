"""Endpoint: the address of a room's server, and the token for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from bqwidget.errors import ArgumentError, ArgumentTypeError
from bqwidget.protocol import printable

_HTTP_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``base``: an http(s) address with a slash at its end. The token appears in no repr and no address."""

    base: str
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(urlsplit(self.base).hostname or "")

    def http_url(self, path: str, **query: object) -> str:
        """The http address of ``path`` below the base. Query parameters that are None are omitted."""
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self.base}{quote(path)}" + (f"?{urlencode(given)}" if given else "")

    def websocket_url(self, room: str, query: dict[str, str]) -> str:
        return "ws" + self.http_url(f"rooms/{room}", **query).removeprefix("http")


def configured_endpoint(url: str | None, token: str | None, *, insecure: bool) -> Endpoint | None:
    """The server at ``url``, else at ``BQWIDGET_URL``; None: the user's local server.

    Raises BqwidgetError if the address is malformed, or if the token would be sent unencrypted.
    """
    if url is None and os.environ.get("BQWIDGET_URL"):
        url = os.environ["BQWIDGET_URL"]
        token = token or os.environ.get("BQWIDGET_TOKEN") or None  # it is for that address only
    if url is None:
        if token is not None:
            raise ArgumentError("token= needs a server: pass url= as well, or set BQWIDGET_URL", argument="token")
        return None
    endpoint = Endpoint(_normalized(url), token)
    if endpoint.base.startswith("http:") and not endpoint.is_loopback and not insecure:
        raise ArgumentError(
            f"url: {printable(endpoint.base)} is not encrypted: others on the network could read the room and the token."
            " Use https://, or pass insecure=True if you trust that network",
            argument="url",
        )
    return endpoint


def local_endpoint() -> Endpoint:
    """The user's local server, started if it does not run; may take seconds. Raises LocalServerError."""
    from bqwidget.local import find_or_start  # noqa: PLC0415 - needed only if no server is configured

    server = find_or_start()
    return Endpoint(_normalized(server.url), server.token)


def _normalized(url: str) -> str:
    if not isinstance(url, str):
        raise ArgumentTypeError(
            f"url must be text such as 'http://127.0.0.1:8765', not {type(url).__name__}", argument="url"
        )
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _HTTP_SCHEMES or not parts.hostname:
        raise ArgumentError(
            f"url: {printable(url)} is not a server's address such as http://127.0.0.1:8765", argument="url"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ArgumentError(
            "url= must have no password, no query and no #fragment; pass a token by token=", argument="url"
        )
    if page := re.fullmatch(r"(.*)/rooms(/[^/]*)?/?", parts.path):
        address = urlunsplit(parts._replace(path=page[1]))
        raise ArgumentError(f"url: {printable(url)} is the address of a room's page: write {address!r}", argument="url")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return urlunsplit((_HTTP_SCHEMES[parts.scheme], netloc, parts.path.rstrip("/") + "/", "", ""))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
