"""Letting old messages go: every node learns how far, and only then the stream is purged.

The order matters: a node that works out a room from what is left must know that what an entry is about may have
been let go, and is not simply missing. Every node that has the rules does this; whoever comes first has done it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from . import nats_queries
from .log import LogError
from .nats_connection import LOST, explained
from .nats_link import Link
from .nats_orders import NatsOrders

EVERY = 600.0
SETTLE = 10.0
"""Seconds in which every node learns how far, before it is gone; they look every two."""
UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
KEY = "trim."
"""What an order says so under, with the room's name behind it; its value is the last seq that goes."""

_log = logging.getLogger("bqserver.nats")


class Rule(NamedTuple):
    """Rooms whose names fit ``pattern`` keep ``seconds`` of their past."""

    pattern: str
    seconds: float


def parse_rules(given: Sequence[str]) -> list[Rule]:
    """``PATTERN=NUMBER`` and one of m, h, d, w, each. Raises LogError."""
    rules = []
    for one in given:
        found = re.fullmatch(r"([A-Za-z0-9_*?-]+)=([1-9][0-9]{0,5})([mhdw])", one)
        if found is None:
            raise LogError(
                f"--retain={one} is not understood: say PATTERN=AGE, as 'class-*=30d' (m, h, d, w)"
            )
        rules.append(Rule(found[1], int(found[2]) * UNITS[found[3]]))
    return rules


class Retention:
    """``rules``: the first that fits a room's name counts; where none does, all is kept. ``clock``: seconds
    since the epoch.
    """

    def __init__(
        self, link: Link, orders: NatsOrders, rules: Sequence[Rule], clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._orders = orders
        self._rules = rules
        self._clock = clock

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except (LogError, *LOST) as error:
                _log.warning("old messages could not be let go: %s; they will be, later", explained(error))
            await asyncio.sleep(EVERY)

    async def sweep(self) -> dict[str, int]:
        """Let go what is due now. Returns up to which seq, by room. Raises LOST or LogError."""
        gone = {}
        for room in sorted(await nats_queries.names(self._link)):
            rule = next((rule for rule in self._rules if fnmatchcase(room, rule.pattern)), None)
            if rule is not None and (upto := await self._upto(room, self._clock() - rule.seconds)):
                gone[room] = upto
                await self._orders.put(f"{KEY}{room}", b"%d" % upto)
        if gone:
            await asyncio.sleep(SETTLE)
        for room, upto in gone.items():
            question = {"filter": self._link.address.subject(room), "seq": upto + 1}
            answer = await self._link.ask(f"STREAM.PURGE.{self._link.address.stream}", question)
            if error := answer.get("error"):
                raise LogError(f"the stream can't be purged: {error.get('description')}")
        return gone

    async def _upto(self, room: str, since: float) -> int:
        """The seq of the room's last message from before then; 0: there is none."""
        subject = self._link.address.subject(room)
        first = await self._first({"seq": 1, "next_by_subj": subject})
        start = datetime.fromtimestamp(since, UTC).isoformat().replace("+00:00", "Z")
        kept = await self._first({"start_time": start, "next_by_subj": subject})
        if first in (0, kept):
            return 0
        if kept == 0:
            return await nats_queries.newest(self._link, room)
        return kept - 1

    async def _first(self, question: dict[str, object]) -> int:
        """The seq of the first message that is asked for; 0: there is none."""
        asked = json.dumps({**question, "batch": 1}).encode()
        found = await self._link.gather(
            f"$JS.API.DIRECT.GET.{self._link.address.stream}",
            asked,
            lambda msg: "Status" in (msg.headers or {}),
        )
        headers = found[0].headers or {}
        return int(headers.get("Nats-Sequence", 0)) if len(found) > 1 else 0
