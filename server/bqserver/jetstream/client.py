"""The link to NATS, which comes back by itself: questions, publishing, and subscriptions that outlive a connection.

A connection that does not answer a ping within ``PATIENCE`` is dropped, and the next server of the list is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bqserver.errors import ClusterError

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
from .stream import StreamAddress

PING_INTERVAL = 1.0
RECONNECT_INTERVAL = 0.25
"""Seconds between two rounds through the servers."""
STARTUP_TIMEOUT = 10.0
"""Seconds for the first connection, and for the cluster's first answer."""

_log = logging.getLogger("bqserver.nats")


class JetStreamClient:
    """``connected`` is set while there is a connection; ``on_change`` are called when it comes and goes."""

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
        deadline = asyncio.get_running_loop().time() + STARTUP_TIMEOUT
        while not await self._connect():
            if asyncio.get_running_loop().time() > deadline:
                hosts = [urlsplit(server).netloc.rpartition("@")[2] for server in self.address.servers]
                servers = ", ".join(hosts)
                raise ClusterError(
                    f"no NATS server answers at {servers}: {self._last_error}; start it, or mend --log"
                )
            await asyncio.sleep(RECONNECT_INTERVAL)
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        self.connected.clear()
        if self._connection is not None:
            self._close_in_background(self._connection)
        if self._closing:
            await asyncio.wait(self._closing, timeout=REQUEST_TIMEOUT)

    # ---- what it is for

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Hand it to the connection; whether it arrives, only an answer tells. Raises LOST."""
        await self.connection().publish(subject, payload, reply=reply, headers=headers)

    def connection(self) -> Client:
        """The connection itself, for what is seldom done. Raises LOST."""
        if self._connection is None:
            raise nats.errors.ConnectionClosedError
        return self._connection

    def open_inbox(self, handler: MessageHandler, name: str = "") -> str:
        """An address for answers, until ``forget``; each connection has its own."""
        name = name or str(next(self._inbox_numbers))
        self._inboxes[name] = handler
        return f"{self._inbox_prefix}.{name}"

    def close_inbox(self, inbox: str) -> None:
        self._inboxes.pop(inbox.rpartition(".")[2], None)

    async def subscribe(self, subject: str, handler: MessageHandler) -> None:
        """For good: every new connection subscribes again, and what was said between is not heard."""
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

    async def request(self, subject: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        """JetStream's answer. Raises LOST, TimeoutError too where nobody answers."""
        asked = json.dumps(payload or {}).encode()
        [msg] = await self.request_many(f"$JS.API.{subject}", asked, lambda _: True)
        if (msg.headers or {}).get("Status") == NO_RESPONDERS_STATUS:
            raise nats.errors.NoRespondersError
        answer: dict[str, Any] = json.loads(msg.data)
        return answer

    async def request_many(
        self,
        subject: str,
        payload: bytes,
        is_last: Callable[[Msg], bool],
        *,
        answer_timeout: float = REQUEST_TIMEOUT,
        headers: dict[str, str] | None = None,
    ) -> list[Msg]:
        """The answers up to the first for which ``last`` holds. Raises LOST, and TimeoutError after ``within``
        seconds without another one.
        """
        loop = asyncio.get_running_loop()
        found: list[Msg] = []
        done: asyncio.Future[None] = loop.create_future()
        heard_at = loop.time()

        def heard(msg: Msg) -> None:
            nonlocal heard_at
            heard_at = loop.time()
            if done.done():
                return  # servers that elect a leader just now may answer twice
            found.append(msg)
            if is_last(msg):
                done.set_result(None)

        inbox = self.open_inbox(heard)
        try:
            await self.publish(subject, payload, reply=inbox, headers=headers)
            while not done.done():
                left = heard_at + answer_timeout - loop.time()
                if left <= 0 or not self.connected.is_set():
                    raise TimeoutError(f"no answer from NATS to {subject} within {answer_timeout:g} s")
                await asyncio.wait([done], timeout=min(left, PING_INTERVAL))
            return found
        finally:
            self.close_inbox(inbox)

    # ---- the connection's life

    _last_error = "no answer"

    async def _watch(self) -> None:
        while True:
            client = self._connection
            if client is None:
                if not await self._connect():
                    await asyncio.sleep(RECONNECT_INTERVAL * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
                continue
            try:
                await client.flush(timeout=REQUEST_TIMEOUT)
            except CONNECTION_ERRORS as error:
                _log.warning("the connection to NATS is lost: %s", error_text(error))
                self._disconnected(client)
                continue
            await asyncio.sleep(PING_INTERVAL)

    async def _connect(self) -> bool:
        servers = list(self.address.servers)
        random.shuffle(servers)
        for server in servers:
            client = Client()
            try:
                await asyncio.wait_for(self._set_up(client, server), 2 * REQUEST_TIMEOUT)
            except CONNECTION_ERRORS as error:
                self._last_error = error_text(client.last_error or error)
                self._close_in_background(client)
                continue
            self._connection = client
            self.connected.set()
            self._notify()
            return True
        return False

    async def _set_up(self, client: Client, server: str) -> None:
        await connect(client, server, self._credentials, partial(self._on_disconnect, client))
        self._inbox_prefix = client.new_inbox()
        self._subscriptions.clear()
        await client.subscribe(f"{self._inbox_prefix}.*", cb=as_callback(self._on_reply))
        for subject in list(self._handlers):
            await self._subscribe(client, subject)
        await client.flush(timeout=REQUEST_TIMEOUT)

    async def _subscribe(self, client: Client, subject: str) -> None:
        self._subscriptions[subject] = await client.subscribe(
            subject, cb=as_callback(self._handlers[subject])
        )

    def _on_reply(self, msg: Msg) -> None:
        heard = self._inboxes.get(msg.subject.rpartition(".")[2])
        if heard is not None:
            heard(msg)

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
        """Close it behind our back: with a frozen server at the other end that may take as long as it likes."""
        task = asyncio.get_running_loop().create_task(close(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _notify(self) -> None:
        for told in self.on_change:
            told()
