"""Configurable limits, shared by the ``bqserver`` command and the Jupyter extension."""

from __future__ import annotations

import time
from typing import Any

from traitlets import Float, Int, List, TraitError, Unicode
from traitlets.config import Configurable

from bqserver.auth.admission import ConnectionLimiter, LoginThrottle
from bqserver.hub.heartbeat import HEARTBEAT_INTERVAL
from bqserver.hub.reauthentication import REAUTHENTICATION_INTERVAL
from bqwidget.protocol import Limits

DEFAULT_LIMITS = Limits()
DEFAULT_RATE_LIMIT, DEFAULT_JOIN_LIMIT, DEFAULT_FAILURE_LIMIT, DEFAULT_MAX_PER_ADDRESS = 20, 100, 20, 1000
"""Default limits where unauthenticated clients can connect; elsewhere there are none."""
RESERVED_FILES = 64
"""Open files that are no sockets of clients: the log, attachments, their readers, the audit log, tokens, the page."""
MIN_REQUEST_SOCKETS = 36
"""Sockets for requests while there are as many members as may be."""


MAX_SECONDS = 1e9
MAX_COUNT = 2**53 - 1
"""The largest number that a page can read exactly."""


class Seconds(Float[float, float]):
    """A period of at most MAX_SECONDS. Python's floats also have ``nan`` and ``inf``, which no timer accepts."""

    def validate(self, obj: Any, value: Any) -> float:
        seconds = super().validate(obj, value)
        if not seconds <= MAX_SECONDS:
            raise TraitError(f"{self.name} is {seconds}: give a number of seconds up to {MAX_SECONDS:,.0f}")
        return float(seconds)


def _optional_limit(text: str) -> Int[int | None, int | None]:
    return Int(None, allow_none=True, min=0, max=MAX_COUNT, help=text).tag(config=True)


class LimitSettings(Configurable):
    """Mixin with the traits. The defaults of unset limits depend on ``is_exposed``."""

    text_limit = Int(DEFAULT_LIMITS.text, min=1, max=MAX_COUNT, help="Characters in a message.").tag(config=True)
    user_limit = Int(DEFAULT_LIMITS.user, min=1, max=MAX_COUNT, help="Characters in a name.").tag(config=True)
    frame_limit = Int(
        DEFAULT_LIMITS.frame,
        min=1024,
        max=MAX_COUNT,
        help="Bytes in a frame or a request's body; a text needs up to four per character.",
    ).tag(config=True)
    part_limit = Int(DEFAULT_LIMITS.part, min=0, max=MAX_COUNT, help="Bytes in an attachment; 0: no attachments.").tag(
        config=True
    )
    retain = List(
        Unicode(),
        help="With sqlite and nats: delete the oldest messages of some rooms, by age, size or both: 'class-*=30d', "
        "'logs-*=100MB' or '*=52w,1GB' (m, h, d, w; kB, MB, GB, TB). Repeatable; the first match applies.",
    ).tag(config=True)
    rate_limit = _optional_limit(
        "Messages per rate_seconds and principal; 0: no limit. Default: 20, none on loopback or inside Jupyter."
    )
    rate_seconds = Seconds(
        DEFAULT_LIMITS.rate_ms / 1000, min=0.1, help="Period over which rate_limit counts, in seconds."
    ).tag(config=True)
    join_limit = _optional_limit(
        "Joins per 10 s and member; 0: no limit. Default: 100, none on loopback or inside Jupyter."
    )
    failure_limit = _optional_limit(
        "Wrong tokens or invites per minute and address; 0: no limit. Default: 20, none on loopback or inside Jupyter."
    )
    max_connections = _optional_limit(
        "Connections at the same time; 0: no limit. Default: what the limit of open files allows."
    )
    max_connections_each = _optional_limit(
        "Connections at the same time from one address; 0: no limit. Default: 1000, none on loopback or inside Jupyter."
    )
    heartbeat = Seconds(
        HEARTBEAT_INTERVAL,
        min=0.01,
        help="Seconds between pings; a peer that is silent for two intervals is disconnected.",
    ).tag(config=True)
    buffer = Int(
        DEFAULT_LIMITS.buffer,
        min=1,
        max=MAX_COUNT,
        help="Bytes that may be buffered for a slow client before it is disconnected.",
    ).tag(config=True)

    recheck = Seconds(
        REAUTHENTICATION_INTERVAL,
        min=0.1,
        help="Seconds between two checks whether a member is still logged in to Jupyter or its Hub.",
    ).tag(config=True)

    def shared_settings(self) -> dict[str, object]:
        """The settings that the Jupyter extension and the local server both have: these, and the file of rights."""
        return {name: getattr(self, name) for name in (*LimitSettings.class_own_traits(config=True), "rights")}

    def is_exposed(self) -> bool:
        """Whether clients can connect that have no other access to this machine."""
        raise NotImplementedError

    def limits(self) -> Limits:
        return Limits(
            text=self.text_limit,
            user=self.user_limit,
            frame=self.frame_limit,
            rate=self._or_default(self.rate_limit, DEFAULT_RATE_LIMIT),
            rate_ms=int(self.rate_seconds * 1000),
            buffer=self.buffer,
            part=self.part_limit,
        )

    def connection_limiter(self) -> ConnectionLimiter:
        limit = self.max_connections
        return ConnectionLimiter(
            joins=self._or_default(self.join_limit, DEFAULT_JOIN_LIMIT),
            max_connections=max_open_connections() if limit is None else limit,
            max_per_address=self._or_default(self.max_connections_each, DEFAULT_MAX_PER_ADDRESS),
            clock=time.monotonic,
        )

    def max_sockets_per_address(self) -> int:
        """Sockets of one address, members' and requests': at most half of all, so that others can connect too."""
        limit = self._or_default(self.max_connections_each, DEFAULT_MAX_PER_ADDRESS)
        half = max_sockets() // 2 or limit
        return min(limit + MIN_REQUEST_SOCKETS, half) if limit else 0

    def login_throttle(self) -> LoginThrottle:
        failures = self._or_default(self.failure_limit, DEFAULT_FAILURE_LIMIT)
        return LoginThrottle(failures=failures, clock=time.monotonic)

    def _or_default(self, given: int | None, default: int) -> int:
        if given is not None:
            return given
        return default if self.is_exposed() else 0


def max_sockets() -> int:
    """How many sockets of clients the limit of open files allows; 0: no limit."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return 0
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if files == resource.RLIM_INFINITY else max(MIN_REQUEST_SOCKETS + 1, files - RESERVED_FILES)


def max_open_connections() -> int:
    """How many of these may be members; 0: no limit."""
    sockets = max_sockets()
    return sockets - MIN_REQUEST_SOCKETS if sockets else 0
