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

from bqwidget._room.attachments import Attachment
from bqwidget.connection import Connection
from bqwidget.errors import BqwidgetError, MessageRefused
from bqwidget.protocol import Part

from .comm_server import Fetch, Put

PIECE = 256 * 1024
RATE, BURST = 500_000.0, 1_000_000.0
"""Bytes a second, and at once after a pause: Jupyter counts over three seconds, and messages need some too."""
KEPT = 32 * 1024 * 1024
"""Bytes of what was fetched that a window remembers, for its next piece and for its other browsers."""
UNFINISHED = 8
"""Uploads of one window on their way at once; the oldest is forgotten."""

Answer = Callable[[dict[str, Any], Sequence[bytes]], object]


class Pace:
    """How long the next bytes must wait so that no more than ``rate`` go a second, after a ``burst``."""

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self._rate = rate
        self._slack = burst / rate
        self._full_at = 0.0
        self._lock = threading.Lock()

    def wait(self, size: int, now: float) -> float:
        with self._lock:
            self._full_at = max(self._full_at, now - self._slack) + size / self._rate
            return max(0.0, self._full_at - now)


_pace = Pace()


class Carrier:
    """``answer(envelope, buffers)`` sends one piece, or says what became of one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fetched: OrderedDict[str, Future[bytes]] = OrderedDict()
        self._unfinished: OrderedDict[tuple[str, str], bytearray] = OrderedDict()

    # ---- to the window

    def fetch(self, command: Fetch, answer: Answer) -> None:
        asked = self._fetched.get(command.sha256)
        if asked is None or (asked.done() and asked.exception()):
            sha256 = command.sha256
            asked = self._fetched[sha256] = self._connection.request(lambda rest: rest.download(sha256))
        self._fetched.move_to_end(command.sha256)
        asked.add_done_callback(partial(self._piece, command, answer))

    def _piece(self, command: Fetch, answer: Answer, asked: Future[bytes]) -> None:
        to = {"to": command.client, "reply": command.k}
        try:
            data = asked.result()
        except BqwidgetError as error:
            answer({**to, "error": _error(error)}, ())
            return
        self._forget()
        piece = data[command.at : command.at + PIECE]
        envelope = {**to, "part": {"size": len(data), "at": command.at}}
        wait = _pace.wait(len(piece), time.monotonic())
        if wait and self._connection.close_error is None:
            asyncio.get_running_loop().call_later(wait, answer, envelope, (piece,))
        else:
            answer(envelope, (piece,))

    def _forget(self) -> None:
        """What is done and over ``KEPT``, the longest unused first."""
        here = {sha256: len(asked.result()) for sha256, asked in self._fetched.items() if _came(asked)}
        for sha256, size in list(here.items())[:-1]:
            if sum(here.values()) <= KEPT:
                return
            del self._fetched[sha256]
            here.pop(sha256, size)

    # ---- from the window

    def put(self, command: Put, answer: Answer) -> None:
        """One more piece; with the last, the whole goes to the server."""
        to = {"to": command.client, "reply": command.k}
        try:
            whole = self._gather(command)
        except BqwidgetError as error:
            answer({**to, "error": _error(error)}, ())
            return
        if whole is None:
            answer({**to, "stored": None}, ())
            return
        part = Part(mime=command.mime, sha256=hashlib.sha256(whole).hexdigest(), size=len(whole))
        stored = self._connection.request(lambda _: self._connection.upload(Attachment(part, whole)))
        stored.add_done_callback(partial(_stored, to, answer))

    def _gather(self, command: Put) -> bytes | None:
        """All of it, when it is there. Raises BqwidgetError where that can't be."""
        key, limit = (command.client, command.upload), self._connection.session.limits.part
        if command.size > limit:
            raise MessageRefused(
                "too_big", f"it has {command.size:,} bytes; the limit is {limit:,}: attach a smaller one"
            )
        if command.at == 0:
            self._unfinished[key] = bytearray()
            if len(self._unfinished) > UNFINISHED:
                self._unfinished.popitem(last=False)
        gathered = self._unfinished.get(key)
        if gathered is None or command.at != len(gathered) or command.at + len(command.data) > command.size:
            self._unfinished.pop(key, None)
            raise MessageRefused("lost", "a piece of it was lost on the way: attach it again")
        gathered += command.data
        if len(gathered) < command.size:
            return None
        return bytes(self._unfinished.pop(key))


def _stored(to: dict[str, Any], answer: Answer, stored: Future[Part]) -> None:
    try:
        answer({**to, "stored": msgspec.to_builtins(stored.result())}, ())
    except BqwidgetError as error:
        answer({**to, "error": _error(error)}, ())


def _came(asked: Future[bytes]) -> bool:
    return asked.done() and asked.exception() is None


def _error(error: BqwidgetError) -> dict[str, str]:
    return {"code": getattr(error, "code", None) or "unreachable", "message": str(error)}
