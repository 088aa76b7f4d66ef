"""The simulated disk is itself to be trusted: what it keeps and what it drops."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from .faults.simulated_disk import Disk, Record, records, write


def played(folder: Path, *done: tuple[str, int, int, bytes]) -> Disk:
    disk = Disk(folder)
    for op, file, offset, data in done:
        disk.play(Record(op, file, offset, data, 0))
    return disk


def name(folder: Path, file: str = "a") -> bytes:
    return str(folder / file).encode()


def test_only_what_was_synced_is_left(tmp_path: Path):
    write(tmp_path, {"a": b"old"})
    written = [("N", 1, 0, name(tmp_path)), ("W", 1, 1, b"xx"), ("S", 1, 0, b""), ("W", 1, 0, b"lost")]
    assert played(tmp_path, *written).after_cut() == {"a": b"oxx"}
    assert played(tmp_path, *written[:2]).after_cut() == {"a": b"old"}


def test_a_write_beyond_the_end_leaves_zeros_and_a_cut_shortens(tmp_path: Path):
    write(tmp_path, {"a": b"old"})
    disk = played(
        tmp_path, ("N", 1, 0, name(tmp_path)), ("W", 1, 5, b"new"), ("T", 1, 7, b""), ("S", 1, 0, b"")
    )
    assert disk.after_cut() == {"a": b"old\0\0ne"}


def test_a_new_name_needs_its_folder_synced(tmp_path: Path):
    made = [("N", 1, 0, name(tmp_path)), ("W", 1, 0, b"data"), ("S", 1, 0, b"")]
    assert played(tmp_path, *made).after_cut() == {}
    assert played(tmp_path, *made, ("D", 0, 0, b"")).after_cut() == {"a": b"data"}


def test_a_removal_and_a_rename_need_it_too(tmp_path: Path):
    write(tmp_path, {"a": b"a", "b": b"b"})
    moved = ("R", 0, 0, name(tmp_path, "b") + b"\0" + name(tmp_path, "a"))
    assert played(tmp_path, ("U", 0, 0, name(tmp_path))).after_cut() == {"a": b"a", "b": b"b"}
    assert played(tmp_path, ("U", 0, 0, name(tmp_path)), ("D", 0, 0, b"")).after_cut() == {"b": b"b"}
    assert played(tmp_path, moved).after_cut() == {"a": b"a", "b": b"b"}
    assert played(tmp_path, moved, ("D", 0, 0, b"")).after_cut() == {"a": b"b"}


def test_a_torn_cut_keeps_some_sectors_of_what_was_not_synced(tmp_path: Path):
    write(tmp_path, {"a": b"-" * 5_120})
    disk = played(tmp_path, ("N", 1, 0, name(tmp_path)), ("W", 1, 0, b"+" * 5_120))
    left = disk.after_cut(random.Random(1))["a"]
    sectors = {left[start : start + 512] for start in range(0, 5_120, 512)}
    assert sectors == {b"-" * 512, b"+" * 512}


def test_half_a_record_is_none():
    whole = struct.pack("<cIQI", b"W", 1, 2, 3) + b"abc"
    assert [record[:4] for record in records(whole * 2)] == [("W", 1, 2, b"abc")] * 2
    assert list(records(whole * 2))[-1].end == 2 * len(whole)
    for cut in range(1, len(whole)):
        assert len(list(records(whole + whole[:-cut]))) == 1
