"""The HTTP of a plain post: the few heads that are read here, and the bytes of an answer.

Pure: bytes in, bytes out. A head is taken for what Tornado takes it for, because Tornado's own parsers read it; and
only where it is so plain that nobody could read it in another way: ASCII, one CRLF a line, nothing said twice,
no header but those that are known to mean nothing more. Every other one is None here, and Tornado's.
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

from bqserver.web.handler import HEADERS, is_json, retry_header, whole_number
from bqwidget.protocol import ROOM_NAME

HEAD_END = b"\r\n\r\n"
PLAIN_HEAD = re.compile(rb"(?:[!-~][ -~]*\r\n){2,}\r\n")
"""Lines that begin with no space: neither folded, nor empty, nor with a control character or half a line end."""
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
        "Sec-Fetch-Mode",  # Node's fetch sends it; browsers come with an Origin, which is Tornado's
        "User-Agent",
    }
)


class PostHead(NamedTuple):
    """``room`` None: the one of ``/messages``. ``length``: bytes of the body. ``authorization``: as it was sent."""

    room: str | None
    host: str
    length: int
    authorization: str | None


def post_path(base: str) -> re.Pattern[str]:
    """The paths of posts below ``base``; a room's name is the only group."""
    return re.compile(rf"{re.escape(base)}(?:messages|rooms/({ROOM_NAME.pattern})/messages)")


def read_head(path: re.Pattern[str], head: bytes) -> PostHead | None:
    """A post's head, with the empty line at its end; None for any other, or where there is any doubt."""
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
    """The same bytes as Tornado's for our handlers. ``second``: now, since the epoch; ``retry_after`` in seconds."""
    later = b"" if retry_after is None else b"Retry-After: %b\r\n" % retry_header(retry_after).encode()
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (_beginning(status, second), later, len(body), body)


@lru_cache(8)
def _beginning(status: int, second: int) -> bytes:
    kind, *others = HEADERS
    lines = [kind, ("Date", format_timestamp(second)), *others]
    said = "".join([f"{name}: {value}\r\n" for name, value in lines])
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{said}".encode("ascii")
