"""Key-value buckets in JetStream: a value is durable once ``put`` returns, and can be replaced conditionally.

A bucket has the settings of NATS' own key-value buckets, so NATS' tools can read it.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from bqserver.errors import ClusterError

from . import api
from .client import RECONNECT_INTERVAL, STARTUP_TIMEOUT, NatsClient
from .retry import retry
from .stream import STREAM_NAME_IN_USE_CODE, STREAM_NOT_FOUND_CODE, error_code

MAX_ATTEMPTS = 5
RETRY_INTERVAL = 0.2
BATCH_SIZE = 500
WRONG_LAST_SEQ_CODES = (10071, 10164)
"""JetStream's error codes when the last seq is not the expected one."""


class Value(NamedTuple):
    """``seq``: increases with every value of the bucket; ``at``: when it was stored (seconds since the epoch)."""

    key: str
    value: bytes
    seq: int
    at: float


class LastValues:
    """The last message of each subject below ``prefix``, in an existing stream. ``rollup``: a new value removes the
    earlier ones, in a stream that would keep them.
    """

    def __init__(self, client: NatsClient, stream: str, prefix: str, *, rollup: bool = False) -> None:
        self.prefix = prefix
        self._client = client
        self._stream = stream
        self._rollup = rollup

    async def exists(self) -> bool:
        """Whether the stream exists. Raises CONNECTION_ERRORS."""
        return error_code(await self._client.api_request(f"STREAM.INFO.{self._stream}")) != STREAM_NOT_FOUND_CODE

    async def put(self, key: str, value: bytes, *, last: int | None = None, ttl: float | None = None) -> int:
        """Store a value durably and return its seq. With ``last``: store it only if the key's current value has this
        seq (0: no value), else return 0. ``ttl``: seconds after which it is removed. Raises ClusterError.
        """
        # The id makes a repeated put idempotent: it is stored once, and does not conflict with itself.
        headers = {"Nats-Msg-Id": token_hex(16)}
        if last is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(last)
        if self._rollup:
            headers["Nats-Rollup"] = "sub"
        if ttl is not None:
            headers["Nats-TTL"] = f"{max(1, math.ceil(ttl))}s"

        async def store() -> dict[str, Any]:
            msg = await self._client.request(f"{self.prefix}{key}", value, headers)
            answer: dict[str, Any] = json.loads(msg.data)
            return answer

        answer = await _retried(store, WRONG_LAST_SEQ_CODES, "the cluster does not store it")
        return 0 if "error" in answer else int(answer["seq"])

    async def purge(self, key: str, upto: int) -> None:
        """Remove the key's values up to that seq; may be repeated. Raises CONNECTION_ERRORS."""
        await self._client.api_request(
            f"STREAM.PURGE.{self._stream}", {"filter": f"{self.prefix}{key}", "seq": upto + 1}
        )

    async def get(self, key: str) -> Value | None:
        """The current value, answered by the stream's leader. Raises ClusterError."""
        query = {"last_by_subj": f"{self.prefix}{key}"}
        read = partial(self._client.api_request, f"STREAM.MSG.GET.{self._stream}", query)
        answer = await _retried(read, (api.NO_MESSAGE_CODE,), "the cluster does not return the value")
        if "error" in answer:
            return None
        found = answer["message"]
        return Value(key, b64decode(found.get("data", "")), int(found["seq"]), _timestamp(found["time"]))

    async def get_direct(self, key: str) -> Value | None:
        """The last value that one replica has, requested once. Raises CONNECTION_ERRORS, of them NoRespondersError if
        the stream does not exist.
        """
        msg = await self._client.request(f"$JS.API.DIRECT.GET.{self._stream}.{self.prefix}{key}", b"")
        return None if (msg.headers or {}).get("Status") else self._value(msg)

    async def get_after(self, seq: int, keys: str = ">") -> tuple[list[Value], bool]:
        """A batch of values above ``seq`` from any replica, and whether more follow. ``keys``: only those that match.
        Raises CONNECTION_ERRORS.
        """
        messages, more = await api.get_batch(
            self._client, self._stream, seq=seq + 1, batch=BATCH_SIZE, next_by_subj=f"{self.prefix}{keys}"
        )
        return [self._value(msg) for msg in messages], more

    def _value(self, msg: Msg) -> Value:
        headers = msg.headers or {}
        key = headers["Nats-Subject"].removeprefix(self.prefix)
        return Value(key, msg.data, int(headers["Nats-Sequence"]), _timestamp(headers["Nats-Time-Stamp"]))


class KeyValue(LastValues):
    """A bucket named after the stream and ``name``. ``republish_to``: a subject for values as they are stored;
    ``expiring``: values may have a ``ttl`` (NATS 2.11).
    """

    def __init__(
        self, client: NatsClient, name: str, replicas: int, *, republish_to: str = "", expiring: bool = False
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
        if republish_to:
            self._settings["republish"] = {"src": f"{self.prefix}>", "dest": republish_to}
        if expiring:
            self._settings["allow_msg_ttl"] = True

    async def create(self) -> None:
        """Create the bucket if it does not exist. Raises CONNECTION_ERRORS."""
        created = await self._client.api_request(f"STREAM.CREATE.{self._stream}", self._settings)
        if error_code(created) not in (0, STREAM_NAME_IN_USE_CODE):
            raise TimeoutError(created["error"].get("description"))


async def retry_startup(call: Callable[[], Awaitable[None]], bucket: str) -> None:
    """A bucket does not answer while its leader is being elected. Raises ClusterError after ``STARTUP_TIMEOUT``."""
    await retry(
        call,
        lambda reason: ClusterError(f"the bucket of {bucket} can't be used: {reason}"),
        interval=RECONNECT_INTERVAL,
        time_limit=STARTUP_TIMEOUT,
    )


async def _retried(
    call: Callable[[], Awaitable[dict[str, Any]]], expected_codes: Sequence[int], failure: str
) -> dict[str, Any]:
    """The first answer without an error, or with one of ``expected_codes``. Raises ClusterError."""

    async def attempt() -> dict[str, Any]:
        answer = await call()
        if "error" in answer and error_code(answer) not in expected_codes:
            raise TimeoutError(answer["error"].get("description"))
        return answer

    return await retry(
        attempt,
        lambda reason: ClusterError(f"{failure}: {reason}"),
        interval=RETRY_INTERVAL,
        max_attempts=MAX_ATTEMPTS,
    )


def _timestamp(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
