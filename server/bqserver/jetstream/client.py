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
    LOST,
    NO_RESPONDERS,
    PATIENCE,
    Heard,
    Keys,
    as_callback,
    close,
    connect,
    explained,
)
from .stream import Address

PING = 1.0
PAUSE = 0.25
"""Seconds between two rounds through the servers."""
FIRST = 10.0
"""Seconds for the first connection, and for the cluster's first answer."""

_log = logging.getLogger("bqserver.nats")


class Link:
    """``connected`` is set while there is a connection; ``on_change`` are called when it comes and goes."""

    def __init__(self, address: Address, credentials: str = "", ca: str = "") -> None:
        self._keys = Keys.read(credentials, ca)
        self.address = address
        self.connected = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        self._client: Client | None = None
        self._numbers = count(1)
        self._inbox = ""
        self._asked: dict[str, Heard] = {}
        self._heard: dict[str, Heard] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._watching: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect for the first time. Raises ClusterError."""
        deadline = asyncio.get_running_loop().time() + FIRST
        while not await self._connect():
            if asyncio.get_running_loop().time() > deadline:
                hosts = [urlsplit(server).netloc.rpartition("@")[2] for server in self.address.servers]
                servers = ", ".join(hosts)
                raise ClusterError(
                    f"no NATS server answers at {servers}: {self._why}; start it, or mend --log"
                )
            await asyncio.sleep(PAUSE)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self.connected.clear()
        if self._client is not None:
            self._drop(self._client)
        if self._closing:
            await asyncio.wait(self._closing, timeout=PATIENCE)

    # ---- what it is for

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Hand it to the connection; whether it arrives, only an answer tells. Raises LOST."""
        await self.client().publish(subject, payload, reply=reply, headers=headers)

    def client(self) -> Client:
        """The connection itself, for what is seldom done. Raises LOST."""
        if self._client is None:
            raise nats.errors.ConnectionClosedError
        return self._client

    def inbox(self, heard: Heard, name: str = "") -> str:
        """An address for answers, until ``forget``; each connection has its own."""
        name = name or str(next(self._numbers))
        self._asked[name] = heard
        return f"{self._inbox}.{name}"

    def forget(self, inbox: str) -> None:
        self._asked.pop(inbox.rpartition(".")[2], None)

    async def subscribe(self, subject: str, heard: Heard) -> None:
        """For good: every new connection subscribes again, and what was said between is not heard."""
        self._heard[subject] = heard
        if self._client is not None and self.connected.is_set():
            with contextlib.suppress(*LOST):
                await self._subscribe(self._client, subject)

    async def unsubscribe(self, subject: str) -> None:
        self._heard.pop(subject, None)
        subscription = self._subscriptions.pop(subject, None)
        if subscription is not None:
            with contextlib.suppress(*LOST):
                await subscription.unsubscribe()

    async def ask(self, subject: str, question: dict[str, Any] | None = None) -> dict[str, Any]:
        """JetStream's answer. Raises LOST, TimeoutError too where nobody answers."""
        asked = json.dumps(question or {}).encode()
        [msg] = await self.gather(f"$JS.API.{subject}", asked, lambda _: True)
        if (msg.headers or {}).get("Status") == NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        answer: dict[str, Any] = json.loads(msg.data)
        return answer

    async def gather(
        self,
        subject: str,
        payload: bytes,
        last: Callable[[Msg], bool],
        *,
        within: float = PATIENCE,
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
            if last(msg):
                done.set_result(None)

        inbox = self.inbox(heard)
        try:
            await self.publish(subject, payload, reply=inbox, headers=headers)
            while not done.done():
                left = heard_at + within - loop.time()
                if left <= 0 or not self.connected.is_set():
                    raise TimeoutError(f"no answer from NATS to {subject} within {within:g} s")
                await asyncio.wait([done], timeout=min(left, PING))
            return found
        finally:
            self.forget(inbox)

    # ---- the connection's life

    _why = "no answer"

    async def _watch(self) -> None:
        while True:
            client = self._client
            if client is None:
                if not await self._connect():
                    await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
                continue
            try:
                await client.flush(timeout=PATIENCE)
            except LOST as error:
                _log.warning("the connection to NATS is lost: %s", explained(error))
                self._lose(client)
                continue
            await asyncio.sleep(PING)

    async def _connect(self) -> bool:
        servers = list(self.address.servers)
        random.shuffle(servers)
        for server in servers:
            client = Client()
            try:
                await asyncio.wait_for(self._join(client, server), 2 * PATIENCE)
            except LOST as error:
                self._why = explained(client.last_error or error)
                self._drop(client)
                continue
            self._client = client
            self.connected.set()
            self._tell()
            return True
        return False

    async def _join(self, client: Client, server: str) -> None:
        await connect(client, server, self._keys, partial(self._gone, client))
        self._inbox = client.new_inbox()
        self._subscriptions.clear()
        await client.subscribe(f"{self._inbox}.*", cb=as_callback(self._answered))
        for subject in list(self._heard):
            await self._subscribe(client, subject)
        await client.flush(timeout=PATIENCE)

    async def _subscribe(self, client: Client, subject: str) -> None:
        self._subscriptions[subject] = await client.subscribe(subject, cb=as_callback(self._heard[subject]))

    def _answered(self, msg: Msg) -> None:
        heard = self._asked.get(msg.subject.rpartition(".")[2])
        if heard is not None:
            heard(msg)

    async def _gone(self, client: Client) -> None:
        self._lose(client)

    def _lose(self, client: Client) -> None:
        if client is not self._client:
            return
        self._client = None
        self.connected.clear()
        self._drop(client)
        self._tell()

    def _drop(self, client: Client) -> None:
        """Close it behind our back: with a frozen server at the other end that may take as long as it likes."""
        task = asyncio.get_running_loop().create_task(close(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _tell(self) -> None:
        for told in self.on_change:
            told()
