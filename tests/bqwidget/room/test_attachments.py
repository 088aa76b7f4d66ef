"""Attachments: the conversion of objects, and the transfer over a real server."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import io
import os
import struct
import sys
from decimal import Decimal

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from bqserver.testing import running_server
from support.eventually import eventually
from support.pictures import GIF, HTML, JPEG, SVG, WEBP, png
from support.ws_client import member

from bqwidget import BqwidgetError, MessageRefused, Room, RoomClosed
from bqwidget._room.attachments import to_attachment
from bqwidget._room.tables import MAX_CELL_LENGTH, MAX_TABLE_COLUMNS, MAX_TABLE_ROWS
from bqwidget.protocol import TABLE, Table

PNG = png(30, 20)


def table_of(thing: object) -> Table:
    part, data = to_attachment(thing)
    assert part.mime == TABLE
    return msgspec.json.decode(data, type=Table)


class Picture:
    def __init__(self, **reprs: object) -> None:
        self.__dict__.update({f"_repr_{name}_": lambda value=value: value for name, value in reprs.items()})


class Bundle:
    def _repr_mimebundle_(self, include: object = None) -> object:
        return {"text/plain": "a graph", "image/svg+xml": "<svg viewBox='0 0 1 1'/>"}, {}


class Axes:
    def get_title(self) -> str:
        return "loss over time"


class Figure:
    """Like matplotlib's: it saves itself into a file, and has axes with titles."""

    def __init__(self) -> None:
        self.axes = [Axes()]

    def savefig(self, file: io.BytesIO, *, format: str, bbox_inches: str) -> None:  # noqa: A002
        assert (format, bbox_inches) == ("png", "tight")
        file.write(PNG)


# ---- the conversion of objects


