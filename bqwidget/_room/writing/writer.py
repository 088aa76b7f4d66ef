"""Writer: one message that grows while code writes it. ``room.write`` and the results of handlers use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, current_thread
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from bqwidget._client.live.drafts import LiveDraft
from bqwidget._client.outbox import Delivery
from bqwidget._room.arguments import check_text
from bqwidget.errors import BqwidgetError, DeliveryTimeout, MessageRefused
from bqwidget.protocol import MAX_STEPS, MAX_TIME, Edit, Ending, Message, Progress, SetStep

from .lines import error_line
from .step_writer import StepWriter

if TYPE_CHECKING:
    from bqwidget._room.sending import SendMixin

INTERRUPT_ERRORS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)
"""They end a message as stopped, other exceptions as failed."""

Result = TypeVar("Result")


class Writer:
    """A message that others see grow; ``room.write`` returns it. A context manager, also for ``async with``.

    Every method returns at once and works in any thread: pieces are joined, and sent by the rooms' thread. Offline,
    what was written is sent when the room is open again.
    """

    def __init__(self, room: SendMixin, re: int | None, timeout: float | None) -> None:
        self._room = room
        self._re = re
        self._timeout = timeout
        self._lock = Lock()
        self._draft: LiveDraft | None = None
        self._opened: Future[Delivery] = Future()
        self._ended: Future[None] = Future()
        self._step_count = 0
        self._is_done = False
        self._unlisten: Callable[[], None] | None = None

    # ---- writing ----

    def append(self, text: str) -> None:
        """Add ``text``, such as a word or a line, to the message.

        Raises MessageRefused (``too_long``) at the server's limit: then the message keeps what fits. Example::

            with room.write() as out:
                for word in ["one ", "two"]:
                    out.append(word)
        """
        check_text("text", text, "'one more word'", empty=True)
        with self._lock:
            whole, progress = self._open_draft().content
            self._set(whole + str.__str__(text), progress)

    def replace(self, text: str) -> None:
        """Replace the whole text of the message by ``text``. Raises MessageRefused (``too_long``).

        Example: ``out.replace("12 of 40 files")``
        """
        check_text("text", text, "'12 of 40 files'", empty=True)
        with self._lock:
            self._set(str.__str__(text), self._open_draft().content[1])

    def step(self, title: str) -> StepWriter:
        """A context manager: a step of the work, such as a search, which others see running and then done, or failed.

        ``title``: cut to 200 characters. A message has at most 50 steps; more raise MessageRefused. Example::

            with out.step("search papers") as step:
                step.append("3 hits")
        """
        check_text("title", title, "'search papers'")
        with self._lock:
            self._open_draft()
            self._step_count += 1
            if self._step_count > MAX_STEPS:
                raise MessageRefused("too_many_steps", f"a message has at most {MAX_STEPS} steps: write text instead")
            return StepWriter(str(self._step_count), str.__str__(title), self._set_step)

    @property
    def stopped(self) -> bool:
        """Whether someone asked to stop, or the message has ended otherwise, as when it was deleted.

        The message ends as stopped at the end of the block. Example::

            for word in ["one ", "two"]:
                if out.stopped:
                    break
                out.append(word)
        """
        draft = self._draft
        return draft is not None and (draft.stopped_by is not None or draft.is_over)

    @property
    def message(self) -> Message:
        """The message as it is now. Waits until the server has accepted it, at most for the timeout of ``write``.

        Raises BqwidgetError before the block, MessageRefused, DeliveryTimeout, RoomClosed.
        Example: ``room.react(out.message, "👍")``
        """
        draft = self._draft
        if draft is None:
            raise _outside()
        stored = self._result(self._opened).entry
        assert isinstance(stored, Message)
        return self._room._connection.find(stored.seq) or stored  # noqa: SLF001 - part of the room

    # ---- the block ----

    def __enter__(self) -> Self:
        self._open()
        try:
            self._result(self._opened)
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)
        if error is None:
            self._result(self._ended)

    async def __aenter__(self) -> Self:
        self._open()
        try:
            await self._aresult(self._opened)
        except BaseException as error:
            self._end(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)
        if error is None:
            await self._aresult(self._ended)

    # ---- for the results of handlers, which do not wait ----

    def _open(self, on_stop: Callable[[], object] = lambda: None) -> None:
        """Begin the message without waiting. ``on_stop``: as of LiveDraft. Raises MessageRefused."""
        if self._draft is not None:
            raise BqwidgetError("this message has been written: call room.write() again for another one")
        room = self._room
        send = msgspec.structs.replace(room._draft("", re=self._re), live=True)  # noqa: SLF001 - part of the room
        room._check_draft(send)  # noqa: SLF001
        draft = LiveDraft(send, room._new_cid(), on_stop)  # noqa: SLF001
        self._opened, end = room._connection.submit_live(draft)  # noqa: SLF001
        self._draft = draft
        end.add_done_callback(self._on_end)

    def _end(self, error: BaseException | None = None) -> None:
        """End the message without waiting: as done, as stopped, or as failed with the line of ``error``."""
        with self._lock:
            draft = self._draft
            if draft is None or self._is_done:
                return
            self._is_done = True
            ending: Ending = "done" if draft.stopped_by is None else "stopped"
            if isinstance(error, INTERRUPT_ERRORS):
                ending = "stopped"
            elif error is not None:
                ending, (text, progress) = "failed", draft.content
                line, limit = f"✗ {error_line(error)}", self._limit()
                text = f"{text[: max(0, limit - len(line) - 2)]}\n\n" if text else ""
                draft.content = (text + line)[:limit], progress
            self._room._connection.end_live(draft, ending)  # noqa: SLF001

    def _on_end(self, end: Future[Delivery]) -> None:
        """The end was accepted or not; on the rooms' thread, except for a room that was closed before."""
        error = end.exception()
        if error is None:
            self._ended.set_result(None)
        elif isinstance(error, MessageRefused) and error.code == "not_live":
            self._save_lost()
        else:
            self._ended.set_exception(error)

    def _save_lost(self, *_: object) -> None:
        """The server ended the message, because this member was gone for too long: give it all of its text."""
        draft, room = self._draft, self._room
        connection, kept = room._connection, None  # noqa: SLF001
        if draft is not None and draft.target is not None:
            kept = connection.session.messages.find(draft.target)
        if kept is not None and kept.live and connection.close_error is None:
            # The refusal was faster than the entry with the end.
            self._unlisten = self._unlisten or room._add_listener(self._save_lost)  # noqa: SLF001
            return
        if self._unlisten is not None:
            self._unlisten()
        if draft and kept and kept.end == "lost" and not kept.deleted and kept.text != draft.content[0]:
            edit = Edit(cid=room._new_cid(), user=room.user, target=kept.seq, text=draft.content[0])  # noqa: SLF001
            connection.submit(edit)
        self._ended.set_result(None)

    def _open_draft(self) -> LiveDraft:
        if self._draft is None or self._is_done:
            raise _outside()
        return self._draft

    def _set(self, text: str, progress: Progress | None) -> None:
        draft, limit = self._open_draft(), self._limit()
        draft.content = (text[:limit], progress)
        self._room._connection.advance(draft)  # noqa: SLF001
        if len(text) > limit:
            raise MessageRefused(
                "too_long", f"the message has {len(text):,} characters; the limit is {limit:,}: it ends there"
            )

    def _limit(self) -> int:
        session = self._room._connection.session  # noqa: SLF001
        return session.limits.text if session.hello is not None else MAX_TIME

    def _set_step(self, step: SetStep) -> None:
        draft = self._draft
        assert draft is not None
        room = self._room
        step = msgspec.structs.replace(step, cid=room._new_cid(), user=room.user)  # noqa: SLF001
        room._connection.submit_step(draft, step)  # noqa: SLF001

    def _result(self, future: Future[Result]) -> Result:
        connection = self._room._connection  # noqa: SLF001
        if current_thread() is connection.thread:
            raise BqwidgetError("a message can't be waited for on the rooms' thread")
        try:
            return future.result(self._timeout)
        except TimeoutError:
            raise self._delivery_timeout() from None

    async def _aresult(self, future: Future[Result]) -> Result:
        wrapped = asyncio.wrap_future(future)
        done, _ = await asyncio.wait({wrapped}, timeout=self._timeout)
        if not done:
            raise self._delivery_timeout()
        return wrapped.result()

    def _delivery_timeout(self) -> DeliveryTimeout:
        assert self._draft is not None
        return self._room._delivery_timeout(self._draft.send, self._timeout or 0)  # noqa: SLF001


def _outside() -> BqwidgetError:
    return BqwidgetError("a message is written inside of its block: with room.write() as out: out.append('text')")
