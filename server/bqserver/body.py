"""A handler with a JSON body, refused by its type and size before it is read."""

from __future__ import annotations

from collections.abc import Awaitable

from tornado.web import stream_request_body

from .base import Failure, Handler


@stream_request_body
class Body(Handler):
    """A handler with a JSON body, refused by its size before it is read."""

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
            self.check_json()
            self._grow(int(self.request.headers.get("Content-Length", 0)))
            self._size = 0

    def data_received(self, chunk: bytes) -> None:
        self._grow(len(chunk))
        self._chunks.append(chunk)

    def body(self) -> bytes:
        return b"".join(self._chunks)

    def _grow(self, size: int) -> None:
        self._size += size
        most = self.service.hub.limits.frame
        if self._size > most:
            raise Failure(413, "too_big", f"the body has more than {most:,} bytes: send less at once")
