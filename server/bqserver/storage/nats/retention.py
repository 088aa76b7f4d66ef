"""Letting old messages go: every node learns how far, and only then the stream is purged.

The order matters: a node that works out a room from what is left must know that what an entry is about may have
been let go, and is not simply missing. Every node that has the rules does this; whoever comes first has done it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from nats.aio.msg import Msg

from bqserver.errors import ClusterError, SettingError, StorageError
from bqserver.jetstream import api
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.watched_kv import ControlState

from . import attachment_retention, snapshots

SWEEP_INTERVAL = 600.0
PROPAGATION_DELAY = 10.0
"""Seconds in which every node learns how far, before it is gone; they look every two."""
AGE_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
SIZE_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
PATTERN = re.compile(r"[A-Za-z0-9_*?-]+")
LIMIT = re.compile(r"([1-9][0-9]{0,5})([A-Za-z]{1,2})")
BATCH_SIZE = 500
"""Messages that are counted in one go."""
TRIM_KEY_PREFIX = "trim."
"""What an order says so under, with the room's name behind it; its value is the last seq that goes."""

MESSAGE_OVERHEAD_BYTES = 125
"""Bytes of a stored message beside its subject and its payload: JetStream's own, and the header with its id."""
MAX_BLOCKS = 100
"""Into how many parts the limit is divided for counting: what is let go is rounded up to whole ones."""

_log = logging.getLogger("bqserver.nats")


class Rule(NamedTuple):
    """Rooms whose names fit ``pattern`` keep ``seconds`` of their past, and ``size`` bytes; None: no matter how much."""

    pattern: str
    seconds: float | None = None
    size: int | None = None


def parse_rules(given: Sequence[str]) -> list[Rule]:
    """``PATTERN=AGE``, ``PATTERN=SIZE`` or ``PATTERN=AGE,SIZE`` each. Raises StorageError."""
    return [_parse_rule(one) for one in given]


def _parse_rule(given: str) -> Rule:
    pattern, _, limits = given.partition("=")
    rule = Rule(pattern)
    for limit in limits.split(","):
        found = LIMIT.fullmatch(limit)
        if found and found[2] in AGE_UNITS and rule.seconds is None:
            rule = rule._replace(seconds=int(found[1]) * AGE_UNITS[found[2]])
        elif found and found[2] in SIZE_UNITS and rule.size is None:
            rule = rule._replace(size=int(found[1]) * SIZE_UNITS[found[2]])
        else:
            break
    else:
        if PATTERN.fullmatch(pattern):
            return rule
    raise SettingError(
        f"--retain={given} is not understood: say PATTERN=AGE, PATTERN=SIZE or both, as 'class-*=30d', "
        "'logs-*=100MB' or '*=52w,1GB' (m, h, d, w; kB, MB, GB, TB)"
    )


class RetentionSize:
    """The bytes that one room takes in the stream, counted message by message, oldest first: JetStream tells that of
    whole streams only. Pure, and of bounded size: a room is remembered as some hundred blocks.

    ``limit``: bytes that it may take; ``last``: the seq told last."""

    def __init__(self, limit: int) -> None:
        self.last = 0
        self.bytes = 0
        self._limit = limit
        self._blocks: deque[tuple[int, int]] = deque()
        """The last seq of each block, and its bytes."""

    def add(self, seq: int, size: int) -> None:
        """``size``: bytes of its subject and its payload."""
        size += MESSAGE_OVERHEAD_BYTES
        self.bytes += size
        self.last = seq
        if self._blocks and self._blocks[-1][1] + size <= self._limit // MAX_BLOCKS:
            size += self._blocks.pop()[1]
        self._blocks.append((seq, size))

    def forget(self, upto: int) -> None:
        """What went, whoever let it go: a block that is partly gone still counts whole."""
        while self._blocks and self._blocks[0][0] <= upto:
            self.bytes -= self._blocks.popleft()[1]

    def excess_upto(self) -> int:
        """The seq up to which messages have to go; 0: they fit."""
        over, upto = self.bytes - self._limit, 0
        for seq, size in self._blocks:
            if over <= 0:
                break
            over, upto = over - size, seq
        return upto


