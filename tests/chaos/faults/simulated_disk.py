"""Simulates the state of a disk after a power cut, by replaying the journal of tests/chaos/faults/powercut.c.

Strict: a file has its content of its last sync, and a folder its names of its last sync. Torn: any sectors
written since may have reached the disk too, because a drive writes in any order.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
_RECORD_HEADER = struct.Struct("<cIQI")


class Record(NamedTuple):
    """One operation of the process; ``end``: the journal's length up to and including it."""

    op: str
    file: int
    offset: int
    data: bytes
    end: int


@dataclass
class File:
    """``synced``: the bytes at the last sync. ``unsynced``: later operations, (offset, bytes) of a write or
    (length, None) of a truncation.
    """

    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.unsynced:
            _apply(self.synced, offset, data)
        self.unsynced.clear()

    def after_cut(self, rng: random.Random | None) -> bytes:
        content = bytearray(self.synced)
        for offset, data in self.unsynced if rng else ():
            if data is None:
                if rng.random() < 0.5:
                    _apply(content, offset, None)
                continue
            for start in range(0, len(data), SECTOR):
                if rng.random() < 0.5:
                    _apply(content, offset + start, data[start : start + SECTOR])
        return bytes(content)


class Disk:
    """A folder's files, initially as they are on disk. ``apply`` replays operations; ``after_cut`` returns what is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = {str(path): File(bytearray(path.read_bytes())) for path in folder.iterdir() if path.is_file()}
        self.synced_names = dict(self.names)
        self._files: dict[int, File] = {}

    def apply(self, record: Record) -> None:
        match record.op:
            case "N":
                self._files[record.file] = self.names.setdefault(record.data.decode(), File())
            case "W":
                self._files[record.file].unsynced.append((record.offset, record.data))
            case "T":
                self._files[record.file].unsynced.append((record.offset, None))
            case "S":
                self._files[record.file].sync()
            case "D":
                self.synced_names = dict(self.names)  # there is only one folder
            case "U":
                self.names.pop(record.data.decode(), None)
            case "R":
                source, target = record.data.decode().split("\0")
                self.names[target] = self.names.pop(source)

    def after_cut(self, rng: random.Random | None = None) -> dict[str, bytes]:
        """The files by name. ``rng`` None: strict; otherwise torn, and names not synced are all kept or all lost."""
        names = self.names if rng and rng.random() < 0.5 else self.synced_names
        return {Path(name).name: file.after_cut(rng) for name, file in names.items()}


def records(journal: bytes) -> Iterator[Record]:
    """Yields the journal's records; ignores an incomplete one at the end, left by a killed process."""
    start = 0
    while start + _RECORD_HEADER.size <= len(journal):
        op, file, offset, size = _RECORD_HEADER.unpack_from(journal, start)
        body = start + _RECORD_HEADER.size
        start = body + size
        if start > len(journal):
            return
        yield Record(op.decode(), file, offset, journal[body:start], start)


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write exactly these files to ``folder``, and delete all others."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
