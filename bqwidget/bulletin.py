"""Bulletin: one message that is kept up to date by edits: few of them, the newest text wins, the last surely comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from .outbox import Delivery
from .protocol import Edit, Limits, Message
from .saying import Saying, Sending

PACE = 0.5
"""Seconds between two edits: at most two a second."""
SHARE = 0.5
"""Of what the server lets one member say, a bulletin takes no more than this."""


class Bulletin:
    """``text`` is asked on the room's thread, at the pace; nothing here blocks whoever makes progress.

    Offline, the first text waits in the queue like any message; what it has become meanwhile is one edit.
    """

    def __init__(self, room: Saying, text: Callable[[], str]) -> None:
        self._room = room
        self._text = text
        self._told = ""
        self._final: str | None = None
        self._seq: int | None = None
        self._flying = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._told = self._text()
        sending = self._room.send(self._told, wait=False)
        assert isinstance(sending, Sending)
        sending.add_done_callback(self._posted)

    def end(self, text: str) -> None:
        """The last word, told at once. Said again, it is corrected."""
        self._room._connection.call(self._finish, text)  # noqa: SLF001 - a part of the room

    # ---- on the room's thread ----

    def _posted(self, sending: Future[Message]) -> None:
        if sending.exception() is not None:
            return  # refused or closed: whoever makes progress need not care, and the window shows it
        self._seq = sending.result().seq
        if self._final is not None:
            self._edit(self._final)
        else:
            self._tick()

    def _tick(self) -> None:
        text = self._text()
        if text != self._told and not self._flying:
            self._edit(text)
        limits = self._room._connection.session.limits  # noqa: SLF001
        self._timer = asyncio.get_running_loop().call_later(pace(limits), self._tick)

    def _finish(self, text: str) -> None:
        self._final = text
        if self._timer is not None:
            self._timer.cancel()
        if self._seq is not None:
            self._edit(text)

    def _edit(self, text: str) -> None:
        assert self._seq is not None
        self._told, self._flying = text, True
        room = self._room
        draft = Edit(cid=room._cid(), user=room.user, target=self._seq, text=text)  # noqa: SLF001
        room._connection.submit(draft).add_done_callback(self._landed)  # noqa: SLF001

    def _landed(self, _: Future[Delivery]) -> None:
        self._flying = False


def pace(limits: Limits) -> float:
    """Seconds between two edits, where the server counts what a member says."""
    if not limits.rate:
        return PACE
    return max(PACE, limits.rate_ms / 1000 / limits.rate / SHARE)
