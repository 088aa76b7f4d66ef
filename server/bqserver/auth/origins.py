"""Exact allow-lists for the Host and Origin headers.

A page of another site can make a browser send requests to this server; the Origin header shows it. With DNS
rebinding it can do so under a host name of its own; the Host header shows that. Pure: strings in, booleans out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Origins:
    """``hosts``: accepted Host headers, with or without a port, in addition to loopback names and the server's own
    address. ``origins``: pages of other sites that may connect, as exact ``scheme://host[:port]``.
    """

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in (*LOOPBACK_NAMES, *hosts))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def allows_host(self, host: str, connected_to: str) -> bool:
        """``connected_to``: the server's own IP address on this connection, which is accepted as Host: DNS rebinding
        needs a name. Loopback names are accepted only on connections over loopback.
        """
        host = host.lower()
        name = strip_port(host)
        if name in LOOPBACK_NAMES and not is_loopback(connected_to):
            return False
        return name in self._hosts or host in self._hosts or parse_address(name) == parse_address(connected_to)

    def allows_origin(self, origin: str, host: str, scheme: str) -> bool:
        """Whether the page has the same origin as this server (``host`` is already checked), or is listed."""
        origin = origin.lower()
        return origin == f"{scheme}://{host.lower()}" or origin in self._origins

    def allows_cors(self, origin: str) -> bool:
        """Whether the origin is listed, so that its page may read the responses."""
        return origin.lower() in self._origins


ORIGIN_PATTERN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^\s/?#@:\[\]*]+|\[[0-9a-f:.]+\])(?::\d{1,5})?/?", re.IGNORECASE)
HOST_PATTERN = re.compile(r"(?:[^\s/?#@:\[\]*]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)


def is_origin(text: str) -> bool:
    """Whether ``text`` is a valid origin to list. ``null`` is not: any sandboxed page sends it."""
    return ORIGIN_PATTERN.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether ``text`` is a valid Host header."""
    return HOST_PATTERN.fullmatch(text) is not None


def strip_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def is_loopback(address: str) -> bool:
    literal = parse_address(address)
    return address == "localhost" or (literal is not None and literal.is_loopback)


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address in ``text``, with or without brackets; an IPv4 one that is written as IPv6 is IPv4."""
    try:
        literal = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(literal, "ipv4_mapped", None)
    return mapped or literal
