"""A NATS client that reconnects by itself: requests, publishing, and subscriptions that outlive a connection.

A connection that does not answer a ping within ``REQUEST_TIMEOUT`` is closed, and the next server of the list is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bqserver.errors import ClusterError

from .address import StreamAddress
from .connection import (
    CONNECTION_ERRORS,
    NO_RESPONDERS_STATUS,
    REQUEST_TIMEOUT,
    Credentials,
    MessageHandler,
    as_callback,
    close,
    connect,
    error_text,
)
from .retry import retry

PING_INTERVAL = 1.0
RECONNECT_INTERVAL = 0.25
"""Seconds between two rounds through the servers."""
STARTUP_TIMEOUT = 10.0
"""Seconds for the first connection, and for the cluster's first answer."""
CLOSE_TIMEOUT = 1.0
"""Seconds for which ``close`` waits for a server that may be frozen."""

_log = logging.getLogger("bqserver.nats")
_random = Random()  # noqa: S311 - no secret, and apart from the generator that a program may have seeded


class NatsClient:
    """``connected`` is set while there is a connection; the functions in ``on_change`` are called when it changes."""

    def __init__(self, address: StreamAddress, credentials: str = "", ca: str = "") -> None:
        self._credentials = Credentials.read(credentials, ca)
        self.address = address
        self.connected = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        self._connection: Client | None = None
        self._inbox_numbers = count(1)
        self._inbox_prefix = ""
        self._inboxes: dict[str, MessageHandler] = {}
        self._handlers: dict[str, MessageHandler] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect for the first time. Raises ClusterError."""
        hosts = [urlsplit(server).netloc.rpartition("@")[2] for server in self.address.servers]
        await retry(
            self._connect,
            lambda reason: ClusterError(
                f"no NATS server answers at {', '.join(hosts)}: {reason}; start one, or correct --log"
            ),
            interval=RECONNECT_INTERVAL,
            time_limit=STARTUP_TIMEOUT,
        )
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher], timeout=CLOSE_TIMEOUT)  # it closes the connection that it makes
        self.connected.clear()
        if self._connection is not None:
            self._close_in_background(self._connection)
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_TIMEOUT)

    # ---- messages

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Pass a message to the connection; only a reply shows whether it arrived. Raises CONNECTION_ERRORS."""
        await self.connection().publish(subject, payload, reply=reply, headers=headers)

    def connection(self) -> Client:
        """The current connection, for the parts of nats-py that this class does not cover. Raises CONNECTION_ERRORS."""
        if self._connection is None:
            raise nats.errors.ConnectionClosedError
        return self._connection

    def open_inbox(self, handler: MessageHandler, name: str = "") -> str:
        """A subject for replies, valid until ``close_inbox``. Each connection has its own."""
        name = name or str(next(self._inbox_numbers))
        self._inboxes[name] = handler
        return f"{self._inbox_prefix}.{name}"

    def close_inbox(self, inbox: str) -> None:
        self._inboxes.pop(inbox.rpartition(".")[2], None)

    async def subscribe(self, subject: str, handler: MessageHandler) -> None:
        """Subscribe on this and every later connection. Messages sent between two connections are missed."""
        self._handlers[subject] = handler
        if self._connection is not None and self.connected.is_set():
            with contextlib.suppress(*CONNECTION_ERRORS):
                await self._subscribe(self._connection, subject)

    async def unsubscribe(self, subject: str) -> None:
        self._handlers.pop(subject, None)
        subscription = self._subscriptions.pop(subject, None)
        if subscription is not None:
            with contextlib.suppress(*CONNECTION_ERRORS):
                await subscription.unsubscribe()

    async def api_request(self, subject: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        """JetStream's answer, which may be an error. Raises CONNECTION_ERRORS."""
        msg = await self.request(f"$JS.API.{subject}", json.dumps(payload or {}).encode())
        answer: dict[str, Any] = json.loads(msg.data)
        return answer

    async def request(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> Msg:
        """The first reply. Raises CONNECTION_ERRORS, of them NoRespondersError if no service listens on ``subject``."""
        [msg] = await self.request_many(subject, payload, lambda _: True, headers=headers)
        if (msg.headers or {}).get("Status") == NO_RESPONDERS_STATUS:
            raise nats.errors.NoRespondersError
        return msg

    async def request_many(
        self,
        subject: str,
        payload: bytes,
        is_last: Callable[[Msg], bool],
        *,
        answer_timeout: float = REQUEST_TIMEOUT,
        headers: dict[str, str] | None = None,
    ) -> list[Msg]:
        """The replies up to the first for which ``is_last`` holds. Raises CONNECTION_ERRORS, of them TimeoutError
        ``answer_timeout`` seconds after the last reply.
        """
        loop = asyncio.get_running_loop()
        replies: list[Msg] = []
        done: asyncio.Future[None] = loop.create_future()
        received_at = loop.time()

        def on_reply(msg: Msg) -> None:
            nonlocal received_at
            received_at = loop.time()
            if done.done():
                return  # servers may answer twice during a leader election
            replies.append(msg)
            if is_last(msg):
                done.set_result(None)

        inbox = self.open_inbox(on_reply)
        try:
            await self.publish(subject, payload, reply=inbox, headers=headers)
            while not done.done():
                remaining = received_at + answer_timeout - loop.time()
                if remaining <= 0 or not self.connected.is_set():
                    raise TimeoutError(f"no answer from NATS to {subject} within {answer_timeout:g} s")
                await asyncio.wait([done], timeout=min(remaining, PING_INTERVAL))
            return replies
        finally:
            self.close_inbox(inbox)

    # ---- the connection's life

    async def _watch(self) -> None:
        """Ping the server while connected, and reconnect otherwise."""
        while True:
            client = self._connection
            if client is None:
                try:
                    await self._connect()
                except ConnectionError:
                    await asyncio.sleep(RECONNECT_INTERVAL * _random.uniform(0.5, 1.5))
                continue
            try:
                await client.flush(timeout=REQUEST_TIMEOUT)
            except CONNECTION_ERRORS as error:
                _log.warning("the connection to NATS is lost: %s", error_text(error))
                self._disconnected(client)
                continue
            await asyncio.sleep(PING_INTERVAL)

    async def _connect(self) -> None:
        """Connect to the first server that answers, in random order. Raises ConnectionError."""
        reason = "no answer"
        for server in _random.sample(self.address.servers, len(self.address.servers)):
            client = Client()
            try:
                async with asyncio.timeout(2 * REQUEST_TIMEOUT):
                    await self._set_up(client, server)
            except CONNECTION_ERRORS as error:
                reason = error_text(client.last_error or error)
                self._close_in_background(client)
                continue
            except asyncio.CancelledError:
                self._close_in_background(client)
                raise
            self._connection = client
            self.connected.set()
            self._notify()
            return
        raise ConnectionError(reason)

    async def _set_up(self, client: Client, server: str) -> None:
        await connect(client, server, self._credentials, partial(self._on_disconnect, client))
        self._inbox_prefix = client.new_inbox()
        self._subscriptions.clear()
        await client.subscribe(f"{self._inbox_prefix}.*", cb=as_callback(self._on_reply))
        for subject in list(self._handlers):
            await self._subscribe(client, subject)
        await client.flush(timeout=REQUEST_TIMEOUT)

    async def _subscribe(self, client: Client, subject: str) -> None:
        self._subscriptions[subject] = await client.subscribe(subject, cb=as_callback(self._handlers[subject]))

    def _on_reply(self, msg: Msg) -> None:
        handler = self._inboxes.get(msg.subject.rpartition(".")[2])
        if handler is not None:
            handler(msg)

    async def _on_disconnect(self, client: Client) -> None:
        self._disconnected(client)

    def _disconnected(self, client: Client) -> None:
        if client is not self._connection:
            return
        self._connection = None
        self.connected.clear()
        self._close_in_background(client)
        self._notify()

    def _close_in_background(self, client: Client) -> None:
        """Close without waiting: a frozen server may delay this for any time."""
        task = asyncio.get_running_loop().create_task(close(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _notify(self) -> None:
        for callback in self.on_change:
            callback()
