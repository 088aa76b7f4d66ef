"""Values under keys in JetStream: durable before it answers, one value a key, changed only by who has seen the last.

A bucket's settings are those of NATS' own key-value buckets, so that its tools can read what is there.
"""

from __future__ import annotations

import asyncio
import json
import math
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple

import nats.errors
from nats.aio.msg import Msg

from bqserver.errors import ClusterError

from . import api
from .client import RECONNECT_INTERVAL, STARTUP_TIMEOUT, JetStreamClient
from .connection import CONNECTION_ERRORS, NO_RESPONDERS_STATUS, error_text
from .stream import STREAM_NAME_IN_USE, STREAM_NOT_FOUND, error_code

MAX_ATTEMPTS = 5
RETRY_INTERVAL = 0.2
BATCH_SIZE = 500
WRONG_LAST_SEQ = (10071, 10164)
"""JetStream's error codes where the last seq is not the one that was expected."""


class Value(NamedTuple):
    """``seq``: grows with every value of the bucket; ``at``: when it was stored (seconds since the epoch)."""

    key: str
    value: bytes
    seq: int
    at: float


class LastValues:
    """The newest message of each subject below ``prefix``, in a stream that has them. ``rollup``: where the stream
    keeps all of them, a value takes those before it away.
    """

    def __init__(self, client: JetStreamClient, stream: str, prefix: str, *, rollup: bool = False) -> None:
        self.prefix = prefix
        self._client = client
        self._stream = stream
        self._rollup = rollup

    async def exists(self) -> bool:
        """Whether anybody has made it. Raises LOST."""
        return error_code(await self._client.request(f"STREAM.INFO.{self._stream}")) != STREAM_NOT_FOUND

    async def put(self, key: str, value: bytes, *, last: int | None = None, ttl: float | None = None) -> int:
        """Durable when it returns its seq. 0: the key's value is not the one of seq ``last`` (0: none) any more.
        ``ttl``: seconds after which it is gone. Raises ClusterError where the cluster does not take it.
        """
        # Tried again after its answer got lost, a cluster stores it once, and it is not overtaken by itself.
        headers = {"Nats-Msg-Id": token_hex(16)}
        if last is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(last)
        if self._rollup:
            headers["Nats-Rollup"] = "sub"
        if ttl is not None:
            headers["Nats-TTL"] = f"{max(1, math.ceil(ttl))}s"

        async def store() -> dict[str, Any]:
            [msg] = await self._client.request_many(
                f"{self.prefix}{key}", value, lambda _: True, headers=headers
            )
            answer: dict[str, Any] = json.loads(msg.data or b'{"error": {"description": "nobody takes it"}}')
            return answer

        answer = await _answer(store, WRONG_LAST_SEQ, "the cluster does not keep it")
        return 0 if "error" in answer else int(answer["seq"])

    async def purge(self, key: str, upto: int) -> None:
        """Leave nothing of its values up to that seq. Raises LOST; it may be asked for again."""
        await self._client.request(
            f"STREAM.PURGE.{self._stream}", {"filter": f"{self.prefix}{key}", "seq": upto + 1}
        )

    async def get(self, key: str) -> Value | None:
        """The newest, as the bucket's leader knows it. Raises ClusterError where nobody answers."""
        question = {"last_by_subj": f"{self.prefix}{key}"}
        read = partial(self._client.request, f"STREAM.MSG.GET.{self._stream}", question)
        answer = await _answer(read, (api.NO_MESSAGE,), "the cluster does not say what it keeps")
        if "error" in answer:
            return None
        found = answer["message"]
        return Value(key, b64decode(found.get("data", "")), int(found["seq"]), _timestamp(found["time"]))

    async def get_direct(self, key: str) -> Value | None:
        """The newest that the next replica knows, asked once. Raises LOST; NoRespondersError too where there is no such
        bucket.
        """
        subject = f"$JS.API.DIRECT.GET.{self._stream}.{self.prefix}{key}"
        [msg] = await self._client.request_many(subject, b"", lambda _: True)
        status = (msg.headers or {}).get("Status")
        if status == NO_RESPONDERS_STATUS:
            raise nats.errors.NoRespondersError
        return None if status else self._value(msg)

    async def get_after(self, seq: int) -> tuple[list[Value], bool]:
        """Some of the values from above there on, as any replica knows them, and whether there are more. Raises LOST."""
        messages, more = await api.get_batch(
            self._client, self._stream, seq=seq + 1, batch=BATCH_SIZE, next_by_subj=f"{self.prefix}>"
        )
        return [self._value(msg) for msg in messages], more

    def _value(self, msg: Msg) -> Value:
        headers = msg.headers or {}
        key = headers["Nats-Subject"].removeprefix(self.prefix)
        return Value(key, msg.data, int(headers["Nats-Sequence"]), _timestamp(headers["Nats-Time-Stamp"]))


class KeyValue(LastValues):
    """``name`` follows the stream's. ``retold``: where values are heard as they are stored; ``expiring``: whether
    they may have a ``ttl`` (NATS 2.11).
    """

    def __init__(
        self, client: JetStreamClient, name: str, replicas: int, *, retold: str = "", expiring: bool = False
    ) -> None:
        super().__init__(client, f"KV_{client.address.stream}-{name}", f"$KV.{client.address.stream}-{name}.")
        self._settings: dict[str, object] = {
            "name": self._stream,
            "subjects": [f"{self.prefix}>"],
            "storage": "file",
            "num_replicas": replicas,
            "max_msgs_per_subject": 1,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
        }
        if retold:
            self._settings["republish"] = {"src": f"{self.prefix}>", "dest": retold}
        if expiring:
            self._settings["allow_msg_ttl"] = True

    async def create(self) -> None:
        """Where there is none. Raises LOST."""
        made = await self._client.request(f"STREAM.CREATE.{self._stream}", self._settings)
        if error_code(made) not in (0, STREAM_NAME_IN_USE):
            raise TimeoutError(made["error"].get("description"))


def _timestamp(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


async def _answer(
    ask: Callable[[], Awaitable[dict[str, Any]]], known: Sequence[int], failed: str
) -> dict[str, Any]:
    """What ``ask`` brings, tried a few times: no error, or one of the ``known``. Raises ClusterError: ``failed``, and why."""
    why = ""
    for _ in range(MAX_ATTEMPTS):
        try:
            answer = await ask()
            if "error" not in answer or error_code(answer) in known:
                return answer
            why = str(answer["error"].get("description"))
        except CONNECTION_ERRORS as error:
            why = error_text(error)
        await asyncio.sleep(RETRY_INTERVAL)
    raise ClusterError(f"{failed}: {why}")


async def until_answered(work: Callable[[], Awaitable[None]], what: str) -> None:
    """A bucket that elects a leader just now answers nobody: it is asked for ``FIRST`` seconds. Raises ClusterError."""
    deadline = asyncio.get_running_loop().time() + STARTUP_TIMEOUT
    while True:
        try:
            return await work()
        except CONNECTION_ERRORS as error:
            if asyncio.get_running_loop().time() > deadline:
                raise ClusterError(f"{what} can't be kept: {error_text(error)}") from error
            await asyncio.sleep(RECONNECT_INTERVAL)
