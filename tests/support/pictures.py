"""Small images of every type that a room accepts, generated here, and some invalid ones."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Sequence

from bqwidget.protocol import TABLE


def png(width: int = 8, height: int = 4, color: tuple[int, int, int] = (200, 60, 40), *, noise: int = 0) -> bytes:
    """An image of one colour; ``noise``: the number of additional incompressible bytes."""
    row = b"\0" + bytes(color) * width
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * height)),
        *([(b"noIs", hashlib.shake_128(bytes(color)).digest(noise))] if noise else []),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WEBP = base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////"
    "////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA="
)
SVG = b"""<?xml version="1.0"?>
<!-- drawn by hand -->
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 60"><circle cx="30" cy="30" r="20" fill="teal"/></svg>"""

SCRIPTED_SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="40" height="20"
 onload="ran(1)"><script>ran(2); parent.ran(3); top.ran(4)</script>
<image href="//evil.example/1.png" width="9" height="9"/><style>@import "//evil.example/2.css";</style>
<foreignObject width="40" height="20"><body xmlns="http://www.w3.org/1999/xhtml"><img src="x" onerror="ran(5)"/>
<iframe src="javascript:parent.ran(6)"></iframe></body></foreignObject>
<a xlink:href="javascript:ran(7)"><rect width="40" height="20"/></a><animate onbegin="ran(8)" attributeName="x"/></svg>"""
HTML = b"<!doctype html><script>ran(9)</script>"
POLYGLOT = b"GIF89a/*" + GIF[8:] + b"*/=1;ran(10)//<script>ran(11)</script>"
"""Valid both as an image and as a script."""


def table(columns: Sequence[str], *rows: Sequence[object], total: int | None = None) -> bytes:
    shown = {"columns": columns, "rows": rows, "total_columns": len(columns)}
    return json.dumps({**shown, "total_rows": len(rows) if total is None else total}).encode()


PICTURES = {
    "image/png": png(),
    "image/jpeg": JPEG,
    "image/gif": GIF,
    "image/webp": WEBP,
    "image/svg+xml": SVG,
    TABLE: table(["a", "b"], [1, "x"], [None, True]),
}
