"""How many live messages there may be, so that what they hold of their texts is bounded."""

from __future__ import annotations

from collections.abc import Callable

from bqserver.fairness.budget import Budget
from bqserver.model import Outcome, Stored

MAX_LIVE_MESSAGES = 100
"""Messages that one author, which is one program of a member, writes at once."""
MAX_LIVE_MESSAGES_IN_ALL = 2_000
"""Of all members; one member, or one address without a verified name, may have half of them."""


class LivePlaces:
    """The places of the messages that members of this node have opened. ``is_live``: by room and seq."""

    def __init__(self, is_live: Callable[[str, int], bool]) -> None:
        self._is_live = is_live
        self._budget = Budget(MAX_LIVE_MESSAGES_IN_ALL)
        self._members: dict[tuple[str, int], str] = {}

    def take(self, member: str) -> bool:
        """Reserve a place for a message that ``member`` opens; ``opened`` tells what became of it."""
        if self._budget.acquire(member, 1):
            return True
        for room, seq in [key for key in self._members if not self._is_live(*key)]:  # ended before ``opened``
            self.leave(room, seq)
        return self._budget.acquire(member, 1)

    def opened(self, member: str, room: str, outcome: Outcome) -> None:
        if isinstance(outcome, Stored) and not outcome.dup:
            self._members[room, outcome.seq] = member
        else:
            self._budget.release(member, 1)

    def leave(self, room: str, seq: int) -> None:
        """The message has ended."""
        if (member := self._members.pop((room, seq), None)) is not None:
            self._budget.release(member, 1)
