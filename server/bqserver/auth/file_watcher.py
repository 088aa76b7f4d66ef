"""The files of named tokens and of permissions, followed while the server runs, so that a revocation acts at once.

The files are checked once a second and on SIGHUP. A faulty file changes nothing and is logged: a typing error must
neither admit everyone nor lock everyone out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bqserver.errors import AccessFileError
from bqserver.files import FileStamp, file_stamp, read_private

from .authenticator import Authenticator
from .permissions import Permissions, parse_permissions
from .tokens import Grants, read_grants

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the files and of the grants' expiry."""

_log = logging.getLogger("bqserver.access")


class CredentialFiles:
    """The contents of both files; either may be missing. Raises AccessFileError if one is faulty.

    ``tokens`` is None if Jupyter or its Hub authenticates members.
    """

    def __init__(self, tokens: Path | None, rights: Path) -> None:
        self._tokens = tokens
        self._rights = rights
        self._stamps = self._read_stamps()
        self.grants, self.permissions = self._read()

    def reload(self, *, forced: bool = False) -> bool:
        """Read the files if one has changed, or if ``forced``. Returns whether they were read.

        Raises AccessFileError and keeps the former contents if a file is faulty or was deleted.
        """
        stamps, before = self._read_stamps(), self._stamps
        if stamps == before and not forced:
            return False
        self._stamps = stamps
        for path, new, old in zip((self._tokens, self._rights), stamps, before, strict=True):
            if old is not None and new is None:  # else losing a file would open every room to everyone
                raise AccessFileError(f"{path} is missing: its former contents apply until the server restarts")
        self.grants, self.permissions = self._read()
        return True

    def _read(self) -> tuple[Grants, Permissions]:
        return Grants() if self._tokens is None else read_grants(self._tokens), read_permissions(self._rights)

    def _read_stamps(self) -> list[FileStamp | None]:
        return [file_stamp(self._tokens) if self._tokens else None, file_stamp(self._rights)]


class CredentialWatcher:
    """Updates ``authenticator`` when a file changes, and calls ``on_change`` then and while grants can expire."""

    def __init__(self, files: CredentialFiles, authenticator: Authenticator, on_change: Callable[[], None]) -> None:
        self._files = files
        self._authenticator = authenticator
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)

    def reload(self) -> None:
        """Read the files now, changed or not (on SIGHUP)."""
        self._reload(forced=True)

    def close(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)
        self._reload(forced=False)

    def _reload(self, *, forced: bool) -> None:
        try:
            if self._files.reload(forced=forced):
                self._authenticator.grants = self._files.grants
                self._authenticator.permissions = self._files.permissions
                _log.info("tokens and rights were reloaded")
                self._on_change()
        except AccessFileError as error:
            _log.error("tokens and rights stay as they were: %s", error)
        if any(grant.expires for grant in self._authenticator.grants.all):
            self._on_change()


def read_permissions(path: Path) -> Permissions:
    """The permissions in ``path``; the default if it does not exist. Raises AccessFileError."""
    data = read_private(path, secret=False)
    try:
        return Permissions() if data is None else parse_permissions(data.decode())
    except UnicodeDecodeError:
        raise AccessFileError(f"{path}: not UTF-8 text") from None
    except AccessFileError as error:
        raise AccessFileError(f"{path}: {error}") from None
