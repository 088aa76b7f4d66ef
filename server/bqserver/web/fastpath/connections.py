"""The open connections of the HTTP server: how many there are, what each waits for, and which may be closed.

A descriptor is held by every connection, also by one that never sends a request. Connections that wait for a request
are closed when they are late, and the oldest of them when the server is full: members and requests stay.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import IntEnum
from time import monotonic
from typing import NamedTuple

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, SSLIOStream

HEAD_TIMEOUT = 10.0
"""Seconds in which a new connection must have sent the head of its first request, a TLS handshake included."""
SWEEP_INTERVAL = 1.0
EVICTED_SHARE = 16
"""When the server is full, a sixteenth of its connections is closed at once, so that finding them costs little."""
EVICTION_INTERVAL = 0.1
"""Seconds after a search that found too few connections until the next."""


class Phase(IntEnum):
    """What a connection waits for. Those with a lower phase are closed first; a BUSY one is not closed.

    HEAD: the head of its first request. IDLE: its next request. BODY: the next bytes of a request. BUSY: the server's
    answer, or it is a WebSocket.
    """

    HEAD = 0
    IDLE = 1
    BODY = 2
    BUSY = 3


class Refusal(NamedTuple):
    """Why a connection is not served: the answer's status, code and message."""

    status: int
    code: str
    message: str


class _Tracked(IOStream):
    """``phase`` since the time ``since`` (monotonic seconds). ``close_silent`` closes it while it waits for the client."""

    __slots__ = ("address", "close_silent", "on_closed", "phase", "since")  # a larger dict costs 2 kB a connection

    address: str
    phase: Phase
    since: float
    close_silent: Callable[[], None]
    on_closed: Callable[[_Tracked], None]

    def close_fd(self) -> None:
        super().close_fd()
        self.on_closed(self)


class TrackedStream(_Tracked):
    """A connection over TCP."""


class TrackedTLSStream(_Tracked, SSLIOStream):
    """A connection over TLS."""

    def close_fd(self) -> None:
        super().close_fd()
        # OpenSSL notes an error for each thread, and since its release 3.2 Python (issue 148594) takes one that a
        # connection left behind for an error of the next, which would be closed too. To name no cipher removes it.
        with suppress(ssl.SSLError):
            _no_connection.set_ciphers("none")


_no_connection = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


class OpenConnections:
    """``max_open``: connections in total; ``max_per_address``: from one address; 0 means no limit.

    ``idle_timeout``: seconds that one may be silent between two requests, or within a request; None: no limit.
    """

    def __init__(self, *, max_open: int = 0, max_per_address: int = 0, idle_timeout: float | None = None) -> None:
        self.max_open = max_open
        self.max_per_address = max_per_address
        self._idle_timeout = idle_timeout or math.inf
        self._streams: dict[_Tracked, None] = {}
        self._by_address: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
        self._next_eviction = 0.0

    def __len__(self) -> int:
        return len(self._streams)

    def make_room(self, address: str) -> Refusal | None:
        """Close silent connections if one more from ``address`` would be too many. Returns why it can't be served."""
        if self.max_per_address and self._by_address[address] >= self.max_per_address:
            self.evict([stream for stream in self._streams if stream.address == address], self.max_per_address)
            if self._by_address[address] >= self.max_per_address:
                message = f"your address already has {self.max_per_address:,} connections"
                return Refusal(429, "too_many_connections", message)
        if self.max_open and len(self._streams) >= self.max_open:
            self.evict(self._streams, self.max_open)
            if len(self._streams) >= self.max_open:
                return Refusal(503, "full", f"the server is full: it has {self.max_open:,} connections")
        return None

    def evict(self, streams: Iterable[_Tracked], limit: int) -> int:
        """Close those of ``streams`` that have waited longest, a share of ``limit``. Returns how many."""
        now, wanted = monotonic(), limit // EVICTED_SHARE + 1
        if now < self._next_eviction:
            return 0
        silent = [stream for stream in streams if stream.phase is not Phase.BUSY]
        if len(silent) < wanted:
            self._next_eviction = now + EVICTION_INTERVAL
        for stream in sorted(silent, key=_phase_and_age)[:wanted]:
            stream.close_silent()
        return min(len(silent), wanted)

    def evict_some(self) -> int:
        """Free descriptors: the process has none left. Returns how many."""
        return self.evict(self._streams, len(self._streams))

    def add(self, stream: TrackedStream | TrackedTLSStream, address: str) -> None:
        stream.address, stream.phase, stream.since = address, Phase.HEAD, monotonic()
        stream.close_silent = stream.close
        stream.on_closed = self._discard
        self._streams[stream] = None
        self._by_address[address] += 1
        if self._sweeping is None:
            self._sweep_later()

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _discard(self, stream: _Tracked) -> None:
        del self._streams[stream]
        self._by_address[stream.address] -= 1
        if not self._by_address[stream.address]:
            del self._by_address[stream.address]
        stream.close_silent = _ignore  # it may refer to the stream

    def _sweep_later(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP_INTERVAL, self._sweep)

    def _sweep(self) -> None:
        """Close the connections that are late."""
        self._sweeping = None
        now = monotonic()
        idle = now - self._idle_timeout
        latest = {Phase.HEAD: max(idle, now - HEAD_TIMEOUT), Phase.IDLE: idle, Phase.BODY: idle, Phase.BUSY: -math.inf}
        late = [stream for stream in self._streams if stream.since < latest[stream.phase]]
        for stream in late:
            stream.close_silent()
        if self._streams:
            self._sweep_later()


class PhaseDelegate(HTTPMessageDelegate):
    """Follows the phase of a connection while Tornado reads one request of it for ``inner``."""

    def __init__(self, stream: _Tracked, inner: HTTPMessageDelegate) -> None:
        self._stream = stream
        self._inner = inner
        if stream.phase is not Phase.HEAD:
            set_phase(stream, Phase.IDLE)

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> object:  # type: ignore[override]
        set_phase(self._stream, Phase.BODY)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> object:  # type: ignore[override]
        set_phase(self._stream, Phase.BODY)
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._stream.phase = Phase.BUSY
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


def set_phase(stream: _Tracked, phase: Phase) -> None:
    stream.phase, stream.since = phase, monotonic()


def _phase_and_age(stream: _Tracked) -> tuple[int, float]:
    return stream.phase, stream.since


def _ignore() -> None:
    pass
