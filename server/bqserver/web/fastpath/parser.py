"""The HTTP of a plain POST: parses the few forms of head that the fast path accepts, and makes responses.

Pure: bytes in, bytes out. A head means what it means to Tornado, because Tornado's own parsers read it; and it is
accepted only if it has one possible meaning: ASCII, one CRLF a line, no header twice, and only headers known to change
nothing. Any other head gives None, and Tornado handles the request.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    format_timestamp,
    parse_request_start_line,
)

from bqserver.web.handler import HEADERS
from bqserver.web.requests import is_json, retry_header, whole_number
from bqwidget.protocol import ROOM_NAME

HEAD_END = b"\r\n\r\n"
PLAIN_HEAD = re.compile(rb"(?:[!-~][ -~]*\r\n){2,}\r\n")
"""Lines that do not begin with a space: not folded, not empty, no control characters, no bare CR or LF."""
KNOWN_HEADERS = frozenset(
    {
        "Accept",
        "Accept-Charset",
        "Accept-Encoding",
        "Accept-Language",
        "Authorization",
        "Connection",
        "Content-Length",
        "Content-Type",
        "Host",
        "Sec-Fetch-Mode",  # Node's fetch sends it; a browser also sends Origin, which Tornado handles
        "User-Agent",
    }
)


class PostHead(NamedTuple):
    """``room``: None for ``/messages``. ``length``: bytes of the body. ``authorization``: the header, unchanged."""

    room: str | None
    host: str
    length: int
    authorization: str | None


def post_path(base: str) -> re.Pattern[str]:
    """The paths of posts below ``base``; the only group is the room's name."""
    return re.compile(rf"{re.escape(base)}(?:messages|rooms/({ROOM_NAME.pattern})/messages)")


def read_head(path: re.Pattern[str], head: bytes) -> PostHead | None:
    """Parse a head that ends with its empty line; None if it is not a plain post, or could be read in two ways."""
    if not PLAIN_HEAD.fullmatch(head):
        return None
    first, _, rest = head.decode("ascii").partition("\r\n")
    try:
        start = parse_request_start_line(first)
        headers = HTTPHeaders.parse(rest)
        request = HTTPServerRequest(start_line=start, headers=headers)
    except HTTPInputError:
        return None
    found = path.fullmatch(start.path)
    length = whole_number(headers.get("Content-Length", ""))
    if (
        found is None
        or length is None
        or (start.method, start.version) != ("POST", "HTTP/1.1")
        or not headers.keys() <= KNOWN_HEADERS
        or len(list(headers.get_all())) != len(headers)
        or "Host" not in headers
        or headers.get("Connection", "keep-alive").lower() != "keep-alive"
        or not is_json(headers.get("Content-Type", ""))
    ):
        return None
    return PostHead(found[1], request.host, length, headers.get("Authorization"))


def response(status: int, body: bytes, second: int, *, retry_after: float | None = None) -> bytes:
    """The same bytes as Tornado and the handlers send. ``second``: now, since the epoch; ``retry_after``: seconds."""
    later = b"" if retry_after is None else b"Retry-After: %b\r\n" % retry_header(retry_after).encode()
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (_beginning(status, second), later, len(body), body)


@lru_cache(8)
def _beginning(status: int, second: int) -> bytes:
    kind, *others = HEADERS
    lines = [kind, ("Date", format_timestamp(second)), *others]
    headers = "".join([f"{name}: {value}\r\n" for name, value in lines])
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{headers}".encode("ascii")
