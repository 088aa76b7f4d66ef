"""Rules of retention, as ``--retain`` gives them, and the size of a room. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from bqserver.errors import SettingError

AGE_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
SIZE_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
ROOM_PATTERN = re.compile(r"[A-Za-z0-9_*?-]+")
LIMIT_PATTERN = re.compile(r"([1-9][0-9]{0,5})([A-Za-z]{1,2})")
BLOCKS_PER_LIMIT = 100
"""Blocks into which a size limit is divided: messages are removed in whole blocks."""


class Rule(NamedTuple):
    """Rooms that match ``pattern`` keep the messages of ``seconds``, and at most ``size`` bytes; None: no limit."""

    pattern: str
    seconds: float | None = None
    size: int | None = None


def find_rule(rules: Sequence[Rule], room: str) -> Rule | None:
    """The first rule that matches the room."""
    return next((rule for rule in rules if fnmatchcase(room, rule.pattern)), None)


def parse_rules(options: Sequence[str]) -> list[Rule]:
    """``PATTERN=AGE``, ``PATTERN=SIZE`` or ``PATTERN=AGE,SIZE`` each. Raises SettingError."""
    return [_parse_rule(option) for option in options]


def _parse_rule(option: str) -> Rule:
    pattern, _, limits = option.partition("=")
    rule = Rule(pattern)
    for limit in limits.split(","):
        found = LIMIT_PATTERN.fullmatch(limit)
        if found and found[2] in AGE_UNITS and rule.seconds is None:
            rule = rule._replace(seconds=int(found[1]) * AGE_UNITS[found[2]])
        elif found and found[2] in SIZE_UNITS and rule.size is None:
            rule = rule._replace(size=int(found[1]) * SIZE_UNITS[found[2]])
        else:
            break
    else:
        if ROOM_PATTERN.fullmatch(pattern):
            return rule
    raise SettingError(
        f"--retain={option} is not understood: use PATTERN=AGE, PATTERN=SIZE or both, as 'class-*=30d', "
        "'logs-*=100MB' or '*=52w,1GB' (m, h, d, w; kB, MB, GB, TB)"
    )


class RetentionSize:
    """The bytes of one room, counted message by message.

    Pure, and of bounded size: about ``BLOCKS_PER_LIMIT`` blocks for any number of messages. ``limit``: bytes that the room
    may have; ``last_seq``: of the last message counted.
    """

    def __init__(self, limit: int) -> None:
        self.last_seq = 0
        self.bytes = 0
        self._limit = limit
        self._blocks: deque[tuple[int, int]] = deque()
        """The last seq of each block, and its bytes."""

    def add(self, seq: int, size: int) -> None:
        """Count a message, oldest first. ``size``: the bytes that it takes."""
        self.bytes += size
        self.last_seq = seq
        if self._blocks and self._blocks[-1][1] + size <= self._limit // BLOCKS_PER_LIMIT:
            size += self._blocks.pop()[1]
        self._blocks.append((seq, size))

    def remove(self, upto: int) -> None:
        """Messages up to that seq were removed. A block that is partly removed still counts."""
        while self._blocks and self._blocks[0][0] <= upto:
            self.bytes -= self._blocks.popleft()[1]

    def excess_upto(self) -> int:
        """The seq up to which messages exceed the limit; 0: none do."""
        excess, upto = self.bytes - self._limit, 0
        for seq, size in self._blocks:
            if excess <= 0:
                break
            excess, upto = excess - size, seq
        return upto
