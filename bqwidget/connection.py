"""Connection: a room's own thread, which joins, stays joined, and drives a Session.

What isn't marked otherwise runs on that thread. Other threads take ``lock`` to read the session's list;
what they want done comes over ``call``, ``submit`` and ``ask``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count
from threading import Condition
from typing import Any, TypeVar
from weakref import WeakSet

import websockets

from bqwidget._client.endpoint import Endpoint, local
from bqwidget._client.http_client import Rest, is_final
from bqwidget._client.outbox import Delivery
from bqwidget._client.subscription import Feed
from bqwidget._client.validation import is_text, wrong
from bqwidget._client.websocket_client import Link, LinkLost
from bqwidget._room.attachments import Attachment
from bqwidget._threads import kernel_busy as busy
from bqwidget._threads.loop_thread import CLOSE_TIMEOUT, LoopThread, run_in_thread

from .errors import (
    BqwidgetError,
    ConnectionRefused,
    LocalServerError,
    MessageRefused,
    RoomClosed,
)
from .protocol import (
    Busy,
    ChangeFrame,
    ClientFrame,
    Draft,
    Entry,
    Error,
    Hello,
    Message,
    MessageFrame,
    Part,
    ServerFrame,
    Typing,
    plain,
)
from .session import BACKOFF_BASE, BACKOFF_CAP, Page, Session

UNAUTHORIZED = 401
FORBIDDEN, GONE = 4403, 4404
FINAL = {FORBIDDEN: "you may not be in this room any more", GONE: "the server has closed it for good"}

Result = TypeVar("Result")


class Connection(LoopThread):
    """``endpoint`` None: the user's local server. ``update`` hears of every step, with the accepted frames."""

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint | None,
        *,
        query: dict[str, str],
        update: Callable[[Sequence[ServerFrame]], None],
    ) -> None:
        super().__init__(f"bqwidget-{session.room}")
        self.session = session
        self.lock = Condition()
        self.endpoint = endpoint
        self.version = 0
        """Grows whenever the session's list may have changed."""
        self.error: BqwidgetError | None = None
        self.latency: float | None = None
        self.retry_at: int | None = None
        self.last_disconnected_at: int | None = None
        self._configured = endpoint
        self._query = query
        self._update = update
        self._closed: RoomClosed | None = None
        self._closing = False
        self._feeds: WeakSet[Feed] = WeakSet()
        self._futures: dict[str, Future[Delivery]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._link: Link | None = None
        self._rest: Rest | None = None
        self._joined = asyncio.Event()

    def start(self) -> None:
        busy.register(self)
        super().start()

    # ---- from any thread ----

    def ask(self, request: Callable[[Rest], Coroutine[Any, Any, Result]]) -> Future[Result]:
        """The outcome of ``request`` on this thread, once the room is open."""
        self.check_process()
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()

        async def answer() -> None:
            try:
                await self._joined.wait()
                assert self._rest is not None  # made before any join
                future.set_result(await request(self._rest))
            except asyncio.CancelledError:
                future.set_exception(self._closed or RoomClosed(f"{self.session.room} is closed"))
            except Exception as error:  # noqa: BLE001 - it belongs to the thread that asked
                future.set_exception(error)

        with self.lock:
            if self._closed is not None:
                future.set_exception(self._closed)
                return future
            self.call_soon(self._begin, answer)
        return future

    def submit(self, draft: Draft, attachment: Attachment | None = None) -> Future[Delivery]:
        """Queue ``draft`` until it is acknowledged, refused (MessageRefused) or given up (RoomClosed).

        Its attachment goes before it; what is submitted meanwhile doesn't wait for that.
        """
        self.check_process()
        draft = plain(draft)
        with self.lock:
            if draft.cid in self._futures:
                return self._futures[draft.cid]
            future: Future[Delivery] = Future()
            future.set_running_or_notify_cancel()  # whoever waits may stop waiting, but can't take it back
            if self._closed is not None:
                future.set_exception(self._closed)
                return future
            self._futures[draft.cid] = future
            if attachment is None:
                self.call_soon(self._put, draft)
            else:
                self.call_soon(self._begin, partial(self._put_after, draft, attachment))
        return future

    def subscribe(self) -> Feed:
        """A feed of every message accepted from now on."""
        self.check_process()
        with self.lock:
            return self._new_feed([])

    async def subscribe_after(self, seq: int) -> Feed:
        """A feed of every message above ``seq``, whether it has been said already or not. On any loop."""
        self.check_process()
        if self.session.joined_at is None:
            await asyncio.wrap_future(self.ask(_nothing))
        with self.lock:
            floor = self.session.tail.floor
            feed = self._new_feed(self.session.tail.after(seq))
        if seq < floor:
            feed.precede(await asyncio.wrap_future(self.ask(lambda rest: rest.between(seq, floor))))
        return feed

    def _new_feed(self, messages: Iterable[Message]) -> Feed:
        feed = Feed(messages)
        if self._closed is not None:
            feed.end(self._closed)
        self._feeds.add(feed)
        return feed

    def wait_until(self, met: Callable[[], object], timeout: float | None) -> bool:
        """Wait for a state; ``met`` is asked after every step. False after ``timeout`` seconds."""
        self.check_process()
        with self.lock:
            return bool(self.lock.wait_for(met, timeout))

    def say(self, frame: Typing | Busy) -> None:
        """Worth saying only now, or not at all."""

        def send() -> None:
            if self._link is not None and is_text(frame):
                self._link.send([frame])

        self.call_soon(send)

    def clock(self) -> int:
        """The time by which the server ends questions, in milliseconds since the epoch."""
        return self.session.clock(self._loop.time(), _now_ms())

    @property
    def closed(self) -> RoomClosed | None:
        return self._closed

    # ---- staying joined ----

    async def _work(self) -> None:
        """Join again and again, with backoff, until refused for good; closing cancels this."""
        refused: Endpoint | None = None
        while True:
            retry_ms = None
            try:
                endpoint = self._configured
                await self._join(await run_in_thread(local) if endpoint is None else endpoint)
            except ConnectionRefused as error:
                self.error, retry_ms = error, int((error.retry_after or 0) * 1000)
                if error.status == UNAUTHORIZED and self.endpoint != refused:
                    refused = self.endpoint
                    continue  # there may be a new token by now
                if is_final(error):
                    return self._give_up(error)
            except LinkLost as error:
                self.error, retry_ms, refused = error, error.retry_ms, None
                if error.code in FINAL:
                    return self._give_up(error, error.code)
            except LocalServerError as error:
                self.error = error
                if self.session.joined_at is None:
                    return self._give_up(error)
            except (OSError, EOFError, websockets.WebSocketException) as error:
                base, what = (
                    self.endpoint.base if self.endpoint else "the local server",
                    str(error) or type(error).__name__,
                )
                self.error = ConnectionRefused(f"{base} can't be joined: {what}", url=base)
            await self._back_off(retry_ms)

    async def _join(self, endpoint: Endpoint) -> None:
        if self._rest is None or endpoint != self.endpoint:
            if self._rest is not None:
                self._rest.close()
            self._rest = Rest(endpoint, self.session.room)
            with self.lock:
                self.endpoint = endpoint
                self.lock.notify_all()
        self._link = Link(endpoint, self._rest, heard=self._heard, paged=self._paged, measured=self._measured)
        try:
            await self._link.run(self.session.room, {**self._query, **self.session.cursor()})
        finally:
            self._link = None

    async def _back_off(self, retry_ms: int | None) -> None:
        with self.lock:
            if self.session.state == "open":
                self.last_disconnected_at = _now_ms()
            delay = self.session.disconnected(self._loop.time(), retry_ms)
            self.retry_at = _now_ms() + int(delay * 1000)
            self._joined.clear()
        self._step([])
        await asyncio.sleep(delay)
        self.retry_at = None

    def _give_up(self, error: BqwidgetError, close_code: int | None = None) -> None:
        why = FINAL.get(close_code or 0, str(error))
        self._closed = RoomClosed(f"room {self.session.room} is closed: {why}", close_code=close_code)
        self._closed.__cause__ = error
        if close_code is not None:
            self.error = self._closed

    # ---- what happens on the link ----

    def _heard(self, frames: Sequence[ServerFrame]) -> None:
        with self.lock:
            accepted = self.session.receive(frames, self._loop.time())
            self._feed(accepted)
        self._step(accepted)

    def _paged(self, page: Page, entries: Sequence[Entry]) -> None:
        with self.lock:
            accepted = self.session.paged(page, entries, self._loop.time())
            self._feed(accepted)
        self._step(accepted)

    def _measured(self, latency: float) -> None:
        self.latency = latency
        self._step([])

    def _feed(self, accepted: Iterable[ServerFrame]) -> None:
        """In the same breath as the session's list, so that a new feed and the list never overlap."""
        messages = [frame.entry for frame in accepted if isinstance(frame, MessageFrame)]
        if messages:
            for feed in list(self._feeds):
                feed.put(messages)

    def _put(self, draft: Draft) -> None:
        self.session.outbox.put(draft)
        self._step([])

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(work())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _put_after(self, draft: Draft, attachment: Attachment) -> None:
        try:
            await self.upload(attachment)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the message
            with self.lock:
                future = self._futures.pop(draft.cid, None)
            if future is not None:
                future.set_exception(_refused(error))
            self._step([])
        else:
            self._put(draft)

    async def upload(self, attachment: Attachment) -> Part:
        """Try until the server has it. Raises ConnectionRefused where it never will."""
        for attempt in count():
            await self._joined.wait()
            assert self._rest is not None  # made before any join
            try:
                return await self._rest.upload(*attachment)
            except ConnectionRefused as error:
                if is_final(error):
                    raise
                await asyncio.sleep(error.retry_after or min(BACKOFF_CAP, BACKOFF_BASE * 2.0**attempt))
        raise AssertionError

    def _step(self, accepted: list[ServerFrame]) -> None:
        """After every change of the session: send, fetch, settle, tell."""
        session = self.session
        if self._link is not None:
            self._link.send(self._sendable(accepted))
            self._link.want(session.wants)
        if self._timer is not None:
            self._timer.cancel()
        due = session.due()
        self._timer = None if due is None else self._loop.call_at(due, self._step, [])
        with self.lock:
            if any(isinstance(frame, MessageFrame | ChangeFrame | Hello) for frame in accepted):
                self.version += 1
            if session.state == "open" and not self._joined.is_set():
                self.error = None
                self._joined.set()
                busy.announce(self)
            settled, session.outbox.settled = session.outbox.settled, []
            futures = [(self._futures.pop(cid, None), outcome) for cid, outcome in settled]
            self.lock.notify_all()
        self._update(accepted)
        for future, outcome in futures:
            if future is not None:
                _settle(future, outcome)
        if self._closing and not self._futures:
            self._main.cancel()

    def _sendable(self, accepted: list[ServerFrame]) -> list[ClientFrame]:
        """What goes out; a draft that the server would cut the connection for is refused here instead."""
        frames: list[ClientFrame] = []
        for frame in self.session.outgoing(self._loop.time()):
            if isinstance(frame, Draft):
                error = wrong(frame, self.session.limits)
                if error is not None:
                    accepted += self.session.receive([error], self._loop.time())
                    continue
            frames.append(frame)
        return frames

    # ---- the end ----

    def _begin_close(self) -> None:
        self._closing = True
        if self._futures and self.session.state == "open":
            self._loop.call_later(CLOSE_TIMEOUT, self._main.cancel)
        else:
            self._main.cancel()

    def _end(self) -> None:
        busy.unregister(self)
        with self.lock:
            if self._closed is None:
                self._closed = RoomClosed(f"room {self.session.room} is closed: make a new Room to go on")
            self.session.close()
            self.retry_at = None
            futures, self._futures = list(self._futures.values()), {}
            for feed in list(self._feeds):
                feed.end(self._closed)
            self.lock.notify_all()
        for future in futures:
            future.set_exception(self._closed)
        self._update([])
        if self._rest is not None:
            self._rest.close()


async def _nothing(_: Rest) -> None:
    """To wait for the join."""


def _refused(error: Exception) -> Exception:
    """Why an upload failed, as why its message did."""
    if not isinstance(error, ConnectionRefused):
        return error
    return MessageRefused(error.code or "refused", str(error), status=error.status)


def _settle(future: Future[Delivery], outcome: Delivery | Error) -> None:
    if isinstance(outcome, Error):
        future.set_exception(MessageRefused(outcome.code, outcome.message))
    else:
        future.set_result(outcome)


def _now_ms() -> int:
    return int(time.time() * 1000)
