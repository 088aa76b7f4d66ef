"""What may be attached: only bytes that have the type they claim."""

from __future__ import annotations

import struct
import time

import pytest
from bqserver.web.media import ALLOWED_TYPES, MAX_TABLE_COLUMNS, MAX_TABLE_ROWS, image_size, inspect
from support.pictures import GIF, HTML, JPEG, PICTURES, POLYGLOT, SVG, WEBP, png, table

from bqwidget.errors import ProtocolError
from bqwidget.protocol import TABLE, image_type


def test_every_accepted_type_has_a_sample():
    assert set(PICTURES) == set(ALLOWED_TYPES)


@pytest.mark.parametrize("mime", ALLOWED_TYPES)
def test_a_sample_is_accepted_as_its_own_type_only(mime):
    part = inspect(mime, PICTURES[mime])
    assert (part.mime, part.size, part.name) == (mime, len(PICTURES[mime]), None)
    for other in set(ALLOWED_TYPES) - {mime}:
        with pytest.raises(ProtocolError) as told:
            inspect(other, PICTURES[mime])
        assert told.value.code == "bad_part"


@pytest.mark.parametrize(
    ("mime", "data", "size"),
    [
        ("image/png", png(640, 480), (640, 480)),
        ("image/jpeg", JPEG, (1, 1)),
        ("image/gif", GIF, (1, 1)),
        ("image/webp", WEBP, (1, 1)),
        ("image/webp", b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + struct.pack("<I", 99 | 49 << 14), (100, 50)),
        ("image/webp", b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x7f\x02\0\xdf\x01\0", (640, 480)),
        ("image/svg+xml", SVG, (120, 60)),
        ("image/svg+xml", b"<svg width='72pt' height='36.5pt' viewBox='0 0 1 1'/>", (72, 36)),
        ("image/svg+xml", b"<svg width='100%'/>", None),
        ("image/png", png()[:20], None),
        ("image/jpeg", JPEG[:30], None),
        ("image/png", png(0, 0), None),
    ],
)
def test_the_size_of_a_picture_is_found(mime, data, size):
    assert image_size(mime, data) == size


@pytest.mark.parametrize(
    "data",
    [
        HTML,
        b"",
        b"\x89PNG",
        b"<html><svg></svg></html>",
        b"<!-- <svg> --><script>ran(1)</script>",
        b"<svgx/>",
        b"text <svg/>",
        b"\xfe\xff\x00<\x00s\x00v\x00g",
        b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>",
    ],
)
def test_data_that_only_resembles_a_picture_is_rejected(data):
    assert image_type(data) is None


def test_a_polyglot_is_what_its_first_bytes_say():
    assert image_type(POLYGLOT) == "image/gif"


def test_reading_the_header_is_fast_for_any_bytes():
    started = time.thread_time()
    for evil in (b"<!---->" * 600, b"<?" * 2048, b" " * 4096, b"<!DOCTYPE" * 500, b"<!--" * 1024):
        assert image_type(evil + b"x") is None
    assert time.thread_time() - started < 0.5


def test_a_picture_with_too_many_pixels_is_rejected():
    with pytest.raises(ProtocolError, match="60,000 x 60,000 pixels: send a smaller one"):
        image_size("image/png", png()[:16] + struct.pack(">II", 60_000, 60_000) + png()[24:])


def jpeg(before: bytes, side: int = 60_000) -> bytes:
    return b"\xff\xd8" + before + b"\xff\xc0\0\x11\x08" + struct.pack(">HH", side, side) + bytes(12)


@pytest.mark.parametrize("before", [b"", b"\xff" * 9, b"\0", b"\xff\xd0", b"\xff\x01", b"\xff\xe0\0\x01"])
def test_segments_before_the_header_do_not_hide_the_size(before):
    with pytest.raises(ProtocolError, match=r"send a smaller one|size can't be found") as told:
        image_size("image/jpeg", jpeg(b"\xff\xe0\0\2" + before))
    assert told.value.code == "bad_part"


def test_bytes_may_stand_before_a_marker():
    assert image_size("image/jpeg", jpeg(b"\xff\xe0\0\2" + b"\xff" * 1_000, 7)) == (7, 7)


def test_a_picture_with_too_many_segments_is_rejected_quickly():
    began = time.thread_time()
    with pytest.raises(ProtocolError, match="too many segments"):
        image_size("image/jpeg", jpeg(b"\xff\xe0\0\2" * 2_000_000))
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (HTML, "not understood"),
        (b"[" * 100_000, "not understood"),
        (b'{"columns": [], "rows": []}', "total_rows"),
        (table(["a"], [{"html": "<b>"}]), "not understood"),
        (table(["a", "b"], ["only one"]), "as many cells as there are columns"),
        (table(["a"], *[["x"]] * (MAX_TABLE_ROWS + 1)), "at most 1,000 rows"),
        (table(["a"] * (MAX_TABLE_COLUMNS + 1)), "100 columns"),
        (table(["a"], ["x" * 1_100_000]), "the limit is 1,048,576"),
        (table(["a"], [1], [2], total=1), "totals"),
    ],
)
def test_a_malformed_table_is_rejected(data, says):
    with pytest.raises(ProtocolError, match=says) as told:
        image_size(TABLE, data)
    assert told.value.code == "bad_part"
