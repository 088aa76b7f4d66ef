"""How many bytes a room takes in the stream, counted message by message: JetStream tells that of whole streams only.

Pure, and of bounded size: a room is remembered as some hundred blocks, however many messages it has.
"""

from __future__ import annotations

from collections import deque

RECORD = 125
"""Bytes of a stored message beside its subject and its payload: JetStream's own, and the header with its id."""
BLOCKS = 100
"""Into how many parts the limit is divided for counting: what is let go is rounded up to whole ones."""


class Tally:
    """One room's messages, told oldest first. ``limit``: bytes that it may take; ``last``: the seq told last."""

    def __init__(self, limit: int) -> None:
        self.last = 0
        self.bytes = 0
        self._limit = limit
        self._blocks: deque[tuple[int, int]] = deque()
        """The last seq of each block, and its bytes."""

    def add(self, seq: int, size: int) -> None:
        """``size``: bytes of its subject and its payload."""
        size += RECORD
        self.bytes += size
        self.last = seq
        if self._blocks and self._blocks[-1][1] + size <= self._limit // BLOCKS:
            size += self._blocks.pop()[1]
        self._blocks.append((seq, size))

    def forget(self, upto: int) -> None:
        """What went, whoever let it go: a block that is partly gone still counts whole."""
        while self._blocks and self._blocks[0][0] <= upto:
            self.bytes -= self._blocks.popleft()[1]

    def due(self) -> int:
        """The seq up to which messages have to go; 0: they fit."""
        over, upto = self.bytes - self._limit, 0
        for seq, size in self._blocks:
            if over <= 0:
                break
            over, upto = over - size, seq
        return upto
