"""What handlers return: one reply to the message. What iterators yield is a reply that grows, a live message."""

# ruff: noqa: SLF001 - a part of the room, and of its writer

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import msgspec

from bqwidget._room.arguments import describe
from bqwidget._room.sending import SendMixin
from bqwidget._threads.figures import take_figure
from bqwidget._threads.interrupts import INTERRUPT_REASON
from bqwidget.dispatch import next_turn
from bqwidget.errors import ArgumentTypeError, MessageRefused
from bqwidget.protocol import Message, Send

from .writer import INTERRUPT_ERRORS, Writer

STOP_REASON = "stopped"
"""The message with which a handler that awaits is cancelled."""


class Replies:
    """Sends the results of the handler ``function``. ``room()`` is None when its Room is gone."""

    def __init__(self, room: Callable[[], SendMixin | None], function: Callable[..., object]) -> None:
        self._room = room
        self._function = function
        self._is_reported = False

    def __call__(self, result: object, figures: set[int], message: Message) -> Coroutine[Any, Any, None] | None:
        """None, or what to await until the reply is sent. Runs in the handler's context.

        ``figures``: those that were open before the call. Raises ArgumentTypeError for the first result that can't be
        sent; later ones are ignored.
        """
        if inspect.isawaitable(result):
            return self._await(result, figures, message)
        if isinstance(result, AsyncIterable):
            return self._stream(aiter(result), message)
        if isinstance(result, Iterator):
            return self._stream(_in_turns(result), message)
        if result is None or isinstance(result, Message | Future) or (isinstance(result, str) and not result):
            return None  # a Message or a Sending: the handler has sent it
        return self._send(result, figures, message)

    async def _await(self, result: Awaitable[object], figures: set[int], message: Message) -> None:
        reply = self(await result, figures, message)
        if reply is not None:
            await reply

    def _send(self, result: object, figures: set[int], message: Message) -> Coroutine[Any, Any, None] | None:
        room = self._room()
        if room is None or message.live:
            return None
        try:
            draft = room._content_draft(result, "", None, None)
        except TypeError:
            if self._is_reported:
                return None
            self._is_reported = True
            name = getattr(self._function, "__name__", "the handler")
            raise ArgumentTypeError(
                f"{name} returned {describe(result)}, which can't be sent: return text, a picture, a table, or None",
                argument="result",
            ) from None
        if hasattr(result, "savefig"):
            take_figure(result, figures)
        return self._deliver(room, msgspec.structs.replace(draft, re=message.seq))

    async def _deliver(self, room: SendMixin, draft: Send) -> None:
        await room._adeliver(draft, None)

    def _checked(self, piece: object) -> str:
        """What was yielded, if it is text. Raises ArgumentTypeError."""
        if isinstance(piece, str):
            return piece
        nested = isinstance(piece, AsyncIterable | Iterable) and not isinstance(piece, bytes)
        more = ", or what is in it, by a loop" if nested else ""
        name = getattr(self._function, "__name__", "the handler")
        raise ArgumentTypeError(
            f"{name} yielded {describe(piece)}, which can't be sent: yield text{more}", argument="result"
        )

    async def _stream(self, pieces: AsyncIterator[object], message: Message) -> None:
        """Write what ``pieces`` yield; the first one, which may be empty, opens the message."""
        room = self._room()
        if room is None or message.live:
            await _close(pieces)
            return
        writer, reading, has_started = Writer(room, message.seq, None), _Reading(), False
        error: BaseException | None = None
        try:
            async for piece in pieces:
                if not has_started:
                    writer._open(reading.stop)
                    has_started = True
                if piece is not None:
                    writer.append(self._checked(piece))
                if writer.stopped:
                    break
        except BaseException as caught:  # noqa: BLE001 - raised below, when the message has ended
            error = caught
        reading.end()
        try:
            await _close(pieces)
        except BaseException as caught:  # noqa: BLE001
            error = error or caught
        if isinstance(error, asyncio.CancelledError) and writer.stopped and INTERRUPT_REASON not in error.args:
            reading.task.uncancel()
            error = None
        if not has_started and error is not None and not isinstance(error, (*INTERRUPT_ERRORS, MessageRefused)):
            writer._open()  # so that the room sees why there is no answer
        writer._end(error)
        if error is not None:
            raise error
        if has_started:
            await writer._aresult(writer._ended)


class _Reading:
    """A task that reads what a handler yields. ``stop``, on any thread, cancels what it awaits."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._is_reading = True

    def stop(self) -> None:
        with suppress(RuntimeError):  # its loop is closed
            self.task.get_loop().call_soon_threadsafe(self._cancel)

    def end(self) -> None:
        self._is_reading = False

    def _cancel(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self.task.cancel(STOP_REASON)


async def _in_turns(pieces: Iterator[object]) -> AsyncIterator[object]:
    """One piece for each turn of the loop, so that cells and other callbacks run between them; what a generator returns
    is its last one.
    """
    try:
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                if end.value is not None:
                    yield end.value
                return
            yield piece
            await next_turn()
    finally:
        if (close := getattr(pieces, "close", None)) is not None:
            close()


async def _close(pieces: AsyncIterator[object]) -> None:
    if (close := getattr(pieces, "aclose", None)) is not None:
        await close()
