"""Slips of an operator: what happens to a file by mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def point_to_itself(path: Path) -> None:
    """A link to itself can't be read, by root either."""
    path.unlink()
    path.symlink_to(path.name)


SLIPS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_text(""),
    "blank": lambda path: path.write_text("\n \n"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a folder": replace_by_folder,
    "unreadable": point_to_itself,
    "broken": lambda path: path.write_text("[lobby\n"),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "open to others": lambda path: path.chmod(0o666),
}


def put_back(path: Path, data: bytes) -> None:
    """Write the file as it should be, over whatever lies there."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        path.rmdir()
    path.touch(mode=0o600)
    path.write_bytes(data)
