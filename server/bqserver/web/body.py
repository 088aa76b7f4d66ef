"""A handler whose POST has a body: rejected by its type before it is read, and by its size before it is kept."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import Any

from tornado.web import stream_request_body

from .context import AppContext
from .errors import ApiError
from .handler import Handler
from .requests import http1_connection, whole_number

DISCARD_LIMIT = 4 * 1024 * 1024
"""Bytes of a body that are read and dropped, so that its sender sees the 413; a longer one closes the connection."""


@stream_request_body
class BodyHandler(Handler):
    """Reads the body in chunks; ``body()`` returns it."""

    _complete = False

    def initialize(self, context: AppContext) -> None:
        super().initialize(context)
        if self.request.method == "POST":  # this class bounds the body itself, and answers 413
            http1_connection(self.request).set_max_body_size(sys.maxsize)

    def prepare(self) -> Awaitable[None] | None:
        self._chunks: list[bytes] = []
        self._size = 0
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
            if "Content-Length" in self.request.headers and self.content_length() > self._max_read_bytes:
                raise self._too_big()
        self._complete = True  # Tornado calls the method only when it has read the whole body

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if not self._complete:
            self.set_header(
                "Connection", "close"
            )  # Tornado closes it, and the client should know before its next request
        super().write_error(status_code, **kwargs)

    def data_received(self, chunk: bytes) -> None:
        """Read a body that is too long to its end, up to ``DISCARD_LIMIT``: a client that is still sending when the
        connection is closed never sees the answer.
        """
        self._size += len(chunk)
        if self._size > self._max_read_bytes:
            self._complete = False
            raise self._too_big()
        if self._size <= self._max_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def body(self) -> bytes:
        """The whole body. Raises ApiError (413) if it is longer than a frame may be."""
        if self._size > self._max_bytes:
            raise self._too_big()
        return b"".join(self._chunks)

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
