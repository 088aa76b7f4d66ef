"""The files of named tokens and of permissions, followed while the server runs, so that a revocation acts at once.

The files are checked once a second and on SIGHUP, each for itself: a typing error in one does not delay a revocation
in the other. A file that is lost or faulty changes nothing and is logged (``access_file``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bqserver.errors import AccessFileError

from .access_file import AccessFile, AccessFormat
from .authenticator import Authenticator
from .permissions import NarrowedPermissions, Permissions, parse_permissions
from .tokens import TOKENS, Grants

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the files and of the grants' expiry."""
SETTLING_INTERVAL = 0.25
"""Seconds that an edit which allows more must be unchanged before it is in effect: it may be half written."""

_log = logging.getLogger("bqserver.access")


def _parse_rights(data: bytes) -> Permissions:
    try:
        return parse_permissions(data.decode())
    except UnicodeDecodeError:
        raise AccessFileError("not UTF-8 text") from None


RIGHTS = AccessFormat("rights", _parse_rights, b"", secret=False, narrow=NarrowedPermissions)
"""The file of permissions."""


class CredentialFiles:
    """The contents of both files; either may be missing. ``tokens`` is None if Jupyter or its Hub authenticates members.

    ``names_rights``: the operator has named the file of rights, so that there must be one. Raises AccessFileError if
    one can't be used, and its last good state is not known.
    """

    def __init__(
        self, tokens: Path | None, rights: Path, *, names_rights: bool, spare_folder: Path | None = None
    ) -> None:
        self._tokens = None if tokens is None else AccessFile(tokens.expanduser(), TOKENS, spare_folder=spare_folder)
        self._rights = AccessFile(rights.expanduser(), RIGHTS, spare_folder=spare_folder)
        if names_rights and not self._rights.is_known:
            raise AccessFileError(
                f"the file of rights {rights} does not exist, and without it every room is open to all members: "
                "correct its name, or create it; it may be empty"
            )

    @property
    def grants(self) -> Grants:
        return Grants() if self._tokens is None else self._tokens.value

    @property
    def permissions(self) -> Permissions:
        return self._rights.value

    @property
    def settling(self) -> bool:
        return self._rights.settling

    def reload(self, *, forced: bool = False) -> bool:
        """Read the files that have changed, or if ``forced`` both. Returns whether other contents are in effect now."""
        tokens_changed = self._tokens is not None and self._tokens.check(forced=forced)
        return self._rights.check(forced=forced) or tokens_changed


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
        self._reload(forced=False)
        interval = SETTLING_INTERVAL if self._files.settling else CHECK_INTERVAL
        self._timer = self._loop.call_later(interval, self._check)

    def _reload(self, *, forced: bool) -> None:
        changed = self._files.reload(forced=forced)
        if changed:
            self._authenticator.grants = self._files.grants
            self._authenticator.permissions = self._files.permissions
            _log.info("tokens and rights were reloaded")
        if changed or any(grant.expires for grant in self._authenticator.grants.all):
            self._on_change()