@pytest.mark.parametrize(
    ("thing", "mime", "data"),
    [
        (PNG, "image/png", PNG),
        (bytearray(GIF), "image/gif", GIF),
        (memoryview(JPEG), "image/jpeg", JPEG),
        (WEBP, "image/webp", WEBP),
        (SVG, "image/svg+xml", SVG),
        (Picture(png=PNG), "image/png", PNG),
        (Picture(png=(PNG, {"width": 30})), "image/png", PNG),
        (Picture(png=base64.b64encode(PNG).decode()), "image/png", PNG),
        (Picture(png=None, jpeg=JPEG), "image/jpeg", JPEG),
        (Picture(svg=SVG.decode()), "image/svg+xml", SVG),
        (Picture(svg="<svg/>"), "image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
        (Bundle(), "image/svg+xml", b"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox='0 0 1 1'/>"),
        (Figure(), "image/png", PNG),
        (type("AxesSubplot", (), {"figure": Figure()})(), "image/png", PNG),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_objects_with_a_picture_become_an_attachment(thing, mime, data):
    part, given = to_attachment(thing)
    assert (part.mime, given, part.size) == (mime, data, len(data))


def test_the_name_is_the_senders_the_files_or_the_title(tmp_path):
    file = tmp_path / "the loss.png"
    file.write_bytes(PNG)
    assert to_attachment(file)[0].name == "the loss.png"
    assert to_attachment(file, "epoch 3")[0].name == "epoch 3"
    assert to_attachment(Figure())[0].name == "loss over time"
    assert to_attachment(PNG)[0].name is None
    assert to_attachment(PNG, "a\nb\udcff" + "c" * 300)[0].name == "a b?" + "c" * 251


@pytest.mark.parametrize("thing", [3, None, {"a": 1}, [PNG], object(), Figure, Picture(png=None), Room])
def test_an_unsupported_object_is_refused_with_a_list_of_supported_ones(thing):
    with pytest.raises(TypeError, match=r"a message is text, not \w+: convert it.*figure.*DataFrame.*_repr_svg_"):
        to_attachment(thing)


@pytest.mark.parametrize("thing", [HTML, b"", b"%PDF-1.7", Picture(png=b"no picture")])
def test_bytes_of_another_kind_are_refused(thing):
    with pytest.raises(TypeError, match="not a PNG, JPEG, GIF, WebP or SVG picture"):
        to_attachment(thing)


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(BqwidgetError, match=r"gone.png can't be read: No such file"):
        to_attachment(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("begins", "error", "expected"),
    [(PNG, MessageRefused, "has 2,000,000,000,000 bytes: send a smaller one"), (b"", TypeError, "not a PNG")],
)
def test_only_the_beginning_of_a_huge_file_is_read(tmp_path, begins, error, expected):
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.write(begins)
        file.truncate(2_000_000_000_000)  # sparse: it takes no disk space, and does not fit into memory
    with pytest.raises(error, match=expected):
        to_attachment(huge)


def test_a_pipe_is_refused_without_reading(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(BqwidgetError, match="it is not a regular file"):
            to_attachment(path)


def test_a_data_frame_becomes_its_first_rows_and_columns_with_the_totals():
    frame = pd.DataFrame(np.arange(10_000 * 30).reshape(10_000, 30))
    table = table_of(frame)
    assert (len(table.rows), len(table.columns)) == (MAX_TABLE_ROWS, MAX_TABLE_COLUMNS)
    assert (table.total_rows, table.total_columns) == (10_000, 30)
    assert table.rows[1][:3] == (30, 31, 32)


def test_cells_of_every_type_become_json_values():
    frame = pd.DataFrame(
        {
            "n": [1, 2**60],
            "x": [0.5, float("nan")],
            "inf": [float("inf"), -1.0],
            "ok": [True, False],
            "s": ["<b>&amp;</b>\u202e", "y" * 999],
            "t": pd.to_datetime(["2027-01-02", None]),
            "na": pd.array([1, None], dtype="Int64"),
            "o": [{"a": 1}, "half \udcff"],
        },
        index=pd.Index(["first", "second"], name="which"),
    )
    table = table_of(frame)
    assert table.columns == ("which", *frame.columns)
    assert table.rows[0] == (
        "first",
        1,
        0.5,
        "inf",
        True,
        "<b>&amp;</b>\u202e",
        "2027-01-02 00:00:00",
        1,
        "{'a': 1}",
    )
    assert table.rows[1] == (
        "second",
        str(2**60),
        None,
        -1.0,
        False,
        "y" * (MAX_CELL_LENGTH - 1) + "…",
        None,
        None,
        "half ?",
    )


TABLES = {
    "polars": lambda: pl.DataFrame({"n": [1, None], "x": [1234567.89, 0.1], "s": ["<b>", None], "d": [[1], [2, 3]]}),
    "pyarrow": lambda: pa.table({"n": [1, None], "x": [1234567.89, 0.1], "s": ["<b>", None], "d": [[1], [2, 3]]}),
    "a batch": lambda: pa.record_batch(
        {"n": [1, None], "x": [1234567.89, 0.1], "s": ["<b>", None], "d": [[1], [2, 3]]}
    ),
}


class Stream:
    """A table of another library, which only has the interchange protocol of Arrow."""

    def __init__(self, table):
        self.__arrow_c_stream__ = table.__arrow_c_stream__


@pytest.mark.parametrize("loaded", ["polars", "pyarrow"])
@pytest.mark.parametrize("name", [*TABLES, "a stream"])
def test_tables_of_other_libraries_are_sent_like_those_of_pandas(name, loaded, monkeypatch):
    if loaded == "pyarrow":
        monkeypatch.delitem(sys.modules, "polars")
    made = Stream(TABLES["pyarrow"]()) if name == "a stream" else TABLES[name]()
    table = table_of(made)
    assert table.columns == ("n", "x", "s", "d")
    assert table.rows == ((1, 1234567.89, "<b>", "[1]"), (None, 0.1, None, "[2, 3]"))
    assert (table.total_rows, table.total_columns) == (2, 4)


def test_a_long_table_of_another_library_is_cut_and_counted():
    columns = {f"c{n}": range(1_000) for n in range(30)}
    for made in (pl.DataFrame(columns), pa.table({name: list(values) for name, values in columns.items()})):
        table = table_of(made)
        assert (len(table.rows), len(table.columns)) == (MAX_TABLE_ROWS, MAX_TABLE_COLUMNS)
        assert (table.total_rows, table.total_columns) == (1_000, 30)


def test_columns_and_arrays_become_tables():
    assert table_of(pl.Series("s", [1, 2])).columns == ("s",)
    assert table_of(pa.array([1, 2])).total_rows == 2
    assert table_of(pa.chunked_array([[1], [2]])).rows == ((1,), (2,))
    assert table_of(np.array([1.5, np.nan])).rows == ((1.5,), (None,))
    array = table_of(np.arange(200_000).reshape(-1, 40))
    assert array.columns == tuple(map(str, range(MAX_TABLE_COLUMNS)))
    assert (array.rows[1][0], array.total_rows, array.total_columns) == (40, 5_000, 40)
    records = np.array([("a", 1, "2027-01-02")], dtype=[("s", "U3"), ("n", "i8"), ("t", "M8[ns]")])
    assert table_of(records).columns == ("s", "n", "t")
    assert table_of(records).rows == (("a", 1, "2027-01-02T00:00:00.000000000"),)
    assert table_of(np.array(["2027-01-02", "NaT"], dtype="M8[D]")).rows == (("2027-01-02",), (None,))
    for wrong in (np.zeros((2, 2, 2)), np.array(1)):
        with pytest.raises(TypeError, match="one or two dimensions"):
            to_attachment(wrong)


NS = 1_767_225_600_000_000_001
"""A nanosecond after 2026 began in UTC, in nanoseconds."""
NS_TEXT = "2026-01-01 00:00:00.000000001"
ONE_NS = "00:00:00.000000001"
POLARS_NS = pl.Datetime("ns")
ARROW_FAR = pa.struct({"x": pa.list_(pa.timestamp("us"))})


@pytest.mark.parametrize(
    ("made", "cells"),
    [
        (lambda: pd.DataFrame({"a": [np.array([1, 2])]}), ["[1 2]"]),
        (lambda: np.array([([1, 2],)], dtype=[("a", "i4", (2,))]), ["[1 2]"]),
        (lambda: np.ma.masked_array([1, 2], mask=[False, True]), [1, None]),
        (lambda: np.array([2**63 - 1, -(2**63)]), [str(2**63 - 1), str(-(2**63))]),
        (lambda: np.array([1 + 0j, 1e-20j]), ["(1+0j)", "1e-20j"]),
        (lambda: pd.DataFrame({"a": pd.array([1, None, 2**60 + 1], dtype="Int64")}), [1, None, str(2**60 + 1)]),
        (lambda: pd.DataFrame({"a": np.array([2**64 - 1], dtype="uint64")}), [str(2**64 - 1)]),
        (lambda: pd.DataFrame({"a": np.array([65504.0], dtype="float16")}), [65504.0]),
        (lambda: pd.DataFrame({"a": [Decimal("1.10"), Decimal("1E+3")]}), ["1.10", "1E+3"]),
        (lambda: pd.DataFrame({"a": pd.Categorical(["x", None])}), ["x", None]),
        (lambda: pd.DataFrame({"a": [pd.Timestamp(NS, tz="Europe/Berlin")]}), ["2026-01-01 01:00:00.000000001+01:00"]),
        (lambda: pd.DataFrame({"a": pd.to_timedelta(["1 days 02:03:04", None])}), ["1 days 02:03:04", None]),
        (lambda: pd.DataFrame({"a": [b"\x00\xff"]}), ["b'\\x00\\xff'"]),
        (lambda: pd.DataFrame({"a": pd.period_range("2026-01", periods=1, freq="M")}), ["2026-01"]),
        (lambda: pl.DataFrame({"a": pl.Series([NS], dtype=pl.Datetime("ns"))}), ["2026-01-01 00:00:00.000000001"]),
        (lambda: pl.DataFrame({"a": pl.Series([93_784_000_000_005], dtype=pl.Duration("ns"))}), ["1d 2h 3m 4s 5ns"]),
        (lambda: pl.DataFrame({"a": pl.Series([2**100], dtype=pl.Int128)}), [str(2**100)]),
        (lambda: pl.DataFrame({"a": [{"x": 1, "y": None}, None]}), ["{'x': 1, 'y': None}", None]),
        (lambda: pa.table({"a": pa.array([NS], pa.timestamp("ns"))}), ["2026-01-01 00:00:00.000000001"]),
        (lambda: pa.table({"a": pa.array([1], pa.duration("ns"))}), ["0 days 00:00:00.000000001"]),
        (lambda: pa.table({"a": pa.array(["x"]).dictionary_encode()}), ["x"]),
        (lambda: pa.table({"a": pa.array([Decimal("1.10")], pa.decimal128(5, 2))}), ["1.10"]),
        (
            lambda: pa.table({"a": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["x"]))}),
            ["x", "x"],
        ),
        (lambda: pd.DataFrame({"a": [[np.float64(1.5), Decimal("1.10")]]}), ["[1.5, 1.10]"]),
        (lambda: pd.DataFrame({"a": [(np.int64(1),), ()]}), ["(1,)", "()"]),
        (lambda: pd.DataFrame({"a": [{"x": [np.str_("y"), pd.Timestamp(NS)]}]}), [f"{{'x': ['y', {NS_TEXT}]}}"]),
        (lambda: pl.DataFrame({"a": [[dt.date(2026, 1, 1)]]}), ["[2026-01-01]"]),
        (lambda: pl.DataFrame({"a": pl.Series([1], dtype=pl.Time)}), ["00:00:00.000000001"]),
        (lambda: pl.DataFrame({"a": pl.Series([2**62], dtype=pl.Datetime("us"))}), ["+148108-07-06 14:00:27.387904"]),
        (lambda: pl.DataFrame({"a": pl.Series([2**62], dtype=pl.Duration("ms"))}), ["53375995583d 15h 36m 27s 904ms"]),
        (lambda: pa.table({"a": pa.array([1], pa.time64("ns"))}), ["00:00:00.000000001"]),
        (lambda: pa.table({"a": pa.array([2**62], pa.timestamp("us"))}), [f"<value out of range: {2**62}>"]),
        (lambda: pa.table({"a": pa.array([[NS]], pa.list_(pa.timestamp("ns")))}), [f"[{NS_TEXT}]"]),
        (lambda: pa.table({"a": pa.array([[1, None], None], pa.list_(pa.time64("ns")))}), [f"[{ONE_NS}, None]", None]),
        (lambda: pa.table({"a": pa.array([{"x": [2**62]}], ARROW_FAR)}), [f"{{'x': [<value out of range: {2**62}>]}}"]),
        (
            lambda: pl.DataFrame({"a": pl.Series([[NS, None], None], dtype=pl.List(POLARS_NS))}),
            [f"[{NS_TEXT}, None]", None],
        ),
        (lambda: pl.DataFrame({"a": pl.Series([[NS]], dtype=pl.Array(POLARS_NS, 1))}), [f"[{NS_TEXT}]"]),
        (lambda: pl.DataFrame({"a": pl.Series([[[1]]], dtype=pl.List(pl.List(pl.Time)))}), [f"[[{ONE_NS}]]"]),
        (
            lambda: pl.DataFrame(
                {"a": pl.Series([{"x": NS, "y": "z"}, None], dtype=pl.Struct({"x": POLARS_NS, "y": pl.String}))}
            ),
            [f"{{'x': {NS_TEXT}, 'y': 'z'}}", None],
        ),
        (
            lambda: pl.DataFrame({"a": pl.Series([[2**62]], dtype=pl.List(pl.Duration("ms")))}),
            ["[53375995583d 15h 36m 27s 904ms]"],
        ),
        (lambda: pl.DataFrame({"a": pl.Series([{}, None], dtype=pl.Struct([]))}), ["{}", None]),
    ],
)
def test_values_of_every_kind_are_what_they_are(made, cells):
    assert [row[0] for row in table_of(made()).rows] == cells


def test_two_columns_of_one_name_are_two():
    for made in (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]),
    ):
        assert (table_of(made).columns, table_of(made).rows) == (("a", "a"), ((1, 2),))


