"""Names that survive a power cut: a file's own fsync says nothing about the folder that lists it."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """``folder`` and its parents, for this user alone (0700) where they are new. Raises OSError."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for one in new:
        sync_folder(one.parent)


def replace(source: Path, target: Path) -> None:
    """Rename; after a crash ``target`` is the old file or the new one, whole. Raises OSError."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable. Raises OSError."""
    if os.name == "nt":
        return  # a folder can't be opened there, and NTFS journals its names
    _sync(folder, os.O_RDONLY)


def sync_file(path: Path) -> None:
    """Make the contents of ``path`` durable. Raises OSError."""
    _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
