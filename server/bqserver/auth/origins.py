"""Which Host and Origin a request may name: exact lists, so that neither a rebound name nor a foreign page gets in.

Pure: strings in, yes or no out. A page of another site can make a browser send requests here, and with DNS
rebinding even under a name of its own; both show in these two headers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Origins:
    """``hosts``: names that Host may have besides the address that was connected to; ``origins``: foreign
    pages that may come, as exact ``scheme://host[:port]``.
    """

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in (*LOOPBACK_NAMES, *hosts))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def allows_host(self, host: str, connected_to: str) -> bool:
        """``connected_to``: the server's own address on this connection. As a Host it can't be rebound: it is
        no name. A loopback name counts only on a connection that came over loopback.
        """
        host = host.lower()
        name = strip_port(host)
        if name in LOOPBACK_NAMES and not is_loopback(connected_to):
            return False
        return (
            name in self._hosts or host in self._hosts or _parse_address(name) == _parse_address(connected_to)
        )

    def allows_origin(self, origin: str, host: str, scheme: str) -> bool:
        """An allowed Host's own page, or one of the listed origins."""
        origin = origin.lower()
        return origin == f"{scheme}://{host.lower()}" or origin in self._origins

    def allows_cors(self, origin: str) -> bool:
        """A listed origin: its page may read the answers too (CORS)."""
        return origin.lower() in self._origins


ORIGIN_PATTERN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^\s/?#@:\[\]*]+|\[[0-9a-f:.]+\])(?::\d{1,5})?/?", re.IGNORECASE
)
HOST_PATTERN = re.compile(r"(?:[^\s/?#@:\[\]*]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE)


def is_origin(text: str) -> bool:
    """Whether it can be a page's Origin at all; ``null`` could be anybody's, and is none to list."""
    return ORIGIN_PATTERN.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether it can stand in a Host header."""
    return HOST_PATTERN.fullmatch(text) is not None


def strip_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def is_loopback(address: str) -> bool:
    literal = _parse_address(address)
    return address == "localhost" or (literal is not None and literal.is_loopback)


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        literal = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(literal, "ipv4_mapped", None)
    return mapped or literal