def test_an_index_is_shown_unless_it_only_numbers_the_rows_from_0():
    frame = pd.DataFrame({"a": range(9)})
    assert table_of(frame.head(2)).columns == ("a",)
    assert (table_of(frame.tail(2)).columns, table_of(frame.tail(2)).rows) == (("", "a"), (("7", 7), ("8", 8)))
    assert table_of(frame[::-1]).rows[0] == ("8", 8)
    assert table_of(frame.rename_axis("epoch")).columns == ("epoch", "a")
    unnamed = pd.MultiIndex.from_tuples([("x", 1)])
    assert table_of(pd.DataFrame({"a": [0]}, index=unnamed)).columns == ("", "a")
    assert table_of(pd.DataFrame({"a": [0]}, index=unnamed.set_names(["k", None]))).columns == ("k / ", "a")


def test_multi_indexes_series_and_empty_frames_become_tables():
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]}).set_index(["a", "b"])
    assert table_of(frame).columns == ("a / b", "c")
    assert table_of(frame).rows[0] == ("1 / 3", 5)
    assert table_of(pd.Series([1, 2], name="s")).columns == ("s",)
    empty = table_of(pd.DataFrame())
    assert (empty.columns, empty.rows, empty.total_rows) == ((), (), 0)
    assert table_of(pd.DataFrame({"a": [1], "b": [2]}).iloc[:0]).columns == ("a", "b")


