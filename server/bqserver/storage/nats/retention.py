"""Retention: removes old messages, after every node knows up to which seq.

The order matters: a node that fills a room from the remaining messages must know that the target of an entry may have
been removed, and is not simply missing. Every node that has rules does this; a second removal has no effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from nats.aio.msg import Msg

from bqserver.errors import ClusterError, StorageError
from bqserver.jetstream import api
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.jetstream.control_state import ControlState
from bqserver.storage.retention import Rule, find_rule
from bqserver.storage.sweeper import Sweeper

from .attachment_retention import remove_unreferenced
from .snapshots import trim_snapshot

PROPAGATION_DELAY = 10.0
"""Seconds in which every node learns of a trim before the stream is purged; nodes poll every two."""
BATCH_SIZE = 500
"""Messages counted with one request."""
TRIM_KEY_PREFIX = "trim."
"""The key of a trim in the control state, with the room's name after it; its value is the last seq removed."""
MESSAGE_OVERHEAD_BYTES = 125
"""Bytes of a stored message besides its subject and payload: JetStream's own, and the header with its id."""


class Retention(Sweeper):
    interval = 600.0
    expected_errors = (StorageError, *CONNECTION_ERRORS)
    logger = logging.getLogger("bqserver.nats")

    def __init__(
        self, client: NatsClient, control: ControlState, rules: Sequence[Rule], clock: Callable[[], float]
    ) -> None:
        super().__init__(rules, clock)
        self._client = client
        self._control = control

    async def sweep(self) -> dict[str, int]:
        trims = {}
        for room, rule in self._limited(sorted(await api.room_names(self._client))):
            if upto := await self._trim_upto(room, rule):
                trims[room] = upto
                await self._control.put(f"{TRIM_KEY_PREFIX}{room}", b"%d" % upto)
        if trims:
            await asyncio.sleep(PROPAGATION_DELAY)
        for room, upto in trims.items():
            # The snapshot before the stream: an interrupted sweep repeats both.
            await trim_snapshot(self._client, room, upto)
            query = {"filter": self._client.address.subject(room), "seq": upto + 1}
            answer = await self._client.api_request(f"STREAM.PURGE.{self._client.address.stream}", query)
            if error := answer.get("error"):
                raise ClusterError(f"the stream can't be purged: {error.get('description')}")
        await remove_unreferenced(self._client, self._kept_since)
        return trims

    async def _kept_since(self, room: str) -> float | None:
        """When the oldest kept message was stored; None: all are kept, or it is unknown now."""
        if find_rule(self._rules, room) is None:
            return None
        messages, _ = await self._read(room, {"seq": 1, "batch": 1})
        if messages:
            return datetime.fromisoformat((messages[0].headers or {})["Nats-Time-Stamp"]).timestamp()
        return None if await api.leader_last_seq(self._client, room) else self._clock()

    async def _trim_upto(self, room: str, rule: Rule) -> int:
        """The seq of the room's last message that exceeds the rule; 0: none does."""
        first = await self._first_seq(room, {"seq": 1})
        if first == 0:
            return 0
        old = 0 if rule.seconds is None else await self._last_older(room, first, self._clock() - rule.seconds)
        return old if rule.size is None else max(old, await self._last_over_size(room, first, rule.size))

    async def _last_older(self, room: str, first: int, since: float) -> int:
        """The seq of the last message stored before ``since``."""
        start = datetime.fromtimestamp(since, UTC).isoformat().replace("+00:00", "Z")
        kept = await self._first_seq(room, {"start_time": start})
        if kept:
            return kept - 1 if kept > first else 0
        # No message is newer, according to a replica, which may be behind: the leader decides.
        last_seq, at = await api.leader_last_message(self._client, room)
        return last_seq if at < since else 0

    async def _last_over_size(self, room: str, first: int, limit: int) -> int:
        """The seq of the last message that exceeds the limit. Reads the room once, and then only new messages."""
        size = self._size(room, limit)
        size.remove(first - 1)
        more = True
        while more:
            messages, more = await self._read(room, {"seq": max(first, size.last_seq + 1), "batch": BATCH_SIZE})
            for msg in messages:
                headers = msg.headers or {}
                size.add(
                    int(headers["Nats-Sequence"]), len(headers["Nats-Subject"]) + len(msg.data) + MESSAGE_OVERHEAD_BYTES
                )
        return size.excess_upto()

    async def _first_seq(self, room: str, query: dict[str, object]) -> int:
        """The seq of the first message that matches; 0: none does."""
        messages, _ = await self._read(room, {**query, "batch": 1})
        return int((messages[0].headers or {}).get("Nats-Sequence", 0)) if messages else 0

    async def _read(self, room: str, query: dict[str, object]) -> tuple[list[Msg], bool]:
        """Messages of the room, and whether more follow."""
        address = self._client.address
        query = {**query, "next_by_subj": address.subject(room)}
        found, more = await api.get_batch(self._client, address.stream, **query)
        return found, bool(found) and more
