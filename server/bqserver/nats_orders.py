"""Moderators' orders in a cluster: a key-value bucket of JetStream, of which every node knows the newest values.

A node hears of a change as it is stored, and looks every ``LOOK`` seconds in case that got lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

from nats.aio.msg import Msg

from .log import LogError
from .nats_connection import LOST, NO_RESPONDERS, explained
from .nats_link import FIRST, PAUSE, Link
from .nats_stream import NOT_FOUND, OTHER_SETTINGS, error_code

LOOK = 2.0
TRIES = 5
CHUNK = 500


class NatsOrders:
    """``learn(key, value)`` is told of each value once, and again when it changes; ``changed()`` after a few."""

    def __init__(
        self,
        link: Link,
        replicas: int,
        learn: Callable[[str, bytes], None],
        changed: Callable[[], None],
    ) -> None:
        self._link = link
        self._replicas = replicas
        self._learn = learn
        self._changed = changed
        self._bucket = f"{link.address.stream}-moderation"
        self._last = 0
        self._heard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the bucket where there is none, and learn what it holds. One that elects a leader just now answers
        nobody: it is asked for ``FIRST`` seconds. Raises LogError.
        """
        deadline = asyncio.get_running_loop().time() + FIRST
        while True:
            try:
                await self._make()
                await self.look()
                break
            except LOST as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise LogError(f"moderators' orders can't be kept: {explained(error)}") from error
                await asyncio.sleep(PAUSE)
        await self._link.subscribe(f"{self._link.address.stream}.orders.>", self._hear)
        self._heard.set()  # for what changed since that look
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _make(self) -> None:
        """Raises LOST."""
        prefix = f"$KV.{self._bucket}."
        settings = {
            "name": f"KV_{self._bucket}",
            "subjects": [f"{prefix}>"],
            "storage": "file",
            "num_replicas": self._replicas,
            "max_msgs_per_subject": 1,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "republish": {"src": f"{prefix}>", "dest": f"{self._link.address.stream}.orders.>"},
        }
        made = await self._link.ask(f"STREAM.CREATE.KV_{self._bucket}", settings)
        if error_code(made) not in (0, OTHER_SETTINGS):
            raise TimeoutError(made["error"].get("description"))

    async def put(self, key: str, value: bytes) -> None:
        """Durable when it returns. Raises LogError where the cluster does not take it."""
        why = ""
        for _ in range(TRIES):
            try:
                [msg] = await self._link.gather(f"$KV.{self._bucket}.{key}", value, lambda _: True)
                answer = json.loads(msg.data or b'{"error": {"description": "nobody takes it"}}')
                if "error" not in answer:
                    return
                why = str(answer["error"].get("description"))
            except LOST as error:
                why = explained(error)
            await asyncio.sleep(0.2)
        raise LogError(f"the cluster does not keep the order: {why}")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _hear(self, _: Msg) -> None:
        self._heard.set()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._heard.wait(), LOOK)
            self._heard.clear()
            with contextlib.suppress(*LOST):
                await self.look()

    async def is_there(self) -> bool:
        """Whether any node has made the bucket. Raises LOST."""
        return error_code(await self._link.ask(f"STREAM.INFO.KV_{self._bucket}")) != NOT_FOUND

    async def look(self) -> None:
        """Learn everything above the last. Raises LOST."""
        more, new = True, False
        while more:
            question = {"seq": self._last + 1, "batch": CHUNK, "next_by_subj": f"$KV.{self._bucket}.>"}
            messages = await self._link.gather(
                f"$JS.API.DIRECT.GET.KV_{self._bucket}",
                json.dumps(question).encode(),
                lambda msg: "Status" in (msg.headers or {}),
            )
            end = messages.pop()
            if (end.headers or {}).get("Status") == NO_RESPONDERS:
                raise TimeoutError("nobody answers for moderators' orders")
            more = int((end.headers or {}).get("Nats-Num-Pending", 0)) > 0
            for msg in messages:
                headers = msg.headers or {}
                self._last = max(self._last, int(headers["Nats-Sequence"]))
                self._learn(headers["Nats-Subject"].removeprefix(f"$KV.{self._bucket}."), msg.data)
                new = True
        if new:
            self._changed()
