"""StatusMessage: one message that is kept up to date by throttled edits; the last edit is always sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from bqwidget._client.outbox import Delivery
from bqwidget.protocol import Edit, Hello, Limits, Message

from .sending import Sending, SendMixin

MIN_EDIT_INTERVAL, MAX_EDIT_INTERVAL = 0.5, 5.0
"""Seconds between two edits: at most two per second at first, fewer as the message gets older, because the log
keeps every edit: a day of progress is 17,000 edits instead of 170,000."""
AGE_PER_INTERVAL_SECOND = 60
"""Seconds of age for each second between edits."""
MAX_RATE_SHARE = 0.5
"""The share of the server's rate limit that one status message may use."""


class StatusMessage:
    """Calls ``text()`` on the room's thread for each edit, if ``state()`` has changed. Never blocks the caller.

    ``will()``: the last text if this process ends without ``finish``; the server writes it. Offline, the first text is queued like any message, and everything since then is one edit.
    """

    def __init__(
        self, room: SendMixin, text: Callable[[], str], will: Callable[[], str], state: Callable[[], object]
    ) -> None:
        self._room = room
        self._text = text
        self._will = will
        self._state = state
        self._sent_state: object = None
        self._hello: Hello | None = None
        """Of the join after which it was sent last: a server that has started again does not know the will."""
        self._started_at = 0.0
        self._final: str | None = None
        self._seq: int | None = None
        self._in_flight = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._sent_state = self._state()
        room = self._room
        draft = msgspec.structs.replace(room._draft(self._text()), will=self._will())  # noqa: SLF001
        sending = room._send_draft(draft, wait=False, timeout=None)  # noqa: SLF001
        assert isinstance(sending, Sending)
        sending.add_done_callback(self._on_sent)

    def finish(self, text: str) -> None:
        """Send the final text now. Calling it again corrects the text."""
        self._room._connection.call_soon(self._finish, text)  # noqa: SLF001 - part of the room

    # ---- on the room's thread ----

    def _on_sent(self, sending: Future[Message]) -> None:
        if sending.exception() is not None:
            return  # refused or closed: progress goes on, and the window shows the error
        self._seq = sending.result().seq
        if self._final is not None:
            self._edit(self._final)
        else:
            self._started_at = asyncio.get_running_loop().time()
            self._hello = self._room._connection.session.hello  # noqa: SLF001
            self._edit_if_changed()

    def _edit_if_changed(self) -> None:
        loop, state = asyncio.get_running_loop(), self._state()
        hello = self._room._connection.session.hello  # noqa: SLF001
        if (state != self._sent_state or hello is not self._hello) and not self._in_flight:
            self._sent_state, self._hello = state, hello
            self._edit(self._text(), self._will())
        limits = self._room._connection.session.limits  # noqa: SLF001
        interval = edit_interval(limits, loop.time() - self._started_at)
        self._timer = loop.call_later(interval, self._edit_if_changed)

    def _finish(self, text: str) -> None:
        self._final = text
        if self._timer is not None:
            self._timer.cancel()
        if self._seq is not None:
            self._edit(text)

    def _edit(self, text: str, will: str | None = None) -> None:
        assert self._seq is not None
        self._in_flight = True
        room = self._room
        draft = Edit(cid=room._new_cid(), user=room.user, target=self._seq, text=text, will=will)  # noqa: SLF001
        room._connection.submit(draft).add_done_callback(self._on_edit_done)  # noqa: SLF001

    def _on_edit_done(self, _: Future[Delivery]) -> None:
        self._in_flight = False


def edit_interval(limits: Limits, age: float) -> float:
    """Seconds until the next edit, ``age`` seconds after the first; longer if the server limits the rate."""
    allowed = limits.rate_ms / 1000 / limits.rate / MAX_RATE_SHARE if limits.rate else 0.0
    return max(MIN_EDIT_INTERVAL, min(age / AGE_PER_INTERVAL_SECOND, MAX_EDIT_INTERVAL), allowed)
