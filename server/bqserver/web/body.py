"""A handler with a JSON body, refused by its type before it is read, and by its size before it is kept."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from tornado.web import stream_request_body

from .handler import ApiError, Handler, whole_number

DISCARD_LIMIT = 4 * 1024 * 1024
"""Bytes of a body that are read and dropped, so that its sender sees the 413; more shuts the connection."""


@stream_request_body
class JSONHandler(Handler):
    """Reads the body piece by piece; ``body`` gives it."""

    _whole = False

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
            self.check_kind()
            if "Content-Length" in self.request.headers and self.length() > self._most_read:
                raise self._too_big()
        self._whole = True  # Tornado reads it to its end before the method is called

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if not self._whole:
            self.set_header(
                "Connection", "close"
            )  # Tornado will, and a client should know before its next request
        super().write_error(status_code, **kwargs)

    def data_received(self, chunk: bytes) -> None:
        """Too much is read to its end all the same, up to ``READ_ON``: a client that is still sending when the
        connection is shut never sees why.
        """
        self._size += len(chunk)
        if self._size > self._most_read:
            self._whole = False
            raise self._too_big()
        if self._size <= self._most:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def body(self) -> bytes:
        """All of it. Raises Failure (413) where that is more than a frame may have."""
        if self._size > self._most:
            raise self._too_big()
        return b"".join(self._chunks)

    def length(self) -> int:
        """As the headers tell. Raises Failure where they tell no number."""
        told = whole_number(self.request.headers.get("Content-Length", ""))
        if told is None:
            raise ApiError(400, "bad_length", "Content-Length must be there, and a number")
        return told

    def check_kind(self) -> None:
        """Raises Failure unless the headers say that it may be read."""
        self.check_json()

    @property
    def _most(self) -> int:
        return self.service.hub.limits.frame

    @property
    def _most_read(self) -> int:
        return DISCARD_LIMIT

    def _too_big(self) -> ApiError:
        return ApiError(413, "too_big", f"the body has more than {self._most:,} bytes: send less at once")
