"""WebSocketClient: one WebSocket connection of a room, from the join to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

from bqwidget.errors import BqwidgetError, ConnectionRefused, ProtocolError
from bqwidget.protocol import SUBPROTOCOL, Bye, ClientFrame, Entry, Hello, ServerFrame, decode_server, encode

from .compression import ClientCompression
from .endpoint import Endpoint
from .http_client import HttpClient, consume_exception, refusal_from_response
from .message_list import PageRequest

OPEN_TIMEOUT = 10.0
"""Seconds for the handshake, and then for the hello frame."""
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Longest frame that is accepted from the server."""
MAX_QUEUED_FRAMES = 4096
"""Frames that wait to be processed before reading from the socket pauses."""

_logger = logging.getLogger("bqwidget.websockets")
_logger.setLevel(logging.INFO)  # at DEBUG, websockets logs every header, including the token


class ConnectionLost(BqwidgetError):  # noqa: N818 - named after what happened, as in errors.py
    """The connection ended. ``code``: its close code. ``retry_ms``: the delay that the server asked for."""

    def __init__(self, message: str, *, code: int | None = None, retry_ms: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_ms = retry_ms


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # the token is for this server only


class WebSocketClient:
    """Calls ``on_frames`` with batches: all frames that arrived in one turn of the event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: HttpClient,
        *,
        on_frames: Callable[[Sequence[ServerFrame]], None],
        on_page: Callable[[PageRequest, Sequence[Entry]], None],
        on_latency: Callable[[float], None],
    ) -> None:
        self._endpoint = endpoint
        self._http = http
        self._on_frames = on_frames
        self._on_page = on_page
        self._on_latency = on_latency
        self._received: list[bytes] = []
        self._received_count = 0
        self._bye: Bye | None = None
        self._heartbeat: float | None = None
        self._hello_received = asyncio.Event()
        self._outgoing: deque[ClientFrame] = deque()
        self._outgoing_added = asyncio.Event()
        self._page: PageRequest | None = None
        self._page_requested = asyncio.Event()

    def send(self, frames: Sequence[ClientFrame]) -> None:
        if frames:  # waking the writer takes a turn of the loop, which in a busy kernel waits for the GIL
            self._outgoing.extend(frames)
            self._outgoing_added.set()

    @property
    def has_backlog(self) -> bool:
        """Whether frames wait for the network."""
        return bool(self._outgoing)

    def request_page(self, page: PageRequest | None) -> None:
        """Fetch ``page``, unless that is in progress."""
        if page is not None and page is not self._page:
            self._page = page
            self._page_requested.set()

    async def run(self, room: str, query: dict[str, str]) -> None:
        """Join, and serve the connection until it ends, which always raises.

        Raises ConnectionRefused if the server answered the join or a page request with an HTTP status,
        ConnectionLost if the connection ended, OSError and others if no server could be reached.
        """
        try:
            socket = await self._join(room, query)
        except websockets.InvalidStatus as error:
            answer = error.response
            raise refusal_from_response(
                answer.status_code,
                bytes(answer.body or b""),
                self._endpoint.base,
                answer.headers.get("Retry-After"),
            ) from None
        try:
            if socket.subprotocol != SUBPROTOCOL:
                raise ConnectionRefused(
                    f"{self._endpoint.base} does not speak {SUBPROTOCOL}: is it a bqserver?",
                    url=self._endpoint.base,
                    status=400,
                )
            await _first_error(self._read(socket), self._write(socket), self._keep_alive(socket), self._fetch_pages())
        finally:
            await socket.close()

    async def _join(self, room: str, query: dict[str, str]) -> ClientConnection:
        return await _Connect(
            self._endpoint.websocket_url(room, query),
            subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
            additional_headers=self._endpoint.headers,
            proxy=None if self._endpoint.is_loopback else True,
            compression=None,  # websockets' default keeps context, and compresses every ack and ping
            extensions=None if self._endpoint.is_loopback else [ClientCompression()],  # loopback does not need it
            logger=_logger,
            max_size=MAX_FRAME_BYTES,
            max_queue=MAX_QUEUED_FRAMES,
            ping_interval=None,  # the hello frame sets the heartbeat
            open_timeout=OPEN_TIMEOUT,
            close_timeout=1,
        )

    async def _read(self, socket: ClientConnection) -> None:
        """``recv`` does not suspend while frames are buffered, so ``_flush`` gets all of them at once."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                data = await socket.recv(decode=False)
                self._received.append(data)  # not in one line: _flush replaces the list during the await
                if len(self._received) == 1:
                    loop.call_soon(self._flush)
        except websockets.ConnectionClosed:
            self._flush()
            code = socket.close_code
            if self._bye is not None:
                code = self._bye.code
            reason = f": {socket.close_reason}" if socket.close_reason else ""
            raise ConnectionLost(
                f"the connection to {self._endpoint.base} ended with code {code}{reason}",
                code=code,
                retry_ms=self._bye.retry_ms if self._bye else None,
            ) from None

    def _flush(self) -> None:
        arrived, self._received = self._received, []
        if not arrived:
            return
        self._received_count += len(arrived)
        frames: list[ServerFrame] = []
        for data in arrived:
            try:
                frame = decode_server(data)
            except ProtocolError:
                continue  # the session notices the gap and requests the entries again
            if frame is None:
                continue
            if isinstance(frame, Hello):
                self._heartbeat = frame.heartbeat_ms / 1000
                self._hello_received.set()
            elif isinstance(frame, Bye):
                self._bye = frame
            frames.append(frame)
        self._on_frames(frames)

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            await self._outgoing_added.wait()
            self._outgoing_added.clear()
            while self._outgoing:
                await socket.send(encode(self._outgoing.popleft()).decode())

    async def _keep_alive(self, socket: ClientConnection) -> None:
        """Measure the latency, and end the connection if it stops responding."""
        try:
            await asyncio.wait_for(self._hello_received.wait(), OPEN_TIMEOUT)
        except TimeoutError:
            raise ConnectionLost(f"{self._endpoint.base} accepted the connection but sent no hello") from None
        while True:
            before, started = self._received_count, time.monotonic()
            pong = asyncio.ensure_future(_ping(socket))
            pong.add_done_callback(consume_exception)  # if the connection ends meanwhile, the reader reports it
            # Not wait_for: after a C call that held the GIL for long, pong and timeout arrive together.
            await asyncio.wait({pong}, timeout=self._heartbeat)
            if pong.done():
                pong.result()
                self._on_latency(time.monotonic() - started)
            elif pong.cancel() and self._received_count == before:
                socket.transport.abort()
                raise ConnectionLost(f"{self._endpoint.base} stopped responding")
            await asyncio.sleep(self._heartbeat or OPEN_TIMEOUT)

    async def _fetch_pages(self) -> None:
        while True:
            await self._page_requested.wait()
            self._page_requested.clear()
            page = self._page
            if page is not None:
                self._on_page(page, await self._http.fetch_page(page))


async def _ping(socket: ClientConnection) -> None:
    await (await socket.ping())


async def _first_error(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until one raises, cancel the others, and raise that error."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # A closed connection ends all of them; the reader, which is the first, knows the reason.
        next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
