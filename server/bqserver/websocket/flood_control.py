"""Slows a connection down that sends more frames than a member needs, and tells when to close it."""

from __future__ import annotations

FRAMES_PER_SECOND = 100
BURST_FRAMES = 1_000
MAX_THROTTLED_SECONDS = 10.0
"""How long a connection may exceed the rate without a pause before it is closed (4029)."""
BYTES_PER_FRAME = 1024
"""Bytes of a message that count as one more frame."""
UNSTORED_PER_FRAME = 10
"""Messages that the log rejects, or has already, count as one frame: after a reconnect many may be sent again."""


class FloodControl:
    """A token bucket over everything that one connection sends, except messages that were accepted.

    Those have a rate limit of their own, or none on loopback. Counted are control frames, fragments, echoes,
    ``chat.ping``, ``chat.typing``, rejected and repeated messages, longer ones as several; pieces of live messages by
    their bytes. The clock is passed in, in seconds.
    """

    __slots__ = ("_at", "_throttled_since", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens = float(BURST_FRAMES)
        self._at = now
        self._throttled_since: float | None = None

    def count(self, frames: float, now: float) -> float:
        """Count ``frames``. Returns the seconds to wait before the connection is read again; 0.0: none."""
        self._tokens = min(BURST_FRAMES, self._tokens + (now - self._at) * FRAMES_PER_SECOND) - frames
        self._at = now
        if self._tokens >= 0:
            if self._tokens > FRAMES_PER_SECOND:  # a second without excess ends the throttling
                self._throttled_since = None
            return 0.0
        if self._throttled_since is None:
            self._throttled_since = now
        return -self._tokens / FRAMES_PER_SECOND

    def is_flood(self, now: float) -> bool:
        """Whether the connection has exceeded the rate for too long."""
        return self._throttled_since is not None and now - self._throttled_since > MAX_THROTTLED_SECONDS
