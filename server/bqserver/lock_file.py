"""One server a file: an advisory lock beside the database, gone with the process that held it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from bqserver.storage.interface import LogError

from .files import make_folder

if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[str]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockFile:
    """Holds ``PATH.lock`` until ``release`` or the end of the process. Raises LogError where somebody else does."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            make_folder(self.path.parent)
            self._file: IO[str] = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        except OSError as error:
            raise LogError(
                f"{path} can't be written ({error.strerror}): give another file with --log=sqlite:PATH"
            ) from error
        try:
            _take(self._file)
        except OSError as error:
            holder = self._file.read().strip()
            self._file.close()
            by = f" (process {holder})" if holder else ""
            raise LogError(
                f"{path} is in use by another bqserver{by}: stop it, or give another file with --log=sqlite:PATH"
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()
