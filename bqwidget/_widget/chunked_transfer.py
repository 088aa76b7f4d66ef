"""Transfers attachments between a window and the server, in chunks over the comm.

A browser may not be able to reach the server, and it has no token. All methods run on the rooms' thread. The
``TokenBucket`` is shared by all windows of the process, like their connection to the browser: Jupyter silently drops
output beyond 1,000,000 bytes per second.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec

from bqwidget._client.http_client import Attachment
from bqwidget.connection import Connection
from bqwidget.errors import BqwidgetError, MessageRefused
from bqwidget.protocol import Part

from .commands import DownloadCommand, UploadCommand

CHUNK_SIZE = 256 * 1024
"""Bytes."""
BYTES_PER_SECOND, BURST_BYTES = 500_000.0, 1_000_000.0
"""The rate, and the burst after a pause: Jupyter averages over three seconds, and messages need a share."""
MAX_CACHED_BYTES = 32 * 1024 * 1024
"""Bytes of downloaded attachments that a window keeps, for their next chunks and for its other browsers."""
MAX_UNFINISHED_UPLOADS = 8
"""Uploads in progress in one window; the oldest is dropped."""

Reply = Callable[[dict[str, Any], Sequence[bytes]], object]


class TokenBucket:
    """Limits a rate to BYTES_PER_SECOND, after a burst of BURST_BYTES."""

    def __init__(self) -> None:
        self._full_at = 0.0
        self._lock = threading.Lock()

    def wait(self, size: int, now: float) -> float:
        """Seconds to wait before sending ``size`` bytes, at the time ``now`` in seconds."""
        with self._lock:
            self._full_at = max(self._full_at, now - BURST_BYTES / BYTES_PER_SECOND) + size / BYTES_PER_SECOND
            return max(0.0, self._full_at - now)


_token_bucket = TokenBucket()


class ChunkedTransfer:
    """``answer(envelope, buffers)`` sends a chunk to the browser, or the result of an upload."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._downloads: OrderedDict[str, Future[bytes]] = OrderedDict()
        self._uploads: OrderedDict[tuple[str, str], bytearray] = OrderedDict()

    # ---- to the window

    def download(self, command: DownloadCommand, answer: Reply) -> None:
        download = self._downloads.get(command.sha256)
        if download is None or (download.done() and download.exception()):
            sha256 = command.sha256
            download = self._downloads[sha256] = self._connection.request(lambda http: http.download(sha256))
        self._downloads.move_to_end(command.sha256)
        download.add_done_callback(partial(self._send_chunk, command, answer))

    def _send_chunk(self, command: DownloadCommand, answer: Reply, download: Future[bytes]) -> None:
        to = {"to": command.client, "reply": command.k}
        try:
            data = download.result()
        except BqwidgetError as error:
            answer({**to, "error": _error(error)}, ())
            return
        self._trim_cache()
        chunk = data[command.at : command.at + CHUNK_SIZE]
        envelope = {**to, "part": {"size": len(data), "at": command.at}}
        wait = _token_bucket.wait(len(chunk), time.monotonic())
        if wait and self._connection.close_error is None:
            asyncio.get_running_loop().call_later(wait, answer, envelope, (chunk,))
        else:
            answer(envelope, (chunk,))

    def _trim_cache(self) -> None:
        """Drop the least recently used downloads above MAX_CACHED_BYTES."""
        done = {sha256: future for sha256, future in self._downloads.items() if _succeeded(future)}
        sizes = {sha256: len(future.result()) for sha256, future in done.items()}
        for sha256, size in list(sizes.items())[:-1]:
            if sum(sizes.values()) <= MAX_CACHED_BYTES:
                return
            del self._downloads[sha256]
            sizes.pop(sha256, size)

    # ---- from the window

    def upload(self, command: UploadCommand, answer: Reply) -> None:
        """Add one chunk; after the last one, upload the attachment to the server."""
        to = {"to": command.client, "reply": command.k}
        try:
            data = self._add_chunk(command)
        except BqwidgetError as error:
            answer({**to, "error": _error(error)}, ())
            return
        if data is None:
            answer({**to, "stored": None}, ())
            return
        part = Part(mime=command.mime, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        stored = self._connection.request(lambda _: self._connection.requests.upload(Attachment(part, data)))
        stored.add_done_callback(partial(_reply_stored, to, answer))

    def _add_chunk(self, command: UploadCommand) -> bytes | None:
        """The attachment if it is complete, else None. Raises MessageRefused if it is too large or a chunk is missing."""
        key, limit = (command.client, command.upload), self._connection.session.limits.part
        if command.size > limit:
            raise MessageRefused("too_big", f"{command.size:,} bytes; the limit is {limit:,}: attach a smaller file")
        if command.at == 0:
            self._uploads[key] = bytearray()
            if len(self._uploads) > MAX_UNFINISHED_UPLOADS:
                self._uploads.popitem(last=False)
        received = self._uploads.get(key)
        if received is None or command.at != len(received) or command.at + len(command.data) > command.size:
            self._uploads.pop(key, None)
            raise MessageRefused("lost", "part of the attachment was lost: attach it again")
        received += command.data
        if len(received) < command.size:
            return None
        return bytes(self._uploads.pop(key))


def _reply_stored(to: dict[str, Any], answer: Reply, stored: Future[Part]) -> None:
    try:
        answer({**to, "stored": msgspec.to_builtins(stored.result())}, ())
    except BqwidgetError as error:
        answer({**to, "error": _error(error)}, ())


def _succeeded(download: Future[bytes]) -> bool:
    return download.done() and download.exception() is None


def _error(error: BqwidgetError) -> dict[str, str]:
    return {"code": getattr(error, "code", None) or "unreachable", "message": str(error)}
