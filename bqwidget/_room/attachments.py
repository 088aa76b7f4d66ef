"""Attachments: converts an object to the bytes of a picture or to a table of data; never to HTML.

No library is imported for this: the library of an object's type is loaded already.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import stat
from io import BytesIO
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from bqwidget._client.http_client import Attachment
from bqwidget.errors import BqwidgetError, MessageRefused
from bqwidget.protocol import MAX_NAME, TABLE, Part, encode, image_type

from .arguments import check_text, describe
from .tables import to_table

SNIFFED_BYTES = 64 * 1024
"""Bytes at the beginning of a file by which a picture is recognised."""
MAX_IMAGE_BYTES = 100 * 1024 * 1024
"""Larger picture files are not read: no server accepts them."""
SUPPORTED_TYPES = (
    "a matplotlib figure, a picture (PIL, bytes, or a Path to its file), a DataFrame or Series of pandas or polars, "
    "a table of pyarrow, an array of NumPy, "
    "and an object with _repr_png_, _repr_jpeg_ or _repr_svg_ can be attached"
)

BROWSER_FIGURES = {
    "plotly": 'as by room.send(figure.to_image("png")), which needs the package kaleido',
    "altair": 'as by chart.save("chart.png") and room.send(Path("chart.png")), which needs vl-convert-python',
    "bokeh": 'as by bokeh.io.export_png(figure, filename="figure.png") and room.send(Path("figure.png"))',
}
"""By the package of a figure without a picture of its own."""

_REPRS = {"_repr_png_": "image/png", "_repr_jpeg_": "image/jpeg", "_repr_svg_": "image/svg+xml"}
_NO_NAMESPACE = re.compile(r"<svg(?=[\s/>])(?![^>]*\sxmlns\s*=)")


def to_text_and_attachments(content: object, caption: str, name: str | None) -> tuple[str, list[Attachment]]:
    """What is sent for ``content``: a text, or an object with its caption. Raises the errors of ``to_attachment``."""
    check_text("caption", caption, "'run 7'", empty=True)
    if name is not None:
        check_text("name", name, "'loss.png'", empty=True)
    if not isinstance(content, str):
        return caption, [to_attachment(content, name)]
    if caption or name is not None:
        raise TypeError("caption and name are for attachments: write them into the text")
    return content, []


def to_attachment(thing: object, name: str | None = None) -> Attachment:
    """``name`` is shown to readers, and read aloud by screen readers.

    Raises TypeError for an unsupported object, BqwidgetError for an unreadable file, MessageRefused for a large one.
    """
    if isinstance(thing, PathLike):
        path = Path(thing)
        return _image(_read(path), name or path.name, str(path))
    if isinstance(thing, bytes | bytearray | memoryview):
        return _image(bytes(thing), name, "these bytes")
    if (table := to_table(thing)) is not None:
        return _attachment(TABLE, encode(table), name)
    if (data := _rendered(thing)) is not None:
        return _image(data, name or _figure_title(thing), f"the picture of {type(thing).__name__}")
    if isinstance(thing, ModuleType):
        remedy = "send one of its figures, such as plt.gcf()" if hasattr(thing, "gcf") else "send a text or an object"
        raise TypeError(f"text is {describe(thing)}: {remedy}")
    if (picture := BROWSER_FIGURES.get(type(thing).__module__.partition(".")[0])) is not None:
        raise TypeError(f"text is a {type(thing).__name__} that a browser draws: send a picture of it, {picture}")
    raise TypeError(f"text: a message is text, not {type(thing).__name__}: convert it by str(); {SUPPORTED_TYPES}")


def _read(path: Path) -> bytes:
    """The bytes of a picture file; of another file, only its beginning."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device may never end
            raise BqwidgetError(f"{path} can't be read: it is not a regular file")
        with path.open("rb") as file:
            head = file.read(SNIFFED_BYTES)
            if image_type(head) is None:
                return head
            if found.st_size > MAX_IMAGE_BYTES:
                raise MessageRefused("too_big", f"{path} has {found.st_size:,} bytes: send a smaller one")
            return head + file.read(MAX_IMAGE_BYTES)
    except OSError as error:
        raise BqwidgetError(f"{path} can't be read: {error.strerror}") from error


def _image(data: bytes, name: str | None, what: str) -> Attachment:
    mime = image_type(data)
    if mime is None:
        raise TypeError(
            f"{what}: not a PNG, JPEG, GIF, WebP or SVG picture; a message is text (str), and {SUPPORTED_TYPES}"
        )
    return _attachment(mime, data, name)


def _attachment(mime: str, data: bytes, name: str | None) -> Attachment:
    digest = hashlib.sha256(data).hexdigest()
    name = " ".join(name.split())[:MAX_NAME].encode(errors="replace").decode() if name else None
    return Attachment(Part(mime=mime, sha256=digest, size=len(data), name=name or None), data)


# ---- pictures


def picture_in(bundle: dict[str, Any]) -> Attachment | None:
    """The picture of a MIME bundle, as ``display`` makes it; None if it has none that can be sent."""
    for mime in _REPRS.values():
        data = _to_bytes(bundle.get(mime), mime)
        if data and image_type(data) is not None:
            return _image(data, None, "the picture")
    return None


def _rendered(thing: Any) -> bytes | None:
    """The object's own picture: by its ``_repr_*_`` methods, else by its figure's ``savefig``."""
    if isinstance(thing, type | ModuleType):
        return None
    for method, mime in _REPRS.items():
        if callable(draw := getattr(thing, method, None)) and (data := _to_bytes(draw(), mime)):
            return data
    bundle = getattr(thing, "_repr_mimebundle_", None)
    if callable(bundle):
        given = bundle(include=set(_REPRS.values()))
        formats = given[0] if isinstance(given, tuple) else given
        for mime in _REPRS.values():
            if data := _to_bytes((formats or {}).get(mime), mime):
                return data
    figure: Any = thing if hasattr(thing, "savefig") else getattr(thing, "figure", None)
    if not callable(getattr(figure, "savefig", None)):
        return None
    buffer = BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def _to_bytes(given: Any, mime: str) -> bytes | None:
    """The bytes of what a ``_repr_*_`` method returned: bytes, text or base64, with or without metadata."""
    if isinstance(given, tuple):
        given = given[0]
    if isinstance(given, str) and mime == "image/svg+xml":
        # Outside an HTML page, <svg> needs its namespace.
        return _NO_NAMESPACE.sub('<svg xmlns="http://www.w3.org/2000/svg"', given, count=1).encode()
    if isinstance(given, str):
        try:
            return base64.b64decode(given, validate=False)
        except binascii.Error:
            return None
    return bytes(given) if given else None


def _figure_title(thing: Any) -> str | None:
    """The title of a matplotlib figure."""
    axes = getattr(thing, "axes", None)
    for one in axes if isinstance(axes, list) else ():
        if callable(getattr(one, "get_title", None)) and isinstance(title := one.get_title(), str) and title:
            return title
    return None
