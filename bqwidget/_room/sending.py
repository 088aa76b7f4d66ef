"""Saying: the verbs that write to a room, and what becomes of a message on its way."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from hashlib import blake2b
from itertools import count
from secrets import token_bytes
from threading import current_thread
from typing import Any, Literal, overload

import msgspec

from bqwidget._client.http_client import Attachment
from bqwidget._client.outbox import Delivery
from bqwidget.connection import Connection
from bqwidget.errors import BqwidgetError, DeliveryTimeout, MessageRefused, ProtocolError
from bqwidget.protocol import (
    Ask,
    Change,
    Delete,
    Draft,
    Edit,
    Message,
    React,
    Send,
    check,
    fold,
    printable,
)

from .attachments import to_attachment
from .observable import Observable

DELIVERY_TIMEOUT = 30.0
"""Seconds that a verb waits to be acknowledged, unless told otherwise."""


class Sending(Future[Message]):
    """What ``send(wait=False)`` gives: ``result(timeout)`` is the stored message."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def __repr__(self) -> str:
        return f"Sending({printable(self._text)})"


class CidGenerator:
    """Makes cids that nobody can foresee, and knows its own again: all can read them, and send whatever they like."""

    def __init__(self) -> None:
        self._key = token_bytes(16)
        self._counter = count(1)

    def make(self) -> str:
        return self._sign(str(next(self._counter)))

    def is_own(self, cid: str | None) -> bool:
        return cid is not None and cid == self._sign(cid.partition(".")[0])

    def _sign(self, number: str) -> str:
        return (
            f"{number}.{blake2b(number.encode(errors='replace'), key=self._key, digest_size=10).hexdigest()}"
        )


