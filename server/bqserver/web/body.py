"""A handler whose POST has a body: rejected by its type before it is read, and by its size before it is kept.

Counted are the bytes that came, not those announced, and a body must keep coming: a sender who stops holds little, and
not for long.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec
from tornado.web import stream_request_body

from bqserver.fairness.pace import PIECE_BYTES, PIECE_TIMEOUT, BodyClock
from bqwidget.protocol import NOT_JSON

from .context import AppContext
from .errors import ApiError
from .handler import Handler
from .requests import http1_connection, whole_number

DISCARD_LIMIT = 4 * 1024 * 1024
"""Bytes of a body that are read and dropped, so that its sender sees the 413; a longer one closes the connection."""
MAX_BODY_SECONDS = 24 * 3600.0
"""The clock ends a slow body; Tornado's own timeout would also end a long one."""

Body = TypeVar("Body")


@stream_request_body
class BodyHandler(Handler):
    """Reads the body in chunks; ``body()`` returns it."""

    _complete = False
    _clock: BodyClock | None = None
    _refusal: ApiError | None = None
    _size = _held = 0

    def initialize(self, context: AppContext) -> None:
        super().initialize(context)
        self._body = bytearray()
        if self.request.method == "POST":  # this class bounds the body itself, in bytes (413) and in time (408)
            connection = http1_connection(self.request)
            connection.set_max_body_size(sys.maxsize)
            connection.set_body_timeout(MAX_BODY_SECONDS)

    def prepare(self) -> Awaitable[None] | None:
        pending = super().prepare()
        if pending is not None:
            return self._check_later(pending)
        self._check()
        return None

    async def _check_later(self, pending: Awaitable[None]) -> None:
        await pending
        self._check()

    def _check(self) -> None:
        if self.request.method == "POST":
            self.check_headers()
            length = self.content_length() if "Content-Length" in self.request.headers else 0
            if length > self._max_read_bytes:
                raise self._too_big()
            if length > self._max_bytes:
                self._refusal = self._too_big()
            self._holder = self.member
            self._clock = BodyClock(self._on_late)
        self._complete = True  # Tornado calls the method only when it has read the whole body

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if not self._complete:
            self.set_header(
                "Connection", "close"
            )  # Tornado closes it, and the client should know before its next request
        super().write_error(status_code, **kwargs)

    def data_received(self, chunk: bytes) -> None:
        """Keep ``chunk``. A body that can't be accepted is read to its end, up to ``DISCARD_LIMIT``: a client that is
        still sending when the connection is closed never sees the answer.
        """
        if self._clock is None:
            return  # another method than POST does not use its body
        self._clock.received(len(chunk))
        self._size += len(chunk)
        if self._refusal is None:
            if self._size > self._max_bytes:
                self._refuse(self._too_big())
            elif not self.context.hub.shares.incoming.acquire(self._holder, len(chunk)):
                self._refuse(ApiError(503, "overload", "too much is being sent at once: try again", retry_after=2))
            else:
                self._held += len(chunk)
                self._body += chunk
        elif self._size > self._max_read_bytes:
            self._end_early(self._refusal)

    def body(self) -> bytes:
        """The whole body; to be called once. Raises ApiError: 413 if it is too long, 503 if it could not be kept."""
        if self._clock is not None:
            self._clock.stop()  # what follows is the server's own time
        if self._refusal is not None:
            raise self._refusal
        body = bytes(self._body)
        self._body.clear()
        return body

    def decoded_body(self, kind: type[Body]) -> Body:
        """``body``, which is JSON, as a ``kind``; an empty one is ``{}``. Raises ApiError."""
        try:
            return msgspec.json.decode(self.body() or b"{}", type=kind)
        except NOT_JSON as error:
            raise ApiError(400, "bad_json", f"the body is not understood: {error}") from None

    def on_finish(self) -> None:
        super().on_finish()
        self._stop_reading()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._stop_reading()

    def _on_late(self) -> None:
        self._end_early(
            ApiError(408, "too_slow", f"less than {PIECE_BYTES:,} bytes in {PIECE_TIMEOUT:g} s: send faster")
        )

    def _end_early(self, error: ApiError) -> None:
        """Answer before the end of the body, and close the connection."""
        self._complete = False
        self.send_error(error.status_code, exc_info=(ApiError, error, None))

    def _refuse(self, error: ApiError) -> None:
        """Drop what came, and what comes; ``body`` raises ``error``."""
        self._refusal = error
        self._release()

    def _stop_reading(self) -> None:
        if self._clock is not None:
            self._clock.stop()
        self._release()

    def _release(self) -> None:
        self._body.clear()
        if self._held:
            self.context.hub.shares.incoming.release(self._holder, self._held)
            self._held = 0

    def content_length(self) -> int:
        """From the headers. Raises ApiError if it is absent or not a number."""
        length = whole_number(self.request.headers.get("Content-Length", ""))
        if length is None:
            raise ApiError(400, "bad_length", "Content-Length must be there, and a number")
        return length

    def check_headers(self) -> None:
        """Raises ApiError if the headers show that the body should not be read."""
        self.check_json()

    @property
    def _max_bytes(self) -> int:
        return self.context.hub.limits.frame

    @property
    def _max_read_bytes(self) -> int:
        return DISCARD_LIMIT

    def _too_big(self) -> ApiError:
        return ApiError(413, "too_big", f"the body has more than {self._max_bytes:,} bytes: send less at once")
