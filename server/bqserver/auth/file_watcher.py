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

from .authenticator import Gate
from .permissions import Rights, parse_rights
from .tokens import Grants, read_grants

LOOK = 1.0
"""Seconds between two looks at the files, and at what has expired."""

_log = logging.getLogger("bqserver.access")

Stamp = tuple[tuple[int, int, int] | None, ...]


class Access:
    """The two files as they are now; neither has to be there. Raises AccessFileError where one is wrong.

    ``tokens`` None: somebody else knows who is who.
    """

    def __init__(self, tokens: Path | None, rights: Path) -> None:
        self.tokens = tokens
        self.rights = rights
        self._stamp = self._look()
        self.grants_now, self.rights_now = self._read()

    def changed(self, *, forced: bool = False) -> bool:
        """Read them again if anything may be new. Raises AccessFileError, and keeps what was, where one is wrong."""
        stamp, before = self._look(), self._stamp
        if stamp == before and not forced:
            return False
        self._stamp = stamp
        for path, now, then in zip((self.tokens, self.rights), stamp, before, strict=True):
            if then is not None and now is None:  # else a file that is lost would let everyone in everywhere
                raise AccessFileError(f"{path} is gone: what it said holds until the server restarts")
        self.grants_now, self.rights_now = self._read()
        return True

    def _read(self) -> tuple[Grants, Rights]:
        return Grants() if self.tokens is None else read_grants(self.tokens), read_rights(self.rights)

    def _look(self) -> Stamp:
        return tuple(_stamp(path) for path in (self.tokens, self.rights))


class Warden:
    """Keeps a gate and the members of a hub to what the files and the clock say."""

    def __init__(self, access: Access, gate: Gate, on_change: Callable[[], None]) -> None:
        self._access = access
        self._gate = gate
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK, self._tick)

    def reload(self) -> None:
        """On SIGHUP."""
        self._follow(forced=True)

    def close(self) -> None:
        self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(LOOK, self._tick)
        self._follow(forced=False)

    def _follow(self, *, forced: bool) -> None:
        try:
            if self._access.changed(forced=forced):
                self._gate.grants, self._gate.rights = self._access.grants_now, self._access.rights_now
                _log.info("tokens and rights were read again")
                self._on_change()
        except AccessFileError as error:
            _log.error("nothing was changed: %s", error)
        if any(grant.expires for grant in self._gate.grants.all):
            self._on_change()


def read_rights(path: Path) -> Rights:
    """What ``path`` grants; the default where there is no such file. Raises AccessFileError."""
    data = read_private(path, secret=False)
    try:
        return Rights() if data is None else parse_rights(data.decode())
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