class SendMixin(Observable):
    """Every verb is retried under one cid until the server has it in the log or says no.

    All of them raise MessageRefused (with the server's ``code``), DeliveryTimeout after ``timeout`` seconds
    (the message stays queued), and RoomClosed. ``message`` is a Message or its seq.
    """

    user: Any
    _connection: Connection

    def __init__(self) -> None:
        super().__init__()
        self._cids = CidGenerator()
        self._attachments: dict[str, Attachment] = {}

    @overload
    def send(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        wait: Literal[True] = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message: ...
    @overload
    def send(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        wait: bool,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message | Sending: ...

    def send(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        wait: bool = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message | Sending:
        """Say ``text``; the stored Message. With ``wait=False`` at once, and queued while offline.

        Instead of text a figure, a picture (its bytes or Path too), a DataFrame, or whatever has ``_repr_png_``
        or ``_repr_svg_``: attached under ``name``, with a ``caption``. TypeError for what has no picture.
        """
        return self._send_draft(self._content_draft(text, caption, name), wait=wait, timeout=timeout)

    async def asend(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - a DeliveryTimeout
    ) -> Message:
        """``send`` for a cell or handler that awaits."""
        return _stored_message(await self._adeliver(self._content_draft(text, caption, name), timeout))

    @overload
    def reply(
        self,
        message: Message | int,
        text: str,
        *,
        wait: Literal[True] = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message: ...
    @overload
    def reply(
        self, message: Message | int, text: str, *, wait: bool, timeout: float | None = DELIVERY_TIMEOUT
    ) -> Message | Sending: ...

    def reply(
        self,
        message: Message | int,
        text: str,
        *,
        wait: bool = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message | Sending:
        """Answer ``message``: a message of its own that refers to it (``re``)."""
        return self._send_draft(self._draft(text, re=seq_of(message)), wait=wait, timeout=timeout)

    def edit(
        self, message: Message | int, text: str, *, timeout: float | None = DELIVERY_TIMEOUT
    ) -> Message | None:
        """Say it otherwise. Like ``react``: the message as it reads now, None where it isn't kept here."""
        _check_text(text)
        draft = Edit(cid=self._new_cid(), user=self.user, target=seq_of(message), text=text)
        return self._change(message, draft, timeout)

    def delete(self, message: Message | int, *, timeout: float | None = DELIVERY_TIMEOUT) -> None:
        """Take it back: its text goes from everybody's list, its place stays."""
        self._change(message, Delete(cid=self._new_cid(), user=self.user, target=seq_of(message)), timeout)

    def react(
        self, message: Message | int, emoji: str, *, on: bool = True, timeout: float | None = DELIVERY_TIMEOUT
    ) -> Message | None:
        """Give ``emoji`` to it, or with ``on=False`` take it away again."""
        draft = React(cid=self._new_cid(), user=self.user, target=seq_of(message), emoji=emoji, on=on)
        return self._change(message, draft, timeout)

    # ---- the way of a draft ----

    def _content_draft(self, content: object, caption: str, name: str | None) -> Send:
        """What is to be said, or to be shown; the bytes wait here until the draft is submitted."""
        if isinstance(content, str):
            if caption or name is not None:
                raise TypeError("caption and name are for what is attached: say it in the text")
            return self._draft(content)
        attachment = to_attachment(content, name)
        draft = msgspec.structs.replace(self._draft(caption), parts=(attachment.part,))
        self._attachments[draft.cid] = attachment
        return draft

    def _draft(
        self, text: str, *, re: int | None = None, choice: str | None = None, ask: Ask | None = None
    ) -> Send:
        _check_text(text)
        return Send(cid=self._new_cid(), user=self.user, text=text, re=re, choice=choice, ask=ask)

    def _new_cid(self) -> str:
        """Made here, so that ``_is_own`` knows it again."""
        return self._cids.make()

    def _is_own(self, message: Message) -> bool:
        """Whether this room's verbs sent it; what a person types in its window is not own."""
        return self._cids.is_own(message.cid) and self._connection.session.is_from(message, self.user)

    def _submit(self, draft: Draft, *, own: bool) -> Future[Delivery]:
        """Queue ``draft`` and come back at once: the future is its acknowledgement, with its entry."""
        attachment = self._attachments.pop(draft.cid, None)
        if own and self._connection.session.hello is not None:
            limits = self._connection.session.limits
            try:
                check(draft, limits)
            except ProtocolError as error:
                raise MessageRefused(error.code, str(error)) from None
            if attachment is not None and attachment.part.size > limits.part:
                raise _too_big(attachment.part.size, limits.part)
        return self._connection.submit(draft, attachment)

    def _send_draft(self, draft: Send, *, wait: bool, timeout: float | None) -> Message | Sending:
        if wait:
            return _stored_message(self._deliver(draft, timeout))
        sending = Sending(draft.text or ", ".join(part.name or part.mime for part in draft.parts))
        sending.set_running_or_notify_cancel()
        self._submit(draft, own=True).add_done_callback(partial(_copy_outcome, sending))
        return sending

    def _deliver(self, draft: Draft, timeout: float | None) -> Delivery:
        if current_thread() is self._connection.thread:
            raise BqwidgetError("a verb that waits can't be called on the room's own thread: use wait=False")
        future = self._submit(draft, own=True)
        try:
            return future.result(timeout)
        except TimeoutError:
            raise self._delivery_timeout(draft, timeout or 0) from None

    async def _adeliver(self, draft: Draft, timeout: float | None) -> Delivery:  # noqa: ASYNC109
        return await self._wait_for_ack(self._submit(draft, own=True), draft, timeout)

    async def _wait_for_ack(
        self,
        submitted: Future[Delivery],
        draft: Draft,
        timeout: float | None,  # noqa: ASYNC109
    ) -> Delivery:
        future = asyncio.wrap_future(submitted)
        done, _ = await asyncio.wait({future}, timeout=timeout)
        if not done:
            raise self._delivery_timeout(draft, timeout or 0)
        return future.result()

    def _delivery_timeout(self, draft: Draft, timeout: float) -> DeliveryTimeout:
        connection = self._connection
        why = f" ({connection.error})" if connection.error else ""
        return DeliveryTimeout(
            f"not acknowledged within {timeout:g} s; the room is {connection.session.state}{why}."
            " It stays queued and is sent when that gets better: don't send it again",
            cid=draft.cid,
            timeout=timeout,
        )

    def _change(self, message: Message | int, draft: Draft, timeout: float | None) -> Message | None:
        entry = self._deliver(draft, timeout).entry
        with self._connection.lock:
            kept = self._connection.session.messages.find(seq_of(message))
        if kept is None and isinstance(message, Message) and isinstance(entry, Change):
            return fold(message, entry)
        return kept


def seq_of(message: Message | int) -> int:
    if isinstance(message, Message):
        return message.seq
    if isinstance(message, int):
        return message
    raise TypeError(f"expected a Message (or its seq), not {type(message).__name__}")


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a message is text, not {type(text).__name__}: convert it first, as with str()")


def _too_big(size: int, limit: int) -> MessageRefused:
    if not limit:
        return MessageRefused("no_parts", "this server takes no attachments: send text")
    message = f"the attachment has {size:,} bytes; the limit is {limit:,}: send a smaller one"
    return MessageRefused("too_big", message)


def _stored_message(delivery: Delivery) -> Message:
    assert isinstance(delivery.entry, Message)
    return delivery.entry


def _copy_outcome(sending: Sending, future: Future[Delivery]) -> None:
    error = future.exception()
    if error is not None:
        sending.set_exception(error)
    else:
        sending.set_result(_stored_message(future.result()))
