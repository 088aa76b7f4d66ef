"""SessionTask: stays joined to one room and drives its Session. Its methods run on the thread of all rooms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition
from weakref import WeakSet

import websockets

from bqwidget._threads import kernel_busy
from bqwidget._threads.loop_thread import CLOSE_TIMEOUT, LoopTask
from bqwidget.errors import BqwidgetError, ConnectionRefused, LocalServerError, RoomClosed
from bqwidget.protocol import (
    Append,
    AppendFrame,
    Busy,
    ChangeFrame,
    ClientFrame,
    Draft,
    Entry,
    Hello,
    MessageFrame,
    Read,
    Send,
    ServerFrame,
    SetCommands,
    Stop,
    Typing,
)
from bqwidget.session import Session

from .endpoint import Endpoint, local_endpoint
from .http_client import Attachment, is_permanent
from .live.drafts import to_piece
from .message_list import PageRequest
from .outbox import Delivery
from .outcomes import resolve, to_refusal
from .requests import RoomRequests
from .subscription import Subscription
from .undelivered import report_undelivered
from .validation import is_encodable, validate
from .websocket_client import ConnectionLost, WebSocketClient

UNAUTHORIZED = 401
BACKLOG_POLL_INTERVAL = 0.05
"""Seconds after which a live message grows further when the network is slow."""
CLOSE_REASONS = {4403: "your access to it was revoked", 4404: "the server has closed it permanently"}
"""The close codes after which joining again is pointless."""


class SessionTask(LoopTask):
    """``endpoint`` None: the user's local server, found or started before each join.

    ``on_update`` is called after every step of the session, with the frames that were accepted.
    Other threads hold ``lock`` while they read the session's list.
    """

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint | None,
        *,
        query: dict[str, str],
        on_update: Callable[[Sequence[ServerFrame]], None],
    ) -> None:
        super().__init__(f"Room {session.room}")
        self.session = session
        self.lock = Condition()
        self.endpoint = self._configured_endpoint = endpoint
        self.error: BqwidgetError | None = None
        self.close_error: RoomClosed | None = None
        """Set once the room is closed: what every later call raises."""
        self.version = 0
        """Grows whenever the session's list may have changed."""
        self.latency: float | None = None
        self.retry_at: int | None = None
        self.last_disconnected_at: int | None = None
        self.requests = RoomRequests(session.room)
        self._query = query
        self._on_update = on_update
        self._closing = False
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._futures: dict[str, Future[Delivery]] = {}
        self.awaited: set[str] = set()
        """The cids whose outcome a thread waits for, so that it learns of a failure."""
        self._timer: asyncio.TimerHandle | None = None
        self._websocket: WebSocketClient | None = None

    def start(self) -> None:
        kernel_busy.register(self)
        super().start()

    # ---- from any thread ----

    def send_transient(self, frame: Typing | Busy | Send | Stop | SetCommands | Read) -> None:
        """Send ``frame`` if the room is connected, else drop it."""

        def send() -> None:
            if self._websocket is not None and is_encodable(frame):
                self._websocket.send([frame])

        self.call_soon(send)

    def set_busy(self, *, busy: bool) -> None:
        """Tell the room whether this kernel runs a cell."""
        self.send_transient(Busy(busy=busy))

    def call_later(self, delay: float, function: Callable[[], object]) -> None:
        """Run ``function()`` on this thread after ``delay`` seconds."""
        self.call_soon(self._loop.call_later, delay, function)

    # ---- staying joined ----

    async def _work(self) -> None:
        rejected: Endpoint | None = None
        while True:
            retry_ms = None
            try:
                endpoint = self._configured_endpoint
                if endpoint is None:
                    endpoint = await self._thread.run_in_thread(local_endpoint, local_endpoint)
                await self._join(endpoint)
            except ConnectionRefused as error:
                self.error, retry_ms = error, int((error.retry_after or 0) * 1000)
                if error.status == UNAUTHORIZED and self.endpoint != rejected:
                    rejected = self.endpoint
                    continue  # the token may have changed meanwhile: join again at once
                if is_permanent(error):
                    return self._give_up(error)
            except ConnectionLost as error:
                self.error, retry_ms, rejected = error, error.retry_ms, None
                if error.code in CLOSE_REASONS:
                    return self._give_up(error, error.code)
            except LocalServerError as error:
                self.error = error
                if self.session.joined_seq is None:
                    return self._give_up(error)
            except (OSError, EOFError, websockets.WebSocketException) as error:
                base = self.endpoint.base if self.endpoint else "the local server"
                reason = str(error) or type(error).__name__
                self.error = ConnectionRefused(f"{base} can't be joined: {reason}", url=base)
            await self._wait_for_retry(retry_ms)

    async def _join(self, endpoint: Endpoint) -> None:
        http = self.requests.client(endpoint)
        with self.lock:
            self.endpoint = endpoint
            self.lock.notify_all()
        self._websocket = WebSocketClient(
            endpoint, http, on_frames=self._on_frames, on_page=self._on_page, on_latency=self._on_latency
        )
        try:
            await self._websocket.run(self.session.room, {**self._query, **self.session.resume_query()})
        finally:
            self._websocket = None

    async def _wait_for_retry(self, retry_ms: int | None) -> None:
        with self.lock:
            if self.session.state == "open":
                self.last_disconnected_at = now_ms()
            delay = self.session.on_disconnect(self._loop.time(), retry_ms)
            self.retry_at = now_ms() + int(delay * 1000)
            self.requests.room_is_open.clear()
        self._advance([])
        await asyncio.sleep(delay)
        self.retry_at = None

    def _give_up(self, error: BqwidgetError, close_code: int | None = None) -> None:
        reason = CLOSE_REASONS.get(close_code or 0, str(error))
        self.close_error = RoomClosed(f"room {self.session.room} is closed: {reason}", close_code=close_code)
        self.close_error.__cause__ = error
        if close_code is not None:
            self.error = self.close_error

    # ---- what the connection receives ----

    def _on_frames(self, frames: Sequence[ServerFrame]) -> None:
        self._advance(self._receive(self.session.receive, frames))

    def _on_page(self, page: PageRequest, entries: Sequence[Entry]) -> None:
        self._advance(self._receive(self.session.receive_page, page, entries))

    def _on_latency(self, latency: float) -> None:
        self.latency = latency
        self._advance([])

    def _receive(self, receive: Callable[..., list[ServerFrame]], *received: object) -> list[ServerFrame]:
        """What ``receive`` accepts. A new subscription and the list never overlap, and a thread that gets a message, or
        sees that the room is open, finds the list and ``error`` up to date.
        """
        with self.lock:
            accepted = receive(*received, self._loop.time())
            if any(isinstance(frame, MessageFrame | ChangeFrame | AppendFrame | Hello) for frame in accepted):
                self.version += 1
            if self.session.state == "open" and not self.requests.room_is_open.is_set():
                self.error = None
                self.requests.room_is_open.set()
                kernel_busy.announce(self)
            messages = [message for _, message in self.session.messages.completed(accepted)]
            for subscription in list(self._subscriptions) if messages else ():
                subscription.put(messages)
        return accepted

    # ---- the drafts and the state ----

    def _put(self, draft: Draft) -> None:
        self.session.outbox.put(draft)
        self._advance([])

    async def _put_after(self, draft: Draft, attachments: Sequence[Attachment]) -> None:
        try:
            await asyncio.gather(*map(self.requests.upload, attachments))
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for the message
            with self.lock:
                future = self._futures.pop(draft.cid, None)
            if future is not None:
                future.set_exception(to_refusal(error))
            self._advance([])
        else:
            self._put(draft)

    def _advance(self, accepted: list[ServerFrame]) -> None:
        """After every change of the session: send frames, request pages, complete futures, call ``on_update``."""
        session = self.session
        if self._websocket is not None:
            if self._websocket.has_backlog:
                session.live_drafts.hold(self._loop.time() + BACKLOG_POLL_INTERVAL)
            self._websocket.send(self._outgoing(accepted))
            self._websocket.request_page(session.wanted_page)
        if self._timer is not None:
            self._timer.cancel()
        due = session.next_send_at()
        self._timer = None if due is None else self._loop.call_at(due, self._advance, [])
        with self.lock:
            results, session.outbox.results = session.outbox.results, []
            futures = [(self._futures.pop(cid, None), result) for cid, result in results]
            self.lock.notify_all()
        self._on_update(accepted)
        for future, result in futures:
            if future is not None:
                resolve(future, result)
        if self._closing and not self._futures:
            self._main.cancel()

    def _outgoing(self, accepted: list[ServerFrame]) -> list[ClientFrame]:
        """The frames to send. A draft for which the server would end the connection is refused here instead.

        Pieces of a live message that this member writes are shown here at once.
        """
        frames: list[ClientFrame] = []
        for frame in self.session.outgoing(self._loop.time()):
            if isinstance(frame, Append):
                frames.append(frame)
                accepted += self._receive(self.session.receive, [to_piece(frame)])
            elif isinstance(frame, Draft) and (error := validate(frame, self.session.limits)) is not None:
                accepted += self._receive(self.session.receive, [error])
            else:
                frames.append(frame)
        return frames

    # ---- the end ----

    def _begin_close(self) -> None:
        self._closing = True
        for draft in self.session.live_drafts:
            draft.end("stopped")
            draft.on_stop()
        self._advance([])
        if self._futures:
            self._loop.call_later(CLOSE_TIMEOUT, self._main.cancel)

    async def _end(self) -> None:
        kernel_busy.unregister(self)
        if self._timer is not None:
            self._timer.cancel()
        with self.lock:
            if self.close_error is None:
                self.close_error = RoomClosed(f"room {self.session.room} is closed: create a new Room")
            lost = [cid for cid in self._futures if cid not in self.awaited]
            report_undelivered(self.session, lost, self.error or self.close_error)
            self.session.close()
            self.retry_at = None
            futures, self._futures = list(self._futures.values()), {}
            for subscription in list(self._subscriptions):
                subscription.close(self.close_error)
            self.lock.notify_all()
        for future in futures:
            future.set_exception(self.close_error)
        self._on_update([])
        await self.requests.close()


def now_ms() -> int:
    return int(time.time() * 1000)
