"""From a draft to the log: cids, the submission of drafts, and waiting for their acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import current_thread
from typing import Any

from bqwidget._client.http_client import Attachment
from bqwidget._client.outbox import Delivery
from bqwidget._threads.weak import weak
from bqwidget.connection import Connection
from bqwidget.errors import ArgumentTypeError, BqwidgetError, DeliveryTimeout, MessageRefused, ProtocolError
from bqwidget.protocol import MAX_TIME, Ask, Draft, Limits, Message, Send, check

from .arguments import InvalidMessageError, check_timeout, seq_of
from .callbacks.loop_guard import LoopGuard
from .callbacks.membership import KernelMember
from .observable import Observable

DELIVERY_TIMEOUT = 30.0
"""Seconds that a verb waits for the acknowledgement by default."""
_UNKNOWN_LIMITS = Limits(text=MAX_TIME, user=MAX_TIME, part=MAX_TIME)
"""Before the server's are known."""


class DeliveryMixin(Observable):
    """Drafts are retried under one cid until they are in the log or the server refuses them.

    Waiting raises MessageRefused with the server's ``code``, RoomClosed, or DeliveryTimeout after ``timeout``
    seconds; the message stays queued then.
    """

    name: str
    user: Any
    _connection: Connection
    _member: KernelMember

    def __init__(self) -> None:
        super().__init__()
        self._loop_guard = LoopGuard(weak(self._messages_after))
        self._attachments: dict[str, list[Attachment]] = {}

    def _seq_of(self, message: Message | int, argument: str = "message", *, least: int = 1) -> int:
        """The seq of a Message of this room, or of its number."""
        return seq_of(message, self.name, argument, least=least)

    def _messages_after(self, seq: int) -> list[Message]:
        with self._connection.lock:
            return list(self._connection.session.messages.after(seq))

    def _draft(self, text: str, *, re: int | None = None, choice: str | None = None, ask: Ask | None = None) -> Send:
        check_is_text(text)
        self._loop_guard.check()
        return Send(cid=self._new_cid(), user=self.user, text=text, re=re, choice=choice, ask=ask)

    def _new_cid(self) -> str:
        return self._member.make_cid()

    def _is_own(self, message: Message) -> bool:
        """Whether the verbs of this member's Rooms sent it. What a person types in a window is not own."""
        return self._member.is_own(message.cid) and self._connection.session.is_from(message, self.user)

    def _submit(self, draft: Draft, *, own: bool) -> Future[Delivery]:
        """Queue ``draft`` without waiting; the future is its acknowledgement, with its entry."""
        attachments = self._attachments.pop(draft.cid, [])
        if own:
            limits = self._check_draft(draft)
            for attachment in attachments:
                if attachment.part.size > limits.part:
                    raise _too_big(attachment.part.size, limits.part)
        else:
            self._member.note_typed(draft.cid)
        return self._connection.submit(draft, attachments)

    def _check_draft(self, draft: Draft) -> Limits:
        """The limits of the server, which ``draft`` obeys. Raises InvalidMessageError."""
        session = self._connection.session
        limits = _UNKNOWN_LIMITS if session.hello is None else session.limits
        try:
            check(draft, limits)
        except ProtocolError as error:
            raise InvalidMessageError(error.code, str(error)) from None
        return limits

    def _deliver(self, draft: Draft, timeout: float | None) -> Delivery:
        if current_thread() is self._connection.thread:
            raise BqwidgetError("a verb that waits can't be called on the rooms' thread: use wait=False")
        timeout = check_timeout(timeout)
        future = self._submit(draft, own=True)
        with self._awaiting(draft):
            try:
                return future.result(timeout)
            except TimeoutError:
                raise self._delivery_timeout(draft, timeout or 0) from None

    @contextmanager
    def _awaiting(self, draft: Draft) -> Iterator[None]:
        self._connection.awaited.add(draft.cid or "")
        try:
            yield
        finally:
            self._connection.awaited.discard(draft.cid or "")

    async def _adeliver(self, draft: Draft, timeout: float | None) -> Delivery:  # noqa: ASYNC109
        timeout = check_timeout(timeout)
        return await self._wait_for_ack(self._submit(draft, own=True), draft, timeout)

    async def _wait_for_ack(
        self,
        submitted: Future[Delivery],
        draft: Draft,
        timeout: float | None,  # noqa: ASYNC109
    ) -> Delivery:
        future = asyncio.wrap_future(submitted)
        with self._awaiting(draft):
            done, _ = await asyncio.wait({future}, timeout=timeout)
        if not done:
            raise self._delivery_timeout(draft, timeout or 0)
        return future.result()

    async def _until(self, condition: Callable[[], object], timeout: float | None) -> bool:  # noqa: ASYNC109
        """Wait on any event loop until ``condition()`` is true after a step; False after ``timeout`` seconds."""
        self._connection.check_process()
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def on_change(_: Sequence[Any]) -> None:
            with suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(changed.set)

        remove_listener = self._add_listener(on_change)
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return bool(condition())
        finally:
            remove_listener()
        return True

    def _add_listener(self, listener: Callable[[Sequence[Any]], object]) -> Callable[[], None]:
        """Call ``listener`` with all accepted frames, on the rooms' thread; see Room."""
        raise NotImplementedError

    def _delivery_timeout(self, draft: Draft, timeout: float) -> DeliveryTimeout:
        connection = self._connection
        reason = f" ({connection.error})" if connection.error else ""
        return DeliveryTimeout(
            f"not acknowledged within {timeout:g} s; the room is {connection.session.state}{reason}."
            " The message stays queued and is sent when the connection is restored: do not send it again",
            cid=draft.cid,
            timeout=timeout,
        )


def check_is_text(text: object) -> None:
    if not isinstance(text, str):
        raise ArgumentTypeError(
            f"text: a message is text, not {type(text).__name__}: convert it by str(); room.send attaches figures",
            argument="text",
        )


def _too_big(size: int, limit: int) -> MessageRefused:
    if not limit:
        return MessageRefused("no_parts", "this server accepts no attachments: send text")
    message = f"the attachment has {size:,} bytes; the limit is {limit:,}: send a smaller one"
    return MessageRefused("too_big", message)
