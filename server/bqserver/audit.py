"""What happened: counted for the metrics and, where it is wanted, written down, one JSON line each.

Who did what, where, and what became of it; never what was said, no token, and no query string.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from bqserver.auth.identity import Identity
from bqserver.errors import StartError

_log = logging.getLogger("bqserver.audit")


class AuditLog:
    """``path`` None: only counted; ``-``: on standard error. Raises StartError where the file can't be written."""

    def __init__(self, path: str | None = None) -> None:
        self.requests: Counter[int] = Counter()
        """HTTP answers by status."""
        self.refused: Counter[str] = Counter()
        """Frames and requests by the code of the error they were answered with."""
        self.joins = 0
        self.entries = 0
        self.deliveries = 0
        self._path = path
        self._file = self._open()

    @property
    def enabled(self) -> bool:
        """Whether it is worth putting a line together."""
        return self._file is not None

    def record(
        self,
        what: str,
        identity: Identity,
        *,
        room: str | None = None,
        address: str | None = None,
        claimed_name: str | None = None,
        **facts: str | float | None,
    ) -> None:
        """``says``: the name somebody goes by that nobody has verified."""
        if self._file is None:
            return
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "what": what,
            "who": identity.principal,
            "says": None if identity.principal else claimed_name,
            "token": identity.grant.id if identity.grant else None,
            "room": room,
            "address": address,
            **facts,
        }
        told = {name: value for name, value in line.items() if value is not None}
        try:
            self._file.write(msgspec.json.encode(told).decode() + "\n")
        except (OSError, ValueError) as error:
            _log.error("the audit log can't be written: %s", error)

    def reopen(self) -> None:
        """On SIGHUP: the file may have been rotated away."""
        self.close()
        self._file = self._open()

    def close(self) -> None:
        if self._file is not None and self._file is not sys.stderr:
            self._file.close()
        self._file = None

    def _open(self) -> IO[str] | None:
        if self._path is None:
            return None
        if self._path == "-":
            return sys.stderr
        path = Path(self._path).expanduser()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise StartError(f"the audit log {path} can't be written: {error.strerror}") from error
        return os.fdopen(descriptor, "a", buffering=1, encoding="utf-8")
