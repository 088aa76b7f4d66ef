"""Questions: a running cell asks, and any member answers from a window, from the page, or from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal, TypeVar, overload

from bqwidget import dispatch
from bqwidget._client.outbox import Delivery
from bqwidget._room.arguments import check_text, check_timeout, describe, items_of, wrong_type, wrong_value
from bqwidget._room.delivery import DELIVERY_TIMEOUT, check_is_text
from bqwidget._room.receiving import ReceiveMixin
from bqwidget._room.sending import Sending
from bqwidget.errors import (
    ArgumentError,
    ArgumentTypeError,
    BqwidgetError,
    DeliveryTimeout,
    MessageRefused,
    WaitTimeout,
)
from bqwidget.protocol import Ask, ChangeFrame, Entry, Expire, Message, Send, Vote, is_answer, printable

SETTLE_TIMEOUT = 5.0
"""Seconds to wait until the log shows which was first, an answer or the end of the question."""

Default = TypeVar("Default")


class _NoDefault:
    """Means that no default was given; None is a default."""


class QuestionMixin(ReceiveMixin):
    """An answer refers to its question. The first one in the order of the log counts, for everyone."""

    def ask(
        self,
        text: str,
        choices: Iterable[str] | None = None,
        *,
        timeout: float | None = None,
        default: Default | type[_NoDefault] = _NoDefault,
        from_: str | None = None,
    ) -> str | Default:
        """Ask the room ``text``, block until someone answers, and return the answer's text.

        ``choices``: the possible answers (distinct, not empty), shown as buttons; None: any text. ``from_``: only
        this user may answer. After ``timeout`` seconds (by the server's clock; None: without limit) the question
        ends for everyone, and ``default`` is returned, or WaitTimeout raised if there is none. An interrupt ends
        the question too. The callbacks of all rooms run meanwhile. Raises MessageRefused, RoomClosed.
        Example: ``room.ask("Continue?", choices=["yes", "no"], timeout=300, default="no")``
        """
        return dispatch.wait(self.aask(text, choices, timeout=timeout, default=default, from_=from_))

    async def aask(
        self,
        text: str,
        choices: Iterable[str] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - ends the question for others too
        default: Default | type[_NoDefault] = _NoDefault,
        from_: str | None = None,
    ) -> str | Default:
        """``ask`` for code that awaits. Example: ``await room.aask("Which file?", timeout=300, default=None)``"""
        timeout = check_timeout(timeout)
        if from_ is not None:
            check_text("from_", from_, "'bob', the name of a member")
        expires = None if timeout is None else self._connection.server_time_ms() + int(timeout * 1000)
        ask = Ask(choices=check_choices(choices), from_=from_, expires=expires)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        try:
            draft = self._draft(text, ask=ask)
            question = await self._post_question(draft, timeout)
        except DeliveryTimeout as error:
            return _default_or_raise(default, error)
        reply = await self._wait_for_answer(draft, question, deadline)
        if reply is None:
            limit = f" within {timeout:g} s" if timeout is not None else ": the question was ended"
            no_answer = WaitTimeout(f"no answer to {printable(text)}{limit}", timeout=timeout or 0)
            return _default_or_raise(default, no_answer)
        return reply.text if reply.choice is None else reply.choice

    @overload
    def answer(
        self,
        question: Message | int,
        text: str,
        *,
        wait: Literal[True] = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message: ...
    @overload
    def answer(
        self,
        question: Message | int,
        text: str,
        *,
        wait: Literal[False],
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Sending: ...
    @overload
    def answer(
        self, question: Message | int, text: str, *, wait: bool, timeout: float | None = DELIVERY_TIMEOUT
    ) -> Message | Sending: ...

    def answer(
        self,
        question: Message | int,
        text: str,
        *,
        wait: bool = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message | Sending:
        """Answer ``question`` (a Message or its seq) with ``text``, as its button or input field does.

        The first answer counts; a later one is marked as late. In a poll it is this member's vote, of which the last
        counts, and the result is the poll. ``wait``, ``timeout``, the result and the errors are
        those of ``send``; BqwidgetError if it is no question, or if ``text`` is not one of its choices.
        Example: ``room.answer(question, "yes")``
        """
        asked, draft = self._answer_draft(question, text)
        return self._send_draft(draft, wait=wait, timeout=timeout, result=partial(self._answered, asked))

    async def aanswer(
        self,
        question: Message | int,
        text: str,
        *,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - raises DeliveryTimeout
    ) -> Message:
        """``answer`` for code that awaits. Example: ``await room.aanswer(question, "yes")``"""
        asked, draft = self._answer_draft(question, text)
        return self._answered(asked, await self._adeliver(draft, timeout))

    def _answer_draft(self, question: Message | int, text: str) -> tuple[Message, Send | Vote]:
        message = self._question(question)
        assert message.ask is not None
        choices = message.ask.choices
        check_is_text(text)
        if choices and text not in choices:
            raise ArgumentError(
                f"text: {printable(text)} is not a choice: use {', '.join(map(printable, choices))}", argument="text"
            )
        if message.ask.poll:
            return message, Vote(cid=self._new_cid(), user=self.user, target=message.seq, choice=text)
        return message, self._draft(text, re=message.seq, choice=text if choices else None)

    def _answered(self, question: Message, delivery: Delivery) -> Message:
        """What was stored: the answer, or the poll with the vote."""
        entry = delivery.entry
        return entry if isinstance(entry, Message) else self._folded(question, delivery) or question

    async def _post_question(self, draft: Send, timeout: float | None) -> Message:  # noqa: ASYNC109
        """Send the question. If this is interrupted, the question ends as soon as it is in the log."""
        submitted = self._submit(draft, own=True)
        try:
            try:
                delivery = await self._wait_for_ack(submitted, draft, timeout)
            except DeliveryTimeout:
                if self._connection.session.state != "open":
                    raise
                delivery = await self._wait_for_ack(submitted, draft, SETTLE_TIMEOUT)  # someone may have answered it
        except BaseException:
            submitted.add_done_callback(self._expire_when_delivered)
            raise
        assert isinstance(delivery.entry, Message)
        return delivery.entry

    def _expire_when_delivered(self, submitted: Future[Delivery]) -> None:
        if submitted.exception() is None:
            self._submit(self._expire_draft(submitted.result().entry), own=True)

    async def _wait_for_answer(self, draft: Send, question: Message, deadline: float | None) -> Message | None:
        """The answer; None if the question ended without one. The question is ended if this is interrupted."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        end_seqs: list[int] = []
        ask_again = self._asks_again(draft)

        def listener(frames: Sequence[Any]) -> None:
            ask_again()
            for frame in frames:
                if isinstance(frame, ChangeFrame) and _ends(frame, question):
                    end_seqs.append(frame.entry.seq)
                    loop.call_soon_threadsafe(ended.set)

        remove_listener = self._add_listener(listener)
        kept = self._connection.find(question.seq)
        if kept is not None and kept.answer is None and (kept.expired is not None or kept.deleted):
            remove_listener()
            return None  # it ended before this listened
        answers = asyncio.ensure_future(self._next_match(lambda reply: is_answer(question, reply), None, question))
        ending = asyncio.ensure_future(ended.wait())
        try:
            limit = None if deadline is None else max(0.0, deadline - loop.time())
            done, _ = await asyncio.wait({answers, ending}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not done and not await self._expire(question):
                # An answer was first: it is in the log, and will arrive.
                await asyncio.wait({answers}, timeout=SETTLE_TIMEOUT)
            reply = answers.result() if answers.done() else None
            return None if reply is None or (end_seqs and end_seqs[0] < reply.seq) else reply
        except BaseException:  # an interrupt, a cancellation, a closed room
            self._submit(self._expire_draft(question), own=True)
            raise
        finally:
            remove_listener()
            answers.cancel()
            ending.cancel()
            await asyncio.gather(answers, ending, return_exceptions=True)

    def _asks_again(self, draft: Send) -> Callable[[], None]:
        """A function to call on the rooms' thread after every step: it sends the question again after each join.

        It is no new message, and tells a server that has started again who waits, so that it ends with this process.
        """
        hello = self._connection.session.hello

        def ask_again() -> None:
            nonlocal hello
            if hello is not self._connection.session.hello:
                hello = self._connection.session.hello
                self._connection.send_transient(draft)

        return ask_again

    async def _expire(self, question: Message) -> bool:
        """End the question for everyone; False if it was answered first."""
        try:
            await self._adeliver(self._expire_draft(question), SETTLE_TIMEOUT)
        except DeliveryTimeout:
            return True  # the draft stays queued, and ends the question when the room is open again
        except MessageRefused:
            return False
        kept = self._connection.find(question.seq)
        return kept is None or kept.answer is None

    def _expire_draft(self, question: Entry) -> Expire:
        return Expire(cid=self._new_cid(), user=self.user, target=question.seq)

    def _question(self, question: Message | int) -> Message:
        seq = self._seq_of(question, "question")
        found = self._connection.find(seq)
        if found is None and isinstance(question, Message):
            found = question
        if found is None:
            raise wrong_value("question", seq, "it is not kept here: pass the Message, as from room.history()")
        if found.ask is None:
            raise wrong_value("question", seq, "that is not a question: use room.reply(message, text)")
        return found


def check_choices(choices: Iterable[str] | None) -> tuple[str, ...] | None:
    if choices is None:
        return None
    if isinstance(choices, str):
        remedy = f"did you mean [{printable(choices)}]?"
        raise ArgumentTypeError(f"choices must be a list of texts, not one text: {remedy}", argument="choices")
    given = items_of(choices)
    if given is None:
        raise wrong_type("choices", "a list of texts such as ['yes', 'no']", choices)
    for choice in given:
        if not isinstance(choice, str) or not choice.strip():
            raise ArgumentTypeError(
                f"choices must be texts that are not empty, not {describe(choice)}: write ['yes', 'no']",
                argument="choices",
            )
    if not given or len(set(given)) < len(given):
        remedy = "choices must be distinct and not empty; omit choices= to let people write"
        raise ArgumentError(remedy, argument="choices")
    return given


def _ends(frame: ChangeFrame, question: Message) -> bool:
    return frame.entry.target == question.seq and frame.entry.kind in ("expire", "delete")


def _default_or_raise(default: Default | type[_NoDefault], error: BqwidgetError) -> Default:
    if isinstance(default, type) and issubclass(default, _NoDefault):
        raise error from None
    return default  # type: ignore[return-value]
