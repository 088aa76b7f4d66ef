"""How many live messages may be open on this node, which bounds the memory that their texts take."""

from __future__ import annotations

from collections.abc import Callable

from bqserver.fairness.budget import Budget
from bqserver.model import Outcome, Stored

MAX_LIVE_MESSAGES = 100
"""Open live messages of one author: one program of a member, such as a kernel."""
MAX_LIVE_MESSAGES_IN_ALL = 2_000
"""Open live messages of all members; one member (or one address, if not verified) may have half of them."""


class LiveQuota:
    """Counts the live messages that members of this node have opened. ``is_live(room, seq)``: whether one still is."""

    def __init__(self, is_live: Callable[[str, int], bool]) -> None:
        self._is_live = is_live
        self._budget = Budget(MAX_LIVE_MESSAGES_IN_ALL)
        self._members: dict[tuple[str, int], str] = {}

    def reserve(self, member: str) -> bool:
        """Count a message that ``member`` wants to open; False if that is too many. Call ``opened`` afterwards."""
        if self._budget.acquire(member, 1):
            return True
        for room, seq in [key for key in self._members if not self._is_live(*key)]:  # ended before ``opened``
            self.release(room, seq)
        return self._budget.acquire(member, 1)

    def opened(self, member: str, room: str, outcome: Outcome) -> None:
        """Keep the reservation until the message ends, or release it if ``outcome`` is not a new message."""
        if isinstance(outcome, Stored) and not outcome.dup:
            self._members[room, outcome.seq] = member
        else:
            self._budget.release(member, 1)

    def release(self, room: str, seq: int) -> None:
        """Count message ``seq`` no longer: it has ended."""
        if (member := self._members.pop((room, seq), None)) is not None:
            self._budget.release(member, 1)
