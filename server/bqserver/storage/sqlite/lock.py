"""Exclusive use of a SQLite log, and whether its files are still the ones that were opened.

A deleted or moved file stays writable for the process that has it open: commits succeed, and a restart finds nothing
of them. So the paths are compared with what was opened, by device and inode.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

from bqserver.errors import StorageError
from bqserver.files import LockFile, in_use_error, open_private, unwritable_error
from bqwidget.file_locks import LOCKED_ERRNOS

COMPANION_SUFFIXES = ("-wal", "-shm")
LOCKED_BYTE = 1 << 62
"""Offset of the locked byte: far from those that SQLite locks, at 1 GiB."""

FileId = tuple[int, int, bool]
"""Device, inode, and whether it is a database without contents; a companion may be empty."""

if sys.platform == "linux":
    import fcntl

    def _lock_contents(descriptor: int) -> None:
        """Lock a byte of the file itself, whatever its name. Raises OSError if another server has it.

        The lock belongs to the descriptor. One of the process would end when SQLite closes any of its own. Where the
        kernel has no such lock (a sandbox as gVisor, some network file systems), only the file's name is locked.
        """
        wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_BYTE, 1, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
        except OSError as error:
            if error.errno in LOCKED_ERRNOS:
                raise
else:

    def _lock_contents(descriptor: int) -> None:
        """Other systems have no such lock: only the file's name is locked."""


class HistoryLock:
    """Exclusive use of the log at ``path``: by its name (``PATH.lock``), and by the file, whatever links lead to it.

    ``create``: create the file; otherwise it may be missing. Release the lock after every connection to the file is
    closed: closing a descriptor ends SQLite's own locks. Raises StorageError if another process has the log.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._name = LockFile(path)
        self._descriptor: int | None = None
        try:
            self._descriptor = open_private(path, os.O_RDWR) if create else os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return
        except OSError as error:
            self._name.release()
            raise unwritable_error(path, error) from error
        try:
            _lock_contents(self._descriptor)
        except OSError as error:
            self.release()
            raise in_use_error(path) from error

    def keep(self) -> None:
        """Lock the name again if ``PATH.lock`` was deleted, so that no second server starts on the path."""
        self._name.keep()

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._name.release()


class OpenFiles:
    """The files of the open database ``path``, as they are now."""

    def __init__(self, path: Path) -> None:
        paths = (path, *(path.with_name(path.name + suffix) for suffix in COMPANION_SUFFIXES))
        self._ids = {one: found for one in paths if (found := _file_id(one)) is not None}

    def check(self) -> None:
        """Raises StorageError if one of the files was removed, moved, replaced or emptied since."""
        for path, expected in self._ids.items():
            if _file_id(path) != expected:
                raise StorageError(
                    f"{path} was removed or replaced while the server uses it: put the same file back, or stop the "
                    "server, restore a backup with 'bqserver restore', and start it again"
                )


def _file_id(path: Path) -> FileId | None:
    with suppress(OSError):
        found = path.stat()
        empty = not found.st_size and not path.name.endswith(COMPANION_SUFFIXES)
        return found.st_dev, found.st_ino, empty
    return None
