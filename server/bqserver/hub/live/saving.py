"""Gives the log what live messages have become, joined."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from bqserver.model import Outcome, Rejected, Submission

from .content import grows
from .message import LiveMessage

SAVE_INTERVAL = 2.0
"""Seconds between two entries of a text that grows, and after its first piece."""
SAVE_REPLACED_INTERVAL = 30.0
"""The same for a text that was replaced, or a progress."""
GONE_CODES = ("not_found", "not_live")
"""Codes by which the log rejects what is written on a message that was removed or deleted."""
FINAL_SAVE_TIMEOUT = 5.0
"""Seconds for which the end of the server waits until the log has all texts."""

Submit = Callable[[Submission, Callable[[Outcome], None]], None]


class Saver:
    """``submit`` appends to the log. ``send`` passes on the pieces of a message that members have not been sent yet;
    ``forget``: it was removed.
    """

    def __init__(
        self, submit: Submit, send: Callable[[LiveMessage], None], forget: Callable[[LiveMessage], None]
    ) -> None:
        self._submit = submit
        self._send = send
        self._forget = forget
        self._loop = asyncio.get_running_loop()

    async def save_all(self, lives: Sequence[LiveMessage]) -> None:
        """Save now, and wait until it is stored."""
        pending = [self._loop.create_task(self._save_now(live)) for live in lives]
        if pending:
            await asyncio.wait(pending, timeout=FINAL_SAVE_TIMEOUT)

    async def _save_now(self, live: LiveMessage) -> None:
        if live.saving is not None:
            await asyncio.wait([live.saving])
        self._save(live)
        if live.saving is not None:
            await asyncio.wait([live.saving])

    def later(self, live: LiveMessage, seconds: float | None = None) -> None:
        """Save in ``seconds`` (None: SAVE_INTERVAL) what there is then, unless that is to be done already."""
        if live.save_timer is None:
            seconds = SAVE_INTERVAL if seconds is None else seconds
            live.save_timer = self._loop.call_later(seconds, self._save_if_due, live)

    def _save_if_due(self, live: LiveMessage) -> None:
        live.save_timer = None
        if live.ending or live.saving is not None:
            return
        wait = 0.0
        if not grows(live.submitted, live.newest):
            wait = live.saved_at + SAVE_REPLACED_INTERVAL - self._loop.time()
        if wait > 0:
            self.later(live, wait)
        else:
            self._save(live)

    def _save(self, live: LiveMessage) -> None:
        self._send(live)  # those who were sent all of it get the entry without its text
        draft = live.append_draft()
        if draft is not None and not live.ending:
            live.submitted, live.saved_at = live.newest, self._loop.time()
            live.saving = self._loop.create_future()
            self._submit(live.submission(draft), partial(self._on_saved, live))

    def _on_saved(self, live: LiveMessage, outcome: Outcome) -> None:
        saving, live.saving = live.saving, None
        if saving is not None:
            saving.set_result(None)
        live.submitted = live.saved
        if isinstance(outcome, Rejected) and outcome.code in GONE_CODES:
            self._forget(live)
        elif live.message.live and live.newest != live.saved:
            self.later(live)
