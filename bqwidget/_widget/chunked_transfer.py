"""Carrying: attachments between a window and the server, in pieces over the comm, for a browser may not reach
the server and holds no token.

Everything is called on the room's thread; only the ``Pace`` is shared by all windows of the process, as their
way to the browser is. Jupyter silently drops all output beyond a million bytes a second.
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

from .comm_server import DownloadCommand, UploadCommand

CHUNK_SIZE = 256 * 1024
BYTES_PER_SECOND, BURST_BYTES = 500_000.0, 1_000_000.0
"""Bytes a second, and at once after a pause: Jupyter counts over three seconds, and messages need some too."""
MAX_CACHED_BYTES = 32 * 1024 * 1024
"""Bytes of what was fetched that a window remembers, for its next piece and for its other browsers."""
MAX_UNFINISHED_UPLOADS = 8
"""Uploads of one window on their way at once; the oldest is forgotten."""

Reply = Callable[[dict[str, Any], Sequence[bytes]], object]


class TokenBucket:
    """How long the next bytes must wait so that no more than ``rate`` go a second, after a ``burst``."""

    def __init__(self, rate: float = BYTES_PER_SECOND, burst: float = BURST_BYTES) -> None:
        self._rate = rate
        self._slack = burst / rate
        self._full_at = 0.0
        self._lock = threading.Lock()

    def wait(self, size: int, now: float) -> float:
        with self._lock:
            self._full_at = max(self._full_at, now - self._slack) + size / self._rate
            return max(0.0, self._full_at - now)


_token_bucket = TokenBucket()


class ChunkedTransfer:
    """``answer(envelope, buffers)`` sends one piece, or says what became of one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._downloads: OrderedDict[str, Future[bytes]] = OrderedDict()
        self._uploads: OrderedDict[tuple[str, str], bytearray] = OrderedDict()

    # ---- to the window

    def download(self, command: DownloadCommand, answer: Reply) -> None:
        asked = self._downloads.get(command.sha256)
        if asked is None or (asked.done() and asked.exception()):
            sha256 = command.sha256
            asked = self._downloads[sha256] = self._connection.request(lambda rest: rest.download(sha256))
        self._downloads.move_to_end(command.sha256)
        asked.add_done_callback(partial(self._send_chunk, command, answer))

    def _send_chunk(self, command: DownloadCommand, answer: Reply, asked: Future[bytes]) -> None:
        to = {"to": command.client, "reply": command.k}
        try:
            data = asked.result()
        except BqwidgetError as error:
            answer({**to, "error": _error(error)}, ())
            return
        self._trim_cache()
        piece = data[command.at : command.at + CHUNK_SIZE]
        envelope = {**to, "part": {"size": len(data), "at": command.at}}
        wait = _token_bucket.wait(len(piece), time.monotonic())
        if wait and self._connection.close_error is None:
            asyncio.get_running_loop().call_later(wait, answer, envelope, (piece,))
        else:
            answer(envelope, (piece,))

    def _trim_cache(self) -> None:
        """What is done and over ``KEPT``, the longest unused first."""
        here = {sha256: len(asked.result()) for sha256, asked in self._downloads.items() if _succeeded(asked)}
        for sha256, size in list(here.items())[:-1]:
            if sum(here.values()) <= MAX_CACHED_BYTES:
                return
            del self._downloads[sha256]
            here.pop(sha256, size)

    # ---- from the window

    def upload(self, command: UploadCommand, answer: Reply) -> None:
        """One more piece; with the last, the whole goes to the server."""
        to = {"to": command.client, "reply": command.k}
        try:
            whole = self._add_chunk(command)
        except BqwidgetError as error:
            answer({**to, "error": _error(error)}, ())
            return
        if whole is None:
            answer({**to, "stored": None}, ())
            return
        part = Part(mime=command.mime, sha256=hashlib.sha256(whole).hexdigest(), size=len(whole))
        stored = self._connection.request(lambda _: self._connection.requests.upload(Attachment(part, whole)))
        stored.add_done_callback(partial(_reply_stored, to, answer))

    def _add_chunk(self, command: UploadCommand) -> bytes | None:
        """All of it, when it is there. Raises BqwidgetError where that can't be."""
        key, limit = (command.client, command.upload), self._connection.session.limits.part
        if command.size > limit:
            raise MessageRefused(
                "too_big", f"it has {command.size:,} bytes; the limit is {limit:,}: attach a smaller one"
            )
        if command.at == 0:
            self._uploads[key] = bytearray()
            if len(self._uploads) > MAX_UNFINISHED_UPLOADS:
                self._uploads.popitem(last=False)
        gathered = self._uploads.get(key)
        if gathered is None or command.at != len(gathered) or command.at + len(command.data) > command.size:
            self._uploads.pop(key, None)
            raise MessageRefused("lost", "a piece of it was lost on the way: attach it again")
        gathered += command.data
        if len(gathered) < command.size:
            return None
        return bytes(self._uploads.pop(key))


def _reply_stored(to: dict[str, Any], answer: Reply, stored: Future[Part]) -> None:
    try:
        answer({**to, "stored": msgspec.to_builtins(stored.result())}, ())
    except BqwidgetError as error:
        answer({**to, "error": _error(error)}, ())


def _succeeded(asked: Future[bytes]) -> bool:
    return asked.done() and asked.exception() is None


def _error(error: BqwidgetError) -> dict[str, str]:
    return {"code": getattr(error, "code", None) or "unreachable", "message": str(error)}
