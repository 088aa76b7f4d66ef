"""Files that survive a power cut, files that only their owner can read, and lock files.

A file's own fsync does not make its name durable: the folder that lists it has to be synced too.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from .errors import AccessFileError, StorageError

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ---- durable names


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents, new ones with mode 0700. Raises OSError."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for one in new:
        sync_folder(one.parent)


def replace(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; after a crash ``target`` is the old file or the new one, complete. Raises OSError."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable. Raises OSError."""
    if os.name == "nt":
        return  # Windows can't open a folder, and NTFS journals its names
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


# ---- private files


def read_private(path: Path, *, secret: bool = True) -> bytes | None:
    """The bytes of a file that only its owner can write and, if ``secret``, read; None if it does not exist.

    Raises AccessFileError.
    """
    try:
        mode = path.stat().st_mode & (0o077 if secret else 0o022)
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessFileError(f"{path} can't be read: {error.strerror}") from error
    if mode and os.name == "posix":
        can, remedy = ("read", "600") if secret else ("write", "go-w")
        raise AccessFileError(f"others can {can} {path}: chmod {remedy} {path}")
    return data


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably; its mode is 0600. Raises AccessFileError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        make_folder(path.parent)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise AccessFileError(f"{path} can't be written: {error.strerror}") from error


# ---- lock files


class LockFile:
    """An exclusive lock on ``PATH.lock``, held until ``release`` or the end of the process.

    Raises StorageError if another process holds it; the message names that process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            make_folder(self.path.parent)
            self._file = self._open()
        except OSError as error:
            raise unwritable_error(path, error) from error
        try:
            self._take()
        except OSError as error:
            holder = self._file.read().strip()
            self._file.close()
            raise in_use_error(path, holder) from error

    def keep(self) -> None:
        """Create and lock ``PATH.lock`` again if it was deleted, unless another process has done so."""
        with suppress(OSError):
            if self.path.exists() and os.path.samestat(self.path.stat(), os.fstat(self._file.fileno())):
                return
            former, self._file = self._file, self._open()
            former.close()
            self._take()

    def release(self) -> None:
        self._file.close()

    def _open(self) -> IO[str]:
        return os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+")

    def _take(self) -> None:
        """Raises OSError if another process holds the lock."""
        _lock(self._file)
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()


def in_use_error(path: Path, holder: str = "") -> StorageError:
    by = f" (process {holder})" if holder else ""
    return StorageError(
        f"{path} is in use by another bqserver{by}: stop it, or give another file with --log=sqlite:PATH"
    )


def unwritable_error(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} can't be written ({error.strerror}): give another file with --log=sqlite:PATH")
