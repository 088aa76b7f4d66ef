"""The verbs of live messages: write one, say what this member is doing, ask another author to stop."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from bqwidget._room.arguments import check_text, check_timeout
from bqwidget._room.delivery import DELIVERY_TIMEOUT
from bqwidget._room.sending import SendMixin
from bqwidget.connection import Connection
from bqwidget.protocol import MAX_ACTIVITY, Message, Stop, Typing, truncate

from .writer import Writer

ACTIVITY_INTERVAL = 2.0
"""Seconds between two repetitions of an activity, which holds for 5 s."""


class WriteMixin(SendMixin):
    def __init__(self) -> None:
        super().__init__()
        self._activities: list[Activity] = []

    def write(self, *, re: Message | int | None = None, timeout: float | None = DELIVERY_TIMEOUT) -> Writer:
        """A context manager that writes one message, which others see grow; also for ``async with``. See ``Writer``.

        ``re``: the message, or its seq, to which it is a reply. ``timeout``: seconds to wait for the server at the
        begin and at the end, None without limit. The message ends with the block: as failed, with the exception's
        line, after an exception; as stopped after an interrupt, or if someone asked to stop (``out.stopped``). If
        this process dies, the server ends it. Raises MessageRefused, DeliveryTimeout, RoomClosed. Example::

            with room.write(re=message) as out:
                with out.step("search papers") as step:
                    step.append("3 hits")
                for word in ["one ", "two"]:
                    out.append(word)
        """
        return Writer(self, None if re is None else self._seq_of(re, "re"), check_timeout(timeout))

    def activity(self, text: str = "thinking…") -> Activity:
        """A context manager: the room shows this member with ``text`` until the end of the block.

        ``text``: 1 to 80 characters; more are cut. Also for ``async with``. Example::

            with room.activity("reading the paper…"):
                answer = "42"
        """
        check_text("text", text, "'thinking…'")
        shown = truncate(str.__str__(text), MAX_ACTIVITY)
        return Activity(self._connection, Typing(user=self.user, text=shown), self._activities)

    def stop(self, message: Message | int) -> None:
        """Ask the author of the live ``message`` (a Message or its seq) to stop, as the window's *Stop* does.

        Waits for the join, not for the author, who ends the message. Without effect if it has ended. Raises
        RoomClosed. Example: ``room.stop(message)``
        """
        frame = Stop(target=self._seq_of(message), user=self.user)
        self._connection.wait_until(self._connection.has_joined_or_closed, DELIVERY_TIMEOUT)
        self._ask_to_stop(frame)

    async def astop(self, message: Message | int) -> None:
        """``stop`` for code that awaits. Example: ``await room.astop(message)``"""
        frame = Stop(target=self._seq_of(message), user=self.user)
        await self._until(self._connection.has_joined_or_closed, DELIVERY_TIMEOUT)
        self._ask_to_stop(frame)

    def _ask_to_stop(self, frame: Stop) -> None:
        if self._connection.close_error is not None:
            raise self._connection.close_error
        self._connection.send_transient(frame)


class Activity:
    """What a member is doing, repeated until the end of the block. ``room.activity`` returns it.

    ``open``: the activities of the member whose blocks run; the newest is shown.
    """

    def __init__(self, connection: Connection, frame: Typing, open: list[Activity]) -> None:  # noqa: A002
        self._connection = connection
        self._frame = frame
        self._open = open

    def __enter__(self) -> Self:
        self._connection.call_soon(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.call_soon(self._end)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    # ---- on the rooms' thread ----

    def _begin(self) -> None:
        self._open.append(self)
        self._repeat()

    def _repeat(self) -> None:
        if self in self._open:
            if self is self._open[-1]:
                self._connection.send_transient(self._frame)
            self._connection.call_later(ACTIVITY_INTERVAL, self._repeat)

    def _end(self) -> None:
        if self in self._open:
            self._open.remove(self)
            shown = self._open[-1]._frame if self._open else Typing(user=self._frame.user, on=False)  # noqa: SLF001
            self._connection.send_transient(shown)