class Retention:
    """``rules``: the first that fits a room's name counts; where none does, all is kept. ``clock``: seconds
    since the epoch.
    """

    def __init__(
        self, client: JetStreamClient, orders: ControlState, rules: Sequence[Rule], clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._control = orders
        self._rules = rules
        self._clock = clock
        self._sizes: dict[str, RetentionSize] = {}

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except (StorageError, *CONNECTION_ERRORS) as error:
                _log.warning("old messages could not be let go: %s; they will be, later", error_text(error))
            except Exception:  # noqa: BLE001 - nobody else would hear of it, and nothing would go any more
                _log.exception("old messages could not be let go for an error of ours")
            await asyncio.sleep(SWEEP_INTERVAL)

    async def sweep(self) -> dict[str, int]:
        """Let go what is due now. Returns up to which seq, by room. Raises LOST or StorageError."""
        gone = {}
        names = await api.room_names(self._client)
        self._sizes = {room: tally for room, tally in self._sizes.items() if room in names}
        for room in sorted(names):
            if (rule := self._rule(room)) is not None and (upto := await self._trim_upto(room, rule)):
                gone[room] = upto
                await self._control.put(f"{TRIM_KEY_PREFIX}{room}", b"%d" % upto)
        if gone:
            await asyncio.sleep(PROPAGATION_DELAY)
        for room, upto in gone.items():
            # Its page before the stream: whoever is interrupted does both again.
            await snapshots.trim_snapshot(self._client, room, upto)
            question = {"filter": self._client.address.subject(room), "seq": upto + 1}
            answer = await self._client.api_request(f"STREAM.PURGE.{self._client.address.stream}", question)
            if error := answer.get("error"):
                raise ClusterError(f"the stream can't be purged: {error.get('description')}")
        await attachment_retention.sweep(self._client, self._kept_since)
        return gone

    def _rule(self, room: str) -> Rule | None:
        return next((rule for rule in self._rules if fnmatchcase(room, rule.pattern)), None)

    async def _kept_since(self, room: str) -> float | None:
        """When the oldest message was stored that is kept; None: all are, or it can't be known now."""
        if self._rule(room) is None:
            return None
        messages, _ = await self._read(room, {"seq": 1, "batch": 1})
        if messages:
            return datetime.fromisoformat((messages[0].headers or {})["Nats-Time-Stamp"]).timestamp()
        return None if await api.leader_last_seq(self._client, room) else self._clock()

    async def _trim_upto(self, room: str, rule: Rule) -> int:
        """The seq of the room's last message that has to go; 0: all may stay."""
        first = await self._first_seq(room, {"seq": 1})
        if first == 0:
            return 0
        old = 0 if rule.seconds is None else await self._last_older(room, first, self._clock() - rule.seconds)
        return old if rule.size is None else max(old, await self._last_over_size(room, first, rule.size))

    async def _last_older(self, room: str, first: int, since: float) -> int:
        """The last one from before then."""
        start = datetime.fromtimestamp(since, UTC).isoformat().replace("+00:00", "Z")
        kept = await self._first_seq(room, {"start_time": start})
        if kept:
            return kept - 1 if kept > first else 0
        # Nothing is as new, as far as a replica knows that may be behind: what the leader has counts.
        newest, at = await api.leader_last_message(self._client, room)
        return newest if at < since else 0

    async def _last_over_size(self, room: str, first: int, size: int) -> int:
        """The last one that is too much. All that is kept is read once, and from then on what is new."""
        tally = self._sizes.setdefault(room, RetentionSize(size))
        tally.forget(first - 1)
        more = True
        while more:
            messages, more = await self._read(room, {"seq": max(first, tally.last + 1), "batch": BATCH_SIZE})
            for msg in messages:
                headers = msg.headers or {}
                tally.add(int(headers["Nats-Sequence"]), len(headers["Nats-Subject"]) + len(msg.data))
        return tally.excess_upto()

    async def _first_seq(self, room: str, question: dict[str, object]) -> int:
        """The seq of the first message that is asked for; 0: there is none."""
        messages, _ = await self._read(room, {**question, "batch": 1})
        return int((messages[0].headers or {}).get("Nats-Sequence", 0)) if messages else 0

    async def _read(self, room: str, question: dict[str, object]) -> tuple[list[Msg], bool]:
        """Messages of the room, and whether there are more behind them."""
        address = self._client.address
        question = {**question, "next_by_subj": address.subject(room)}
        found, more = await api.get_batch(self._client, address.stream, **question)
        return found, bool(found) and more
