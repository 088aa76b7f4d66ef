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

from . import api as nats_queries
from .client import FIRST, PAUSE, Link
from .connection import LOST, NO_RESPONDERS, explained
from .stream import NOT_FOUND, OTHER_SETTINGS, error_code

TRIES = 5
AGAIN = 0.2
CHUNK = 500
OVERTAKEN = (10071, 10164)
"""JetStream's error codes where the last seq is not the one that was expected."""


class Value(NamedTuple):
    """``seq``: grows with every value of the bucket; ``at``: when it was stored (seconds since the epoch)."""

    key: str
    value: bytes
    seq: int
    at: float


class Values:
    """The newest message of each subject below ``prefix``, in a stream that has them. ``rollup``: where the stream
    keeps all of them, a value takes those before it away.
    """

    def __init__(self, link: Link, stream: str, prefix: str, *, rollup: bool = False) -> None:
        self.prefix = prefix
        self._link = link
        self._stream = stream
        self._rollup = rollup

    async def is_there(self) -> bool:
        """Whether anybody has made it. Raises LOST."""
        return error_code(await self._link.ask(f"STREAM.INFO.{self._stream}")) != NOT_FOUND

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
            [msg] = await self._link.gather(f"{self.prefix}{key}", value, lambda _: True, headers=headers)
            answer: dict[str, Any] = json.loads(msg.data or b'{"error": {"description": "nobody takes it"}}')
            return answer

        answer = await _answer(store, OVERTAKEN, "the cluster does not keep it")
        return 0 if "error" in answer else int(answer["seq"])

    async def drop(self, key: str, upto: int) -> None:
        """Leave nothing of its values up to that seq. Raises LOST; it may be asked for again."""
        await self._link.ask(
            f"STREAM.PURGE.{self._stream}", {"filter": f"{self.prefix}{key}", "seq": upto + 1}
        )

    async def get(self, key: str) -> Value | None:
        """The newest, as the bucket's leader knows it. Raises ClusterError where nobody answers."""
        question = {"last_by_subj": f"{self.prefix}{key}"}
        read = partial(self._link.ask, f"STREAM.MSG.GET.{self._stream}", question)
        answer = await _answer(read, (nats_queries.NO_MESSAGE,), "the cluster does not say what it keeps")
        if "error" in answer:
            return None
        found = answer["message"]
        return Value(key, b64decode(found.get("data", "")), int(found["seq"]), _seconds(found["time"]))

    async def glance(self, key: str) -> Value | None:
        """The newest that the next replica knows, asked once. Raises LOST; NoRespondersError too where there is no such
        bucket.
        """
        subject = f"$JS.API.DIRECT.GET.{self._stream}.{self.prefix}{key}"
        [msg] = await self._link.gather(subject, b"", lambda _: True)
        status = (msg.headers or {}).get("Status")
        if status == NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        return None if status else self._value(msg)

    async def above(self, seq: int) -> tuple[list[Value], bool]:
        """Some of the values from above there on, as any replica knows them, and whether there are more. Raises LOST."""
        messages, more = await nats_queries.batch(
            self._link, self._stream, seq=seq + 1, batch=CHUNK, next_by_subj=f"{self.prefix}>"
        )
        return [self._value(msg) for msg in messages], more

    def _value(self, msg: Msg) -> Value:
        headers = msg.headers or {}
        key = headers["Nats-Subject"].removeprefix(self.prefix)
        return Value(key, msg.data, int(headers["Nats-Sequence"]), _seconds(headers["Nats-Time-Stamp"]))


class Bucket(Values):
    """``name`` follows the stream's. ``retold``: where values are heard as they are stored; ``expiring``: whether
    they may have a ``ttl`` (NATS 2.11).
    """

    def __init__(
        self, link: Link, name: str, replicas: int, *, retold: str = "", expiring: bool = False
    ) -> None:
        super().__init__(link, f"KV_{link.address.stream}-{name}", f"$KV.{link.address.stream}-{name}.")
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

    async def make(self) -> None:
        """Where there is none. Raises LOST."""
        made = await self._link.ask(f"STREAM.CREATE.{self._stream}", self._settings)
        if error_code(made) not in (0, OTHER_SETTINGS):
            raise TimeoutError(made["error"].get("description"))


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


async def _answer(
    ask: Callable[[], Awaitable[dict[str, Any]]], known: Sequence[int], failed: str
) -> dict[str, Any]:
    """What ``ask`` brings, tried a few times: no error, or one of the ``known``. Raises ClusterError: ``failed``, and why."""
    why = ""
    for _ in range(TRIES):
        try:
            answer = await ask()
            if "error" not in answer or error_code(answer) in known:
                return answer
            why = str(answer["error"].get("description"))
        except LOST as error:
            why = explained(error)
        await asyncio.sleep(AGAIN)
    raise ClusterError(f"{failed}: {why}")


async def until_answered(work: Callable[[], Awaitable[None]], what: str) -> None:
    """A bucket that elects a leader just now answers nobody: it is asked for ``FIRST`` seconds. Raises ClusterError."""
    deadline = asyncio.get_running_loop().time() + FIRST
    while True:
        try:
            return await work()
        except LOST as error:
            if asyncio.get_running_loop().time() > deadline:
                raise ClusterError(f"{what} can't be kept: {explained(error)}") from error
            await asyncio.sleep(PAUSE)
