"""The files of tokens and rights, followed while the server runs: what is taken away ends at once.

They are looked at once a second, and on SIGHUP. A file that has become wrong changes nothing, and the log says
so: a slip in an editor must neither let everyone in nor lock everyone out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bqserver.errors import AccessFileError
from bqserver.files import read_private

from .authenticator import Authenticator
from .permissions import Permissions, parse_permissions
from .tokens import Grants, read_grants

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the files, and at what has expired."""

_log = logging.getLogger("bqserver.access")

FileStamps = tuple[tuple[int, int, int] | None, ...]


class CredentialFiles:
    """The two files as they are now; neither has to be there. Raises AccessFileError where one is wrong.

    ``tokens`` None: somebody else knows who is who.
    """

    def __init__(self, tokens: Path | None, rights: Path) -> None:
        self.tokens_path = tokens
        self.rights_path = rights
        self._stamps = self._read_stamps()
        self.grants, self.permissions = self._read()

    def reload(self, *, forced: bool = False) -> bool:
        """Read them again if anything may be new. Raises AccessFileError, and keeps what was, where one is wrong."""
        stamp, before = self._read_stamps(), self._stamps
        if stamp == before and not forced:
            return False
        self._stamps = stamp
        for path, now, then in zip((self.tokens_path, self.rights_path), stamp, before, strict=True):
            if then is not None and now is None:  # else a file that is lost would let everyone in everywhere
                raise AccessFileError(f"{path} is gone: what it said holds until the server restarts")
        self.grants, self.permissions = self._read()
        return True

    def _read(self) -> tuple[Grants, Permissions]:
        return Grants() if self.tokens_path is None else read_grants(self.tokens_path), read_permissions(
            self.rights_path
        )

    def _read_stamps(self) -> FileStamps:
        return tuple(_stamp(path) for path in (self.tokens_path, self.rights_path))


class CredentialWatcher:
    """Keeps a gate and the members of a hub to what the files and the clock say."""

    def __init__(
        self, files: CredentialFiles, authenticator: Authenticator, on_change: Callable[[], None]
    ) -> None:
        self._files = files
        self._authenticator = authenticator
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)

    def reload(self) -> None:
        """On SIGHUP."""
        self._reload(forced=True)

    def close(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)
        self._reload(forced=False)

    def _reload(self, *, forced: bool) -> None:
        try:
            if self._files.reload(forced=forced):
                self._authenticator.grants, self._authenticator.permissions = (
                    self._files.grants,
                    self._files.permissions,
                )
                _log.info("tokens and rights were read again")
                self._on_change()
        except AccessFileError as error:
            _log.error("nothing was changed: %s", error)
        if any(grant.expires for grant in self._authenticator.grants.all):
            self._on_change()


def read_permissions(path: Path) -> Permissions:
    """What ``path`` grants; the default where there is no such file. Raises AccessFileError."""
    data = read_private(path, secret=False)
    try:
        return Permissions() if data is None else parse_permissions(data.decode())
    except UnicodeDecodeError:
        raise AccessFileError(f"{path}: not UTF-8 text") from None
    except AccessFileError as error:
        raise AccessFileError(f"{path}: {error}") from None


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
