"""The audit log (one JSON line per event) and the counters of /metrics.

A line has who did what, where, and the result; never message texts, tokens or query strings. Refusals can be caused
as often as a client likes, so those of one member or address for one reason are counted, and written once a minute.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler

import msgspec

from bqserver.auth.identity import Identity
from bqserver.errors import StartError
from bqserver.files import open_private, user_path
from bqserver.repeats import Repeats

_log = logging.getLogger("bqserver.audit")


@dataclass(slots=True)
class Counters:
    """``requests``: HTTP responses by status. ``rejections``: error frames and responses by error code."""

    requests: Counter[int] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    joins: int = 0
    entries: int = 0
    deliveries: int = 0


class AuditLog:
    """``path`` None: only counters; ``-``: standard error. Raises StartError if the file can't be written.

    Later write errors are logged and do not stop the server. A file that was renamed or deleted is created again.
    """

    def __init__(self, path: str | None = None) -> None:
        self.counters = Counters()
        self._handler: logging.Handler | None = None
        self._repeats: Repeats[dict[str, object]] = Repeats(self._summarise, combine=_common_facts)
        if path == "-":
            self._handler = logging.StreamHandler()
        elif path is not None:
            try:
                self._handler = _FileHandler(user_path(path), encoding="utf-8")
            except OSError as error:
                raise StartError(f"the audit log {path} can't be written: {error.strerror}") from error

    @property
    def enabled(self) -> bool:
        """Whether events are written, so that callers can skip collecting the facts."""
        return self._handler is not None

    def record(
        self,
        what: str,
        identity: Identity,
        *,
        room: str | None = None,
        address: str | None = None,
        claimed_name: str | None = None,
        repeated: str | None = None,
        **facts: str | float | None,
    ) -> None:
        """Write one line. ``claimed_name``: the self-asserted name, used if ``identity`` has no verified one.

        ``repeated``: the kind of an event that a client can cause at will. Of one kind, and of one member, or address
        where the member is not verified, the first is written, and then once a minute how many there were, with
        the facts that are the same for all of them.
        """
        if self._handler is None:
            return
        line: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "what": what,
            "who": identity.principal,
            "says": None if identity.principal else claimed_name,
            "token": identity.grant.id if identity.grant else None,
            "room": room,
            "address": address,
            **facts,
        }
        known = {name: value for name, value in line.items() if value is not None}
        if repeated is None or self._repeats.first((repeated, identity.principal or address), known):
            self._write(known)

    def reopen(self) -> None:
        """Create the file now if it was rotated away; otherwise the next line does."""
        if isinstance(self._handler, _FileHandler):
            with suppress(OSError):  # the next line reports it
                self._handler.reopenIfNeeded()

    def close(self) -> None:
        if self._handler is not None:
            self._repeats.close()
            self._handler.close()
        self._handler = None

    def _summarise(self, line: dict[str, object], repeats: int) -> None:
        self._write({**line, "repeats": repeats})

    def _write(self, line: dict[str, object]) -> None:
        if self._handler is not None:
            self._handler.handle(logging.makeLogRecord({"msg": msgspec.json.encode(line).decode()}))


def _common_facts(earlier: dict[str, object], later: dict[str, object]) -> dict[str, object]:
    """``later`` without the facts that differ: no room if there were two."""
    return {name: value for name, value in later.items() if name in {"at", "what"} or earlier.get(name) == value}


class _FileHandler(WatchedFileHandler):
    """Creates files with mode 0600, and logs the first of several errors instead of raising or printing them."""

    _failed = False
    _error: BaseException | None = None

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=open_private)

    def emit(self, record: logging.LogRecord) -> None:
        self._failed, failed_before = False, self._failed
        try:
            super().emit(record)
        except OSError:  # while opening the file; errors of writing are passed to handleError
            self.handleError(record)
        if self._failed and not failed_before:
            _log.error("the audit log can't be written: %s", self._error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in logging
        del record
        self._failed, self._error = True, sys.exc_info()[1]
        stream, self.stream = self.stream, None  # the next line opens the file again
        if stream is not None:
            with suppress(OSError):
                stream.close()
