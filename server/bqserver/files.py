"""Files that survive a power cut, files that only their owner can read, and lock files.

A file's own fsync does not make its name durable: the folder that lists it has to be synced too.

What root creates belongs to the owner of the folder, so that a service of another user can use what a command of the
administrator has written.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

from bqwidget.file_locks import try_lock

from .errors import AccessFileError, HistoryInUse, StartError, StorageError


def user_path(text: str) -> Path:
    """The path that a person gave, which may begin with ``~``. Raises StartError if there is no such home folder."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise StartError(f"{text} can't be found: this user has no home folder; give a path without ~") from None
    if not path.name:
        raise StartError(f"{text or 'an empty path'} is not a file: give the path of one")
    return path


# ---- durable names


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents, new ones with mode 0700. Raises OSError."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(new):
        with suppress(FileExistsError):  # another process was faster
            one.mkdir(mode=0o700)
            set_private(one, 0o700, one.parent)
        sync_folder(one.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


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


def open_private(path: str | Path, flags: int) -> int:
    """A descriptor of the file, created if it does not exist: mode 0600 whatever the umask, for its folder's owner.

    Raises OSError.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(path, flags | os.O_CREAT, 0o600)
    set_private(descriptor, 0o600, Path(path).parent)
    return descriptor


def create_private(path: Path) -> None:
    """Create the file if it does not exist; take it from others if they may read or write it. Raises OSError."""
    os.close(open_private(path, os.O_RDWR))
    make_private(path)


def make_private(path: Path) -> None:
    """Set the mode of an existing file of this user to 0600."""
    with suppress(OSError):  # it is another user's, who decides, or it does not exist
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def copy_private(source: Path, target: Path) -> None:
    """Copy the contents to ``target``, with mode 0600, as the folder's owner's. Raises OSError."""
    target.unlink(missing_ok=True)
    with source.open("rb") as given, os.fdopen(open_private(target, os.O_WRONLY | os.O_EXCL), "wb") as copy:
        shutil.copyfileobj(given, copy)


def set_private(new: int | Path, mode: int, model: Path) -> None:
    """Set the mode of a new file or folder, which the umask may have reduced; root gives it to the owner of ``model``."""
    if os.name != "posix":
        return
    os.chmod(new, mode)  # noqa: PTH101 - of a descriptor, too
    if os.geteuid() == 0:
        owner = model.stat()
        with suppress(OSError):  # a file system without owners, or an owner unknown in this container
            os.chown(new, owner.st_uid, owner.st_gid)


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
    """Replace a file atomically and durably; its mode is 0600, and its owner stays. Raises AccessFileError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        make_folder(path.parent)
        part.unlink(missing_ok=True)
        descriptor = open_private(part, os.O_WRONLY | os.O_EXCL)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if path.exists():
                set_private(descriptor, 0o600, path)
            os.fsync(descriptor)
        replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise AccessFileError(f"{path} can't be written: {error.strerror}") from error


# ---- changed files


FileStamp = tuple[int, int, int, int]
"""Modification time and status change time (as of the mode) in ns, size in bytes, inode."""


def file_stamp(path: Path) -> FileStamp | None:
    """Differs after every change of the file; None if it can't be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


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
            is_taken = self._take()
        except OSError as error:
            self._file.close()
            raise unwritable_error(path, error, "locked") from error
        if not is_taken:
            holder = self._file.read().strip()
            self._file.close()
            raise in_use_error(path, holder)

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
        # No link: root's commands work in folders of other users, and what is locked is emptied.
        return os.fdopen(open_private(self.path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), "r+")

    def _take(self) -> bool:
        """False if another process holds the lock. Raises OSError."""
        if not try_lock(self._file.fileno()):
            return False
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True


def in_use_error(path: Path, holder: str = "") -> HistoryInUse:
    by = f" (process {holder})" if holder else ""
    return HistoryInUse(
        f"{path} is in use by another bqserver{by}: stop it, or give another file with --log=sqlite:PATH"
    )


def unwritable_error(path: Path, error: OSError, what: str = "written") -> StorageError:
    return StorageError(f"{path} can't be {what} ({error.strerror}): give another file with --log=sqlite:PATH")


def is_locked(path: Path) -> bool:
    """Whether another process has the lock of ``path``."""
    lock = path.with_name(path.name + ".lock")
    if not lock.exists():
        return False
    with lock.open("r+") as file:
        try:
            return not try_lock(file.fileno())
        except OSError:
            return True
