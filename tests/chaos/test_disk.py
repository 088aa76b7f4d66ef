"""The simulated disk: what survives a power cut and what is lost."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from .faults.simulated_disk import Disk, Record, records, write


def disk_after(folder: Path, *operations: tuple[str, int, int, bytes]) -> Disk:
    disk = Disk(folder)
    for op, file, offset, data in operations:
        disk.apply(Record(op, file, offset, data, 0))
    return disk


def path_of(folder: Path, file: str = "a") -> bytes:
    return str(folder / file).encode()


def test_only_synced_writes_survive(tmp_path: Path):
    write(tmp_path, {"a": b"old"})
    written = [("N", 1, 0, path_of(tmp_path)), ("W", 1, 1, b"xx"), ("S", 1, 0, b""), ("W", 1, 0, b"lost")]
    assert disk_after(tmp_path, *written).after_cut() == {"a": b"oxx"}
    assert disk_after(tmp_path, *written[:2]).after_cut() == {"a": b"old"}


def test_a_write_beyond_the_end_fills_with_zeros_and_a_truncation_shortens(tmp_path: Path):
    write(tmp_path, {"a": b"old"})
    disk = disk_after(tmp_path, ("N", 1, 0, path_of(tmp_path)), ("W", 1, 5, b"new"), ("T", 1, 7, b""), ("S", 1, 0, b""))
    assert disk.after_cut() == {"a": b"old\0\0ne"}


def test_a_new_name_survives_once_its_folder_is_synced(tmp_path: Path):
    created = [("N", 1, 0, path_of(tmp_path)), ("W", 1, 0, b"data"), ("S", 1, 0, b"")]
    assert disk_after(tmp_path, *created).after_cut() == {}
    assert disk_after(tmp_path, *created, ("D", 0, 0, b"")).after_cut() == {"a": b"data"}


def test_a_removal_and_a_rename_survive_once_the_folder_is_synced(tmp_path: Path):
    write(tmp_path, {"a": b"a", "b": b"b"})
    moved = ("R", 0, 0, path_of(tmp_path, "b") + b"\0" + path_of(tmp_path, "a"))
    assert disk_after(tmp_path, ("U", 0, 0, path_of(tmp_path))).after_cut() == {"a": b"a", "b": b"b"}
    assert disk_after(tmp_path, ("U", 0, 0, path_of(tmp_path)), ("D", 0, 0, b"")).after_cut() == {"b": b"b"}
    assert disk_after(tmp_path, moved).after_cut() == {"a": b"a", "b": b"b"}
    assert disk_after(tmp_path, moved, ("D", 0, 0, b"")).after_cut() == {"a": b"b"}


def test_a_torn_cut_keeps_some_unsynced_sectors(tmp_path: Path):
    write(tmp_path, {"a": b"-" * 5_120})
    disk = disk_after(tmp_path, ("N", 1, 0, path_of(tmp_path)), ("W", 1, 0, b"+" * 5_120))
    content = disk.after_cut(random.Random(1))["a"]
    sectors = {content[start : start + 512] for start in range(0, 5_120, 512)}
    assert sectors == {b"-" * 512, b"+" * 512}


def test_an_incomplete_record_is_ignored():
    whole = struct.pack("<cIQI", b"W", 1, 2, 3) + b"abc"
    assert [record[:4] for record in records(whole * 2)] == [("W", 1, 2, b"abc")] * 2
    assert list(records(whole * 2))[-1].end == 2 * len(whole)
    for cut in range(1, len(whole)):
        assert len(list(records(whole + whole[:-cut]))) == 1