# ---- the transfer


def test_other_members_get_the_picture_and_its_caption(join):
    ada, bob = join("ada"), join("bob")
    sent = ada.send(PNG, "look", name="loss.png")
    assert (sent.text, sent.parts[0].name, sent.parts[0].width, sent.parts[0].height) == (
        "look",
        "loss.png",
        30,
        20,
    )
    got = bob.wait_for(lambda message: True, timeout=20, after=sent.seq - 1)
    assert got == sent
    assert bob.part(got.parts[0]) == bob.part(got.parts[0].sha256) == PNG
    assert "loss.png" in repr(got)
    assert asyncio.run(ada.asend(GIF)).parts[0].mime == "image/gif"
    assert ada.send(SVG, wait=False).result(20).parts[0].mime == "image/svg+xml"


def test_a_data_frame_is_sent_as_a_table(join):
    ada = join()
    sent = ada.send(pd.DataFrame({"a": [1, 2]}), "scores")
    assert sent.parts[0].mime == TABLE
    assert b'"columns":["a"]' in ada.part(sent.parts[0])


def test_df_and_transcript_name_the_attachments(join):
    ada = join()
    ada.send(PNG, "look", name="<img src=x>\u202e\n")
    ada.send("text")
    frame = ada.df()
    assert list(frame["parts"]) == [("<img src=x>\u202e",), ()]
    transcript = ada.transcript()
    assert "[<img src=x>\\u202e, 85 bytes]\n    look" in str(transcript).replace(f"{len(PNG)}", "85")
    assert "<img" not in transcript._repr_html_()
    assert "&lt;img src=x&gt;\\u202e" in transcript._repr_html_()


