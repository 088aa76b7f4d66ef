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

from bqwidget._client.endpoint import Endpoint, local_endpoint
from bqwidget._client.http_client import HttpClient, is_permanent
from bqwidget._client.outbox import Delivery
from bqwidget._client.subscription import Subscription
from bqwidget._client.validation import is_encodable, validate
from bqwidget._client.websocket_client import ConnectionLost, WebSocketClient
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
from .session import INITIAL_BACKOFF, MAX_BACKOFF, PageRequest, Session

UNAUTHORIZED = 401
FORBIDDEN, NOT_FOUND = 4403, 4404
CLOSE_REASONS = {
    FORBIDDEN: "you may not be in this room any more",
    NOT_FOUND: "the server has closed it for good",
}

Result = TypeVar("Result")


class Connection(LoopThread):
    """``endpoint`` None: the user's local server. ``update`` hears of every step, with the accepted frames."""

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint | None,
        *,
        query: dict[str, str],
        on_update: Callable[[Sequence[ServerFrame]], None],
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
        self._on_update = on_update
        self._close_error: RoomClosed | None = None
        self._closing = False
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._futures: dict[str, Future[Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._websocket: WebSocketClient | None = None
        self._http: HttpClient | None = None
        self._joined = asyncio.Event()

    def start(self) -> None:
        busy.register(self)
        super().start()

    # ---- from any thread ----

    def request(self, request: Callable[[HttpClient], Coroutine[Any, Any, Result]]) -> Future[Result]:
        """The outcome of ``request`` on this thread, once the room is open."""
        self.check_process()
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()

        async def answer() -> None:
            try:
                await self._joined.wait()
                assert self._http is not None  # made before any join
                future.set_result(await request(self._http))
            except asyncio.CancelledError:
                future.set_exception(self._close_error or RoomClosed(f"{self.session.room} is closed"))
            except Exception as error:  # noqa: BLE001 - it belongs to the thread that asked
                future.set_exception(error)

        with self.lock:
            if self._close_error is not None:
                future.set_exception(self._close_error)
                return future
            self.call_soon(self._start_task, answer)
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
            if self._close_error is not None:
                future.set_exception(self._close_error)
                return future
            self._futures[draft.cid] = future
            if attachment is None:
                self.call_soon(self._put, draft)
            else:
                self.call_soon(self._start_task, partial(self._put_after, draft, attachment))
        return future

    def subscribe(self) -> Subscription:
        """A feed of every message accepted from now on."""
        self.check_process()
        with self.lock:
            return self._new_subscription([])

    async def subscribe_after(self, seq: int) -> Subscription:
        """A feed of every message above ``seq``, whether it has been said already or not. On any loop."""
        self.check_process()
        if self.session.joined_seq is None:
            await asyncio.wrap_future(self.request(_nothing))
        with self.lock:
            floor = self.session.messages.gapless_after
            feed = self._new_subscription(self.session.messages.after(seq))
        if seq < floor:
            feed.prepend(
                await asyncio.wrap_future(self.request(lambda rest: rest.messages_between(seq, floor)))
            )
        return feed

    def _new_subscription(self, messages: Iterable[Message]) -> Subscription:
        feed = Subscription(messages)
        if self._close_error is not None:
            feed.close(self._close_error)
        self._subscriptions.add(feed)
        return feed

    def wait_until(self, met: Callable[[], object], timeout: float | None) -> bool:
        """Wait for a state; ``met`` is asked after every step. False after ``timeout`` seconds."""
        self.check_process()
        with self.lock:
            return bool(self.lock.wait_for(met, timeout))

    def send_transient(self, frame: Typing | Busy) -> None:
        """Worth saying only now, or not at all."""

        def send() -> None:
            if self._websocket is not None and is_encodable(frame):
                self._websocket.send([frame])

        self.call_soon(send)

    def server_time_ms(self) -> int:
        """The time by which the server ends questions, in milliseconds since the epoch."""
        return self.session.server_time_ms(self._loop.time(), _now_ms())

    @property
    def close_error(self) -> RoomClosed | None:
        return self._close_error

    # ---- staying joined ----

    async def _work(self) -> None:
        """Join again and again, with backoff, until refused for good; closing cancels this."""
        refused: Endpoint | None = None
        while True:
            retry_ms = None
            try:
                endpoint = self._configured
                await self._join(await run_in_thread(local_endpoint) if endpoint is None else endpoint)
            except ConnectionRefused as error:
                self.error, retry_ms = error, int((error.retry_after or 0) * 1000)
                if error.status == UNAUTHORIZED and self.endpoint != refused:
                    refused = self.endpoint
                    continue  # there may be a new token by now
                if is_permanent(error):
                    return self._give_up(error)
            except ConnectionLost as error:
                self.error, retry_ms, refused = error, error.retry_ms, None
                if error.code in CLOSE_REASONS:
                    return self._give_up(error, error.code)
            except LocalServerError as error:
                self.error = error
                if self.session.joined_seq is None:
                    return self._give_up(error)
            except (OSError, EOFError, websockets.WebSocketException) as error:
                base, what = (
                    self.endpoint.base if self.endpoint else "the local server",
                    str(error) or type(error).__name__,
                )
                self.error = ConnectionRefused(f"{base} can't be joined: {what}", url=base)
            await self._wait_for_retry(retry_ms)

    async def _join(self, endpoint: Endpoint) -> None:
        if self._http is None or endpoint != self.endpoint:
            if self._http is not None:
                self._http.close()
            self._http = HttpClient(endpoint, self.session.room)
            with self.lock:
                self.endpoint = endpoint
                self.lock.notify_all()
        self._websocket = WebSocketClient(
            endpoint,
            self._http,
            on_frames=self._on_frames,
            on_page=self._on_page,
            on_latency=self._on_latency,
        )
        try:
            await self._websocket.run(self.session.room, {**self._query, **self.session.resume_query()})
        finally:
            self._websocket = None

    async def _wait_for_retry(self, retry_ms: int | None) -> None:
        with self.lock:
            if self.session.state == "open":
                self.last_disconnected_at = _now_ms()
            delay = self.session.on_disconnect(self._loop.time(), retry_ms)
            self.retry_at = _now_ms() + int(delay * 1000)
            self._joined.clear()
        self._advance([])
        await asyncio.sleep(delay)
        self.retry_at = None

    def _give_up(self, error: BqwidgetError, close_code: int | None = None) -> None:
        why = CLOSE_REASONS.get(close_code or 0, str(error))
        self._close_error = RoomClosed(f"room {self.session.room} is closed: {why}", close_code=close_code)
        self._close_error.__cause__ = error
        if close_code is not None:
            self.error = self._close_error

    # ---- what happens on the link ----

    def _on_frames(self, frames: Sequence[ServerFrame]) -> None:
        with self.lock:
            accepted = self.session.receive(frames, self._loop.time())
            self._publish(accepted)
        self._advance(accepted)

    def _on_page(self, page: PageRequest, entries: Sequence[Entry]) -> None:
        with self.lock:
            accepted = self.session.receive_page(page, entries, self._loop.time())
            self._publish(accepted)
        self._advance(accepted)

    def _on_latency(self, latency: float) -> None:
        self.latency = latency
        self._advance([])

    def _publish(self, accepted: Iterable[ServerFrame]) -> None:
        """In the same breath as the session's list, so that a new feed and the list never overlap."""
        messages = [frame.entry for frame in accepted if isinstance(frame, MessageFrame)]
        if messages:
            for feed in list(self._subscriptions):
                feed.put(messages)

    def _put(self, draft: Draft) -> None:
        self.session.outbox.put(draft)
        self._advance([])

    def _start_task(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put_after(self, draft: Draft, attachment: Attachment) -> None:
        try:
            await self.upload(attachment)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the message
            with self.lock:
                future = self._futures.pop(draft.cid, None)
            if future is not None:
                future.set_exception(_to_refusal(error))
            self._advance([])
        else:
            self._put(draft)

    async def upload(self, attachment: Attachment) -> Part:
        """Try until the server has it. Raises ConnectionRefused where it never will."""
        for attempt in count():
            await self._joined.wait()
            assert self._http is not None  # made before any join
            try:
                return await self._http.upload(*attachment)
            except ConnectionRefused as error:
                if is_permanent(error):
                    raise
                await asyncio.sleep(error.retry_after or min(MAX_BACKOFF, INITIAL_BACKOFF * 2.0**attempt))
        raise AssertionError

    def _advance(self, accepted: list[ServerFrame]) -> None:
        """After every change of the session: send, fetch, settle, tell."""
        session = self.session
        if self._websocket is not None:
            self._websocket.send(self._outgoing(accepted))
            self._websocket.request_page(session.wanted_page)
        if self._timer is not None:
            self._timer.cancel()
        due = session.next_send_at()
        self._timer = None if due is None else self._loop.call_at(due, self._advance, [])
        with self.lock:
            if any(isinstance(frame, MessageFrame | ChangeFrame | Hello) for frame in accepted):
                self.version += 1
            if session.state == "open" and not self._joined.is_set():
                self.error = None
                self._joined.set()
                busy.announce(self)
            settled, session.outbox.results = session.outbox.results, []
            futures = [(self._futures.pop(cid, None), outcome) for cid, outcome in settled]
            self.lock.notify_all()
        self._on_update(accepted)
        for future, outcome in futures:
            if future is not None:
                _resolve(future, outcome)
        if self._closing and not self._futures:
            self._main.cancel()

    def _outgoing(self, accepted: list[ServerFrame]) -> list[ClientFrame]:
        """What goes out; a draft that the server would cut the connection for is refused here instead."""
        frames: list[ClientFrame] = []
        for frame in self.session.outgoing(self._loop.time()):
            if isinstance(frame, Draft):
                error = validate(frame, self.session.limits)
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
            if self._close_error is None:
                self._close_error = RoomClosed(
                    f"room {self.session.room} is closed: make a new Room to go on"
                )
            self.session.close()
            self.retry_at = None
            futures, self._futures = list(self._futures.values()), {}
            for feed in list(self._subscriptions):
                feed.close(self._close_error)
            self.lock.notify_all()
        for future in futures:
            future.set_exception(self._close_error)
        self._on_update([])
        if self._http is not None:
            self._http.close()


async def _nothing(_: HttpClient) -> None:
    """To wait for the join."""


def _to_refusal(error: Exception) -> Exception:
    """Why an upload failed, as why its message did."""
    if not isinstance(error, ConnectionRefused):
        return error
    return MessageRefused(error.code or "refused", str(error), status=error.status)


def _resolve(future: Future[Delivery], outcome: Delivery | Error) -> None:
    if isinstance(outcome, Error):
        future.set_exception(MessageRefused(outcome.code, outcome.message))
    else:
        future.set_result(outcome)


def _now_ms() -> int:
    return int(time.time() * 1000)
