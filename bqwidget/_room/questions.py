"""Asking: a running cell asks, and any member answers from any window, from the page, or from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from bqwidget import dispatch
from bqwidget._client.outbox import Delivery
from bqwidget.errors import BqwidgetError, DeliveryTimeout, MessageRefused, WaitTimeout
from bqwidget.protocol import Ask, ChangeFrame, Entry, Expire, Message, Send, is_answer, printable

from .receiving import ReceiveMixin
from .sending import DELIVERY_TIMEOUT, Sending

SETTLE_TIMEOUT = 5.0
"""Seconds that the log has to say which came first, an answer or the end of the time."""

Default = TypeVar("Default")


class _NoDefault:
    """No default was given: not even None."""


class QuestionMixin(ReceiveMixin):
    """An answer is bound to its question, and the first one counts: the log's order decides, for everyone alike."""

    def ask(
        self,
        text: str,
        choices: Iterable[str] | None = None,
        *,
        timeout: float | None = None,
        default: Default | type[_NoDefault] = _NoDefault,
        from_: str | None = None,
    ) -> str | Default:
        """Ask ``text``, wait, and give the answer: one of ``choices``, or any text where there are none.

        ``from_``: only this user may answer. After ``timeout`` seconds the question ends for everybody, and
        ``default`` is given, or WaitTimeout raised where there is none; an interrupt ends it too. The callbacks
        of all rooms run meanwhile. Raises MessageRefused, RoomClosed.
        """
        return dispatch.wait(self.aask(text, choices, timeout=timeout, default=default, from_=from_))

    async def aask(
        self,
        text: str,
        choices: Iterable[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends the question for others too
        default: Default | type[_NoDefault] = _NoDefault,
        from_: str | None = None,
    ) -> str | Default:
        """``ask`` for a cell or handler that awaits."""
        expires = None if timeout is None else self._connection.server_time_ms() + int(timeout * 1000)
        ask = Ask(choices=_checked_choices(choices), from_=from_, expires=expires)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        try:
            question = await self._post_question(self._draft(text, ask=ask), timeout)
        except DeliveryTimeout as error:
            return _default_or_raise(default, error)
        reply = await self._wait_for_answer(question, deadline)
        if reply is None:
            limit = f" within {timeout:g} s" if timeout is not None else ": the question was ended"
            return _default_or_raise(
                default, WaitTimeout(f"no answer to {printable(text)}{limit}", timeout=timeout or 0)
            )
        return reply.text if reply.choice is None else reply.choice

    def answer(
        self,
        question: Message | int,
        text: str,
        *,
        wait: bool = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message | Sending:
        """Answer ``question``, as its choice button or input does. The first answer counts, a later one is marked."""
        asked = self._question(question)
        assert asked.ask is not None
        choices = asked.ask.choices
        if choices and text not in choices:
            raise BqwidgetError(
                f"{printable(text)} is none of the choices: {', '.join(map(printable, choices))}"
            )
        draft = self._draft(text, re=asked.seq, choice=text if choices else None)
        return self._send_draft(draft, wait=wait, timeout=timeout)

    async def _post_question(self, draft: Send, timeout: float | None) -> Message:  # noqa: ASYNC109
        """The question. Where we are interrupted before it is there, it is ended as soon as it gets there."""
        submitted = self._submit(draft, own=True)
        try:
            delivery = await self._wait_for_ack(submitted, draft, timeout)
        except BaseException:
            submitted.add_done_callback(self._expire_when_delivered)
            raise
        assert isinstance(delivery.entry, Message)
        return delivery.entry

    def _expire_when_delivered(self, submitted: Future[Delivery]) -> None:
        if submitted.exception() is None:
            self._submit(self._expire_draft(submitted.result().entry), own=True)

    async def _wait_for_answer(self, question: Message, deadline: float | None) -> Message | None:
        """The answer; None when the question ended without one. Whatever happens here, it doesn't stay open."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        ends: list[int] = []

        def listener(frames: Sequence[Any]) -> None:
            for frame in frames:
                if isinstance(frame, ChangeFrame) and _ends(frame, question):
                    ends.append(frame.entry.seq)
                    loop.call_soon_threadsafe(ended.set)

        answers = asyncio.ensure_future(
            self.next_message(lambda reply: is_answer(question, reply), after=question)
        )
        over = asyncio.ensure_future(ended.wait())
        unlisten = self._add_listener(listener)
        try:
            limit = None if deadline is None else max(0.0, deadline - loop.time())
            done, _ = await asyncio.wait({answers, over}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not done and not await self._expire(question):
                # Somebody was quicker than the end: that answer is in the log, and on its way to us.
                await asyncio.wait({answers}, timeout=SETTLE_TIMEOUT)
            reply = answers.result() if answers.done() else None
            return None if reply is None or (ends and ends[0] < reply.seq) else reply
        except BaseException:  # an interrupt, a cancellation, a closed room
            self._submit(self._expire_draft(question), own=True)
            raise
        finally:
            unlisten()
            answers.cancel()
            over.cancel()
            await asyncio.gather(answers, over, return_exceptions=True)

    async def _expire(self, question: Message) -> bool:
        """End the question for everybody; False where that came too late, for it was answered."""
        try:
            await self._adeliver(self._expire_draft(question), SETTLE_TIMEOUT)
        except DeliveryTimeout:
            return True  # nobody can be asked; it will be ended when the room is back
        except MessageRefused:
            return False
        with self._connection.lock:
            kept = self._connection.session.messages.find(question.seq)
        return kept is None or kept.answer is None

    def _expire_draft(self, question: Entry) -> Expire:
        return Expire(cid=self._new_cid(), user=self.user, target=question.seq)

    def _question(self, question: Message | int) -> Message:
        seq = question.seq if isinstance(question, Message) else question
        with self._connection.lock:
            found = self._connection.session.messages.find(seq)
        if found is None and isinstance(question, Message):
            found = question
        if found is None:
            raise BqwidgetError(
                f"message {seq} isn't kept here: pass the Message itself, as from room.history()"
            )
        if found.ask is None:
            raise BqwidgetError(
                f"message {seq} is not a question: room.reply(message, text) replies to any message"
            )
        return found

    def _add_listener(self, listener: Callable[[Sequence[Any]], object]) -> Callable[[], None]:
        """On the room's thread, all that is accepted; see Room."""
        raise NotImplementedError


def _checked_choices(choices: Iterable[str] | None) -> tuple[str, ...] | None:
    if choices is None:
        return None
    if isinstance(choices, str):
        raise TypeError(f"choices is a list of texts, not one text: did you mean [{choices!r}]?")
    given = tuple(choices)
    for choice in given:
        if not isinstance(choice, str) or not choice.strip():
            raise TypeError(f"choices are texts that say something, not {choice!r}")
    if not given or len(set(given)) < len(given):
        raise BqwidgetError("choices must be given, each once; leave them away to let people write")
    return given


def _ends(frame: ChangeFrame, question: Message) -> bool:
    return frame.entry.target == question.seq and frame.entry.kind in ("expire", "delete")


def _default_or_raise(default: Default | type[_NoDefault], error: BqwidgetError) -> Default:
    if isinstance(default, type) and issubclass(default, _NoDefault):
        raise error from None
    return default  # type: ignore[return-value]