def test_an_attachment_over_the_limit_is_refused_before_the_upload():
    with running_server(open=True, part_limit=1_000) as server, Room("r", user="ada", url=server.url) as room:
        room.wait_open(20)
        with pytest.raises(MessageRefused, match=r"2,0.. bytes; the limit is 1,000: send a smaller one") as raised:
            room.send(png(noise=1_950))
        assert raised.value.code == "too_big"
    with running_server(open=True, part_limit=0) as server, Room("r", user="ada", url=server.url) as room:
        room.wait_open(20)
        with pytest.raises(MessageRefused, match="this server accepts no attachments"):
            room.send(PNG)


def test_an_attachment_refused_by_the_server_raises(join):
    ada = join()
    endless = PNG[:16] + struct.pack(">II", 60_000, 60_000) + PNG[24:]
    with pytest.raises(MessageRefused, match="60,000 x 60,000 pixels: send a smaller one") as raised:
        ada.send(endless)
    assert (raised.value.code, raised.value.status) == ("bad_part", 400)
    assert ada.send("still here").text == "still here"


def test_a_caption_needs_an_attachment(join):
    ada = join()
    for more in ({"caption": "x"}, {"name": "x"}):
        with pytest.raises(TypeError, match="for attachments"):
            ada.send("text", **more)


def test_an_attachment_sent_offline_arrives_once_after_the_reconnect(tmp_path, unused_port):
    log = f"sqlite:{tmp_path / 'log.sqlite'}"
    room = Room("r", user="ada", url=f"http://127.0.0.1:{unused_port}")
    try:
        sending = room.send(PNG, "hello", wait=False)
        assert repr(sending) == "Sending('hello')"
        eventually(lambda: room.reconnect_attempts, what="a try")
        with running_server(log=log, port=unused_port, open=True) as server:
            sent = sending.result(30)
            with member(server.url, "r", "?after=0") as one:
                assert one.until("message")["entry"]["seq"] == sent.seq
                assert one.until("synced")["seq"] == sent.seq
    finally:
        room.close()


@pytest.mark.usefixtures("closes_soon")
def test_closing_drops_an_attachment_that_cannot_be_uploaded(unused_port):
    room = Room("r", user="ada", url=f"http://127.0.0.1:{unused_port}")
    sending = room.send(PNG, wait=False)
    room.close()
    with pytest.raises(RoomClosed):
        sending.result(20)
