"""ProgressMessage: one live message that shows how far some work is. The last text always arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bqwidget._client.live.drafts import LiveDraft
from bqwidget._client.outbox import Delivery
from bqwidget.errors import MessageRefused
from bqwidget.protocol import Edit, Ending, Progress, visible

if TYPE_CHECKING:
    from bqwidget._room.sending import SendMixin

UPDATE_INTERVAL = 0.5
"""Seconds between two updates. They are not in the log, which gets the newest state at most once in 30 s."""


class State(NamedTuple):
    """What others see. ``fraction``, ``left_ms``: as in ``Progress``."""

    text: str
    fraction: float | None
    left_ms: int | None = None

    @property
    def progress(self) -> Progress:
        return Progress(fraction=self.fraction, left_ms=self.left_ms)


class ProgressMessage:
    """Calls ``state()`` on the rooms' thread for each update, if ``key()`` has changed. Never blocks the caller.

    ``stoppable``: whether windows offer to stop it.

    Offline, only the newest state is kept. If the server has ended the message, because this member was away for too
    long, another one goes on.
    """

    def __init__(
        self, room: SendMixin, state: Callable[[], State], key: Callable[[], object], *, stoppable: bool = True
    ) -> None:
        self._room = room
        self._stoppable = stoppable
        self._state = state
        self._key = key
        self._draft: LiveDraft | None = None
        self._sent_key: object = None
        self._timer: asyncio.TimerHandle | None = None
        self._result: tuple[State, Ending] | None = None
        self._has_ended = False

    @property
    def stopped_by(self) -> str | None:
        """Who asked to stop."""
        return None if self._draft is None else self._draft.stopped_by

    def start(self) -> None:
        self._open(self._current())
        self._room._connection.call_soon(self._update)  # noqa: SLF001 - part of the room

    def finish(self, state: State, ending: Ending, *, when: Callable[[], bool] | None = None) -> None:
        """End with ``state``. With ``when``: as soon as it returns True, unless this is called again until then.

        Later calls correct the text.
        """
        self._result = state, ending
        connection = self._room._connection  # noqa: SLF001
        if when is None:
            connection.call_soon(self._finish)
        else:
            connection.call_later(UPDATE_INTERVAL, partial(self._finish_when, when))

    def _current(self) -> State:
        state = self._state()
        if self.stopped_by is None:
            return state
        return state._replace(text=f"{state.text} · {visible(self.stopped_by)} asked to stop")

    def _open(self, state: State) -> None:
        """Begin a message. Raises MessageRefused."""
        room = self._room
        send = room._draft(state.text)  # noqa: SLF001
        send = msgspec.structs.replace(send, live=True, progress=state.progress, stoppable=self._stoppable)
        room._check_draft(send)  # noqa: SLF001
        draft = LiveDraft(send, room._new_cid(), lambda: self._on_stop(draft))  # noqa: SLF001
        _, end = room._connection.submit_live(draft)  # noqa: SLF001
        self._draft = draft
        end.add_done_callback(partial(self._on_end, draft))

    # ---- on the rooms' thread ----

    def _update(self) -> None:
        draft = self._draft
        if self._has_ended or draft is None or draft.is_over:
            return
        key = self._key(), self.stopped_by
        if key != self._sent_key:
            self._sent_key = key
            self._show(draft, self._current())
        self._timer = asyncio.get_running_loop().call_later(UPDATE_INTERVAL, self._update)

    def _show(self, draft: LiveDraft, state: State) -> None:
        draft.content = (state.text, state.progress)
        self._room._connection.advance(draft)  # noqa: SLF001

    def _finish_when(self, is_time: Callable[[], bool]) -> None:
        if is_time():
            self._finish()
        else:
            self._room._connection.call_later(UPDATE_INTERVAL, partial(self._finish_when, is_time))  # noqa: SLF001

    def _finish(self) -> None:
        assert self._result is not None
        state, ending = self._result
        draft, room = self._draft, self._room
        assert draft is not None
        if not self._has_ended:
            self._has_ended = True
            self._cancel_timer()
            self._show(draft, state)
            room._connection.end_live(draft, ending)  # noqa: SLF001
        elif draft.content[0] != state.text and draft.target is not None:
            draft.content = (state.text, draft.content[1])
            edit = Edit(cid=room._new_cid(), user=room.user, target=draft.target, text=state.text)  # noqa: SLF001
            room._connection.submit(edit)  # noqa: SLF001

    def _on_stop(self, draft: LiveDraft) -> None:
        """Someone asked to stop, the room is being closed, or no more is accepted."""
        if draft.is_over:
            self._room._connection.call_soon(self._reopen_if_lost, draft)  # noqa: SLF001
        elif self._result is not None and not self._has_ended:
            self._finish()
        else:
            self._cancel_timer()
            self._update()

    def _on_end(self, draft: LiveDraft, end: Future[Delivery]) -> None:
        error = end.exception()
        if isinstance(error, MessageRefused) and error.code == "not_live":
            self._room._connection.call_soon(self._reopen_if_lost, draft)  # noqa: SLF001

    def _reopen_if_lost(self, draft: LiveDraft) -> None:
        connection = self._room._connection  # noqa: SLF001
        if draft is not self._draft or draft.target is None or connection.close_error is not None:
            return
        kept = connection.session.messages.find(draft.target)
        if kept is not None and kept.live:  # the refusal of an update was faster than the entry with the end
            connection.call_later(UPDATE_INTERVAL, partial(self._reopen_if_lost, draft))
            return
        if kept is None or kept.end != "lost":
            return  # deleted, for example
        self._cancel_timer()
        if self._result is None:
            self._open(self._current())
            self._update()
        else:
            state, ending = self._result
            self._open(state)
            connection.end_live(self._draft, ending)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
