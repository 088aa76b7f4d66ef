"""Sending: the verbs that write to a room."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal, overload

import msgspec

from bqwidget._client.outbox import Delivery
from bqwidget.dispatch import fallback_loop
from bqwidget.protocol import Change, Delete, Edit, Message, React, Send, Vote, fold, printable

from .arguments import check_emoji, check_flag, check_format, check_timeout
from .attachments import to_text_and_attachments
from .cells.content import cell_message
from .delivery import DELIVERY_TIMEOUT, DeliveryMixin, check_is_text


class Sending(Future[Message]):
    """What ``send(wait=False)`` returns: a future, of which ``result(timeout)`` is the stored Message."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def add_done_callback(self, fn: Callable[[Future[Message]], object]) -> None:
        """Call ``fn(sending)`` when it is done, on a thread that it may block: not on that of the rooms."""
        super().add_done_callback(lambda sending: fallback_loop().post(fn, sending))

    def __repr__(self) -> str:
        return f"Sending({printable(self._text)})"


class SendMixin(DeliveryMixin):
    @overload
    def send(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        format: Literal["plain"] | None = None,
        cell: bool = False,
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
        format: Literal["plain"] | None = None,
        cell: bool = False,
        wait: Literal[False],
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Sending: ...
    @overload
    def send(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        format: Literal["plain"] | None = None,
        cell: bool = False,
        wait: bool,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message | Sending: ...

    def send(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        format: Literal["plain"] | None = None,  # noqa: A002 - its name on the wire
        cell: bool = False,
        wait: bool = True,
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Message | Sending:
        """Send ``text``, or attach an object, and return the stored Message.

        ``text``: a str; or an object to attach under ``name``, with ``caption`` as the text: a matplotlib figure,
        a picture (PIL, bytes, or a Path), a table (of pandas, polars, pyarrow or NumPy), or an object with ``_repr_png_``,
        ``_repr_jpeg_`` or ``_repr_svg_``. ``wait=False``: return a Sending at once; offline, the message is queued.
        ``timeout``: seconds to wait, None without limit. A retry never creates a second message. The text is Markdown;
        with ``format="plain"`` it is shown as it is. ``cell=True``: below the text, the source of the running cell and what
        it has printed and shown so far; the message leads to the cell. ``%%share lobby`` sends a cell when it has ended.

        Raises TypeError for another object, MessageRefused, DeliveryTimeout (the message stays queued), RoomClosed.
        Example: ``room.send("hi")``
        """
        return self._send_draft(self._content_draft(text, caption, name, format, cell=cell), wait=wait, timeout=timeout)

    async def asend(
        self,
        text: object,
        caption: str = "",
        *,
        name: str | None = None,
        format: Literal["plain"] | None = None,  # noqa: A002 - its name on the wire
        cell: bool = False,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - raises DeliveryTimeout
    ) -> Message:
        """``send`` for code that awaits. Example: ``await room.asend("hi")``"""
        return stored_message(
            await self._adeliver(self._content_draft(text, caption, name, format, cell=cell), timeout)
        )

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
        self,
        message: Message | int,
        text: str,
        *,
        wait: Literal[False],
        timeout: float | None = DELIVERY_TIMEOUT,
    ) -> Sending: ...
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
        """Send ``text`` as a message that refers to ``message`` (a Message or its seq) by its ``re``.

        ``wait``, ``timeout``, the result and the errors are those of ``send``.
        Example: ``room.reply(message, "yes")``
        """
        return self._send_draft(self._draft(text, re=self._seq_of(message)), wait=wait, timeout=timeout)

    async def areply(
        self,
        message: Message | int,
        text: str,
        *,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - raises DeliveryTimeout
    ) -> Message:
        """``reply`` for code that awaits. Example: ``await room.areply(message, "yes")``"""
        return stored_message(await self._adeliver(self._draft(text, re=self._seq_of(message)), timeout))

    def edit(self, message: Message | int, text: str, *, timeout: float | None = DELIVERY_TIMEOUT) -> Message | None:
        """Replace the text of ``message`` (a Message or its seq) by ``text``.

        Returns the message after the edit, or None if only a seq was given and the message is not kept here.
        Raises the errors of ``send``. Example: ``room.edit(message, "hello")``
        """
        return self._folded(message, self._deliver(self._edit_draft(message, text), timeout))

    async def aedit(
        self,
        message: Message | int,
        text: str,
        *,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - raises DeliveryTimeout
    ) -> Message | None:
        """``edit`` for code that awaits. Example: ``await room.aedit(message, "hello")``"""
        return self._folded(message, await self._adeliver(self._edit_draft(message, text), timeout))

    def delete(self, message: Message | int, *, timeout: float | None = DELIVERY_TIMEOUT) -> None:
        """Delete the text and the attachments of ``message`` (a Message or its seq) for everyone; its place stays.

        Raises the errors of ``send``. Example: ``room.delete(message)``
        """
        self._deliver(self._delete_draft(message), timeout)

    async def adelete(
        self,
        message: Message | int,
        *,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - raises DeliveryTimeout
    ) -> None:
        """``delete`` for code that awaits. Example: ``await room.adelete(message)``"""
        await self._adeliver(self._delete_draft(message), timeout)

    def react(
        self, message: Message | int, emoji: str, *, on: bool = True, timeout: float | None = DELIVERY_TIMEOUT
    ) -> Message | None:
        """Add the reaction ``emoji`` (1 to 16 characters) to ``message``, or remove it with ``on=False``.

        Returns and raises as ``edit``. Example: ``room.react(message, "👍")``
        """
        return self._folded(message, self._deliver(self._react_draft(message, emoji, on=on), timeout))

    async def areact(
        self,
        message: Message | int,
        emoji: str,
        *,
        on: bool = True,
        timeout: float | None = DELIVERY_TIMEOUT,  # noqa: ASYNC109 - raises DeliveryTimeout
    ) -> Message | None:
        """``react`` for code that awaits. Example: ``await room.areact(message, "👍")``"""
        return self._folded(message, await self._adeliver(self._react_draft(message, emoji, on=on), timeout))

    def _edit_draft(self, message: Message | int, text: str) -> Edit:
        check_is_text(text)
        return Edit(cid=self._new_cid(), user=self.user, target=self._seq_of(message), text=text)

    def _delete_draft(self, message: Message | int) -> Delete:
        return Delete(cid=self._new_cid(), user=self.user, target=self._seq_of(message))

    def _react_draft(self, message: Message | int, emoji: str, *, on: bool) -> React:
        check_emoji(emoji)
        on = check_flag("on", on)
        return React(cid=self._new_cid(), user=self.user, target=self._seq_of(message), emoji=emoji, on=on)

    def _content_draft(
        self,
        content: object,
        caption: str,
        name: str | None,
        text_format: Literal["plain"] | None,
        *,
        cell: bool = False,
        ended: Any = None,
    ) -> Send:
        """The draft for ``content``. The bytes of attachments are kept until the draft is submitted.

        ``ended``: IPython's result of the cell; without it, ``cell`` is the one that runs.
        """
        check_format(text_format)
        text, attachments = to_text_and_attachments(content, caption, name)
        anchor = None
        if check_flag("cell", cell):
            message = cell_message(attachments, ended)
            text, attachments, anchor = message.text(text), message.attachments, message.anchor
        parts = tuple(attachment.part for attachment in attachments)
        draft = msgspec.structs.replace(self._draft(text), parts=parts, format=text_format, cell=anchor)
        self._attachments[draft.cid] = attachments
        return draft

    def _send_draft(
        self,
        draft: Send | Vote,
        *,
        wait: bool,
        timeout: float | None,
        result: Callable[[Delivery], Message] | None = None,
    ) -> Message | Sending:
        """``result``: the Message of what was delivered; by default the stored one."""
        timeout, result = check_timeout(timeout), result or stored_message
        if check_flag("wait", wait):
            return result(self._deliver(draft, timeout))
        sending = Sending(_description(draft))
        sending.set_running_or_notify_cancel()
        self._submit(draft, own=True).add_done_callback(partial(_copy_outcome, sending, result))
        return sending

    def _folded(self, message: Message | int, delivery: Delivery) -> Message | None:
        """``message`` after the change that was delivered; None if only its seq is known and it is not kept here."""
        entry = delivery.entry
        kept = self._connection.find(self._seq_of(message))
        if kept is None and isinstance(message, Message) and isinstance(entry, Change):
            return fold(message, entry)
        return kept


def stored_message(delivery: Delivery) -> Message:
    assert isinstance(delivery.entry, Message)
    return delivery.entry


def _description(draft: Send | Vote) -> str:
    if isinstance(draft, Vote):
        return draft.choice
    return draft.text or ", ".join(part.name or part.mime for part in draft.parts)


def _copy_outcome(sending: Sending, result: Callable[[Delivery], Message], future: Future[Delivery]) -> None:
    error = future.exception()
    if error is not None:
        sending.set_exception(error)
    else:
        sending.set_result(result(future.result()))
