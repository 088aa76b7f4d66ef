"""Other nodes that serve the same rooms: what a hub tells them, and what it hears.

Entries go by the log. This is what nobody keeps: who is where, and how much somebody sends or tries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bqserver.auth.rate_limit import RateLimit

    from .room import Room


class Neighbours(Protocol):
    """Called on the event loop. Nothing here waits, except for how many there are elsewhere."""

    def entered(self, room: Room) -> None:
        """The room has its first peer here: what others know of it goes into ``room.elsewhere`` from now on."""

    def left(self, room: Room) -> None:
        """It has none any more."""

    def tell(self, room: Room) -> None:
        """Its members here may have changed."""

    def share(self, name: str, limit: RateLimit) -> None:
        """What ``limit`` lets through on one node counts on all of them; theirs has the same ``name``."""

    async def elsewhere(self) -> dict[str, int]:
        """How many peers the rooms have on the other nodes, as far as those answer."""

    async def close(self) -> None: ...
