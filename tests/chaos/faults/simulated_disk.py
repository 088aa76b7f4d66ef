"""What a power cut leaves on a disk: the journal of tests/chaos/faults/powercut.c, played up to any byte of it.

Strict: a file holds what it held at its last sync, and a folder the names it had at its own. Torn: of what was
written since, any sectors may have reached the disk too, for a drive writes in the order it likes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
_HEAD = struct.Struct("<cIQI")


class Record(NamedTuple):
    """One thing the process did; ``end``: the journal's length behind it."""

    op: str
    file: int
    offset: int
    data: bytes
    end: int


@dataclass
class File:
    """``synced``: its bytes at the last sync. ``since``: (offset, bytes) written, or (length, None) cut, after it."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.since:
            _apply(self.synced, offset, data)
        self.since.clear()

    def after_cut(self, chance: random.Random | None) -> bytes:
        content = bytearray(self.synced)
        for offset, data in self.since if chance else ():
            if data is None:
                if chance.random() < 0.5:
                    _apply(content, offset, None)
                continue
            for start in range(0, len(data), SECTOR):
                if chance.random() < 0.5:
                    _apply(content, offset + start, data[start : start + SECTOR])
        return bytes(content)


class Disk:
    """A folder's files. It begins with what is there; ``play`` what was done; ``after_cut`` tells what is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = {
            str(path): File(bytearray(path.read_bytes())) for path in folder.iterdir() if path.is_file()
        }
        self.synced_names = dict(self.names)
        self._files: dict[int, File] = {}

    def play(self, record: Record) -> None:
        match record.op:
            case "N":
                self._files[record.file] = self.names.setdefault(record.data.decode(), File())
            case "W":
                self._files[record.file].since.append((record.offset, record.data))
            case "T":
                self._files[record.file].since.append((record.offset, None))
            case "S":
                self._files[record.file].sync()
            case "D":
                self.synced_names = dict(self.names)  # there is but one folder
            case "U":
                self.names.pop(record.data.decode(), None)
            case "R":
                source, target = record.data.decode().split("\0")
                self.names[target] = self.names.pop(source)

    def after_cut(self, chance: random.Random | None = None) -> dict[str, bytes]:
        """The files by name. ``chance`` None: strict; else torn, and names not yet synced may be there or not."""
        names = self.names if chance and chance.random() < 0.5 else self.synced_names
        return {Path(name).name: file.after_cut(chance) for name, file in names.items()}


def records(journal: bytes) -> Iterator[Record]:
    """Half a record at the end, of a process that was killed, is none."""
    start = 0
    while start + _HEAD.size <= len(journal):
        op, file, offset, size = _HEAD.unpack_from(journal, start)
        body = start + _HEAD.size
        start = body + size
        if start > len(journal):
            return
        yield Record(op.decode(), file, offset, journal[body:start], start)


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Make ``folder`` hold these files and no others."""
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
