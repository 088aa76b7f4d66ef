"""Checks that an attachment's bytes have the type they claim: an image, with its size in pixels, or a data table.

Browsers trust the stored type (``nosniff``), so it must be true. Only an image's header is read; nothing
here decodes an image.
"""

from __future__ import annotations

import hashlib
import re
import struct

import msgspec

from bqwidget.errors import ProtocolError
from bqwidget.protocol import IMAGES, NOT_JSON, TABLE, Part, Table, image_type

ALLOWED_TYPES = (*sorted(IMAGES), TABLE)
MAX_PIXELS = 100_000_000
"""A small file can make every reader's browser allocate gigabytes."""
MAX_JPEG_SEGMENTS = 2_000
"""Segments of a JPEG before its size; each has up to 64 kB."""
MAX_TABLE_BYTES = 1024 * 1024
MAX_TABLE_ROWS, MAX_TABLE_COLUMNS = 1_000, 100

Size = tuple[int, int]

_decode_table = msgspec.json.Decoder(Table).decode
_MARKER = re.compile(rb"\xff+[^\xff]")
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})
"""JPEG markers without a segment; none of them is allowed before the size."""
_SVG_ROOT = re.compile(rb"<svg\b[^>]*")
_SVG_SIZE = tuple(
    re.compile(rb"\s%b\s*=\s*[\"']\s*(\d{1,5})(?:\.\d*)?\s*(?:px|pt)?\s*[\"']" % name) for name in (b"width", b"height")
)
_VIEW_BOX = re.compile(rb"\sviewBox\s*=\s*[\"'][-\d.]+[\s,]+[-\d.]+[\s,]+(\d{1,5})[\d.]*[\s,]+(\d{1,5})")


def inspect(mime: str, data: bytes) -> Part:
    """The part for these bytes. Raises ProtocolError (``bad_part``). Hashing blocks: call it on a thread."""
    width, height = image_size(mime, data) or (None, None)
    digest = hashlib.sha256(data).hexdigest()
    return Part(mime=mime, sha256=digest, size=len(data), width=width, height=height)


def image_size(mime: str, data: bytes) -> Size | None:
    """An image's width and height in pixels, None if it has none. Raises ProtocolError (``bad_part``) if it is not ``mime``."""
    if mime == TABLE:
        _check_table(data)
        return None
    if image_type(data) != mime:
        name = mime.partition("/")[2].partition("+")[0].upper()
        raise _bad(f"this file is not a {name} picture, although it is sent as {mime}: save it again in that format")
    try:
        size = _SIZE_READERS[mime](data)
    except (struct.error, IndexError):
        size = None
    if size is None or 0 in size:
        return None
    if size[0] * size[1] > MAX_PIXELS:
        raise _bad(f"the picture has {size[0]:,} x {size[1]:,} pixels: send a smaller one")
    return size


def _check_table(data: bytes) -> None:
    if len(data) > MAX_TABLE_BYTES:
        raise _bad(f"the table has {len(data):,} bytes; the limit is {MAX_TABLE_BYTES:,}: send fewer rows")
    try:
        table = _decode_table(data)
    except NOT_JSON as error:
        raise _bad(f"the table is not understood: {error}") from None
    if len(table.rows) > MAX_TABLE_ROWS or len(table.columns) > MAX_TABLE_COLUMNS:
        raise _bad(f"a table has at most {MAX_TABLE_ROWS:,} rows and {MAX_TABLE_COLUMNS} columns: send its first ones")
    if any(len(row) != len(table.columns) for row in table.rows):
        raise _bad("the table's rows must all have as many cells as there are columns")
    if table.total_rows < len(table.rows) or table.total_columns < len(table.columns):
        raise _bad("the table's totals must count the rows and columns that are there")


def _bad(message: str) -> ProtocolError:
    return ProtocolError("bad_part", message)


def _png(data: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", data, 16)
    return (width, height) if data[12:16] == b"IHDR" else None


def _gif(data: bytes) -> Size | None:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _webp(data: bytes) -> Size | None:
    """WebP has three forms: extended, lossless and lossy."""
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(data: bytes) -> Size | None:
    """Walk the segments to the frame header (SOF), past tables, arithmetic coding and comments.

    Raises ProtocolError if the header can't be reached: a browser searches longer, and might find a huge size.
    """
    at = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        if (marker := _MARKER.match(data, at)) is None:
            break
        kind, length = struct.unpack_from(">BH", data, marker.end() - 1)
        if length < 2 or kind in _BARE_MARKERS:  # noqa: PLR2004 - a length counts its own two bytes
            break
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004 - SOF0 to SOF15
            height, width = struct.unpack_from(">HH", data, marker.end() + 3)
            return width, height
        at = marker.end() + length
    else:
        raise _bad("the picture has too many segments: save it again")
    if at + 2 > len(data):
        return None  # truncated
    raise _bad("the picture's size can't be found: save it again")


def _svg(data: bytes) -> Size | None:
    root = _SVG_ROOT.search(data, 0, 4096)
    if root is None:
        return None
    lengths = [found for pattern in _SVG_SIZE if (found := pattern.search(root[0]))]
    if len(lengths) == len(_SVG_SIZE):
        return int(lengths[0][1]), int(lengths[1][1])
    box = _VIEW_BOX.search(root[0])
    return (int(box[1]), int(box[2])) if box else None


_SIZE_READERS = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/svg+xml": _svg,
}
