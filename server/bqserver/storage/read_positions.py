"""How far verified members have read: one seq for each member and room, kept next to the log and not in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Reader = tuple[str, str]
"""The verified name of a member, and a room."""


class ReadPositions(Protocol):
    """Positions never move back: the highest of all windows counts. Called on the event loop; raises StorageError."""

    async def get(self, user: str, room: str) -> int:
        """The seq up to which ``user`` has read ``room``; 0: nothing yet."""

    async def all(self, user: str) -> dict[str, int]:
        """The positions of ``user``, by room."""

    async def advance(self, positions: Mapping[Reader, int]) -> None:
        """Store durably those that are above the stored ones."""


class MemoryReadPositions:
    """ReadPositions that end with the process, as the log in memory does."""

    def __init__(self) -> None:
        self._positions: dict[str, dict[str, int]] = {}

    async def get(self, user: str, room: str) -> int:
        return self._positions.get(user, {}).get(room, 0)

    async def all(self, user: str) -> dict[str, int]:
        return dict(self._positions.get(user, {}))

    async def advance(self, positions: Mapping[Reader, int]) -> None:
        for (user, room), seq in positions.items():
            known = self._positions.setdefault(user, {})
            known[room] = max(seq, known.get(room, 0))
