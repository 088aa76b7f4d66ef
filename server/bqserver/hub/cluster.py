"""Membership: what a hub shares with the other nodes that serve the same rooms.

Entries travel through the log. This is the state that is not stored: who is in which room, and what counts against
the rate limits.
"""

from __future__ import annotations

from typing import Protocol

from bqserver.auth.rate_limit import RateLimit
from bqwidget.protocol import AppendFrame, StopFrame

from .room import ActiveRoom


class LiveRelay(Protocol):
    """What nodes tell each other about live messages at once, in addition to the log. Called on the event loop."""

    def send(self, room: str, frame: AppendFrame | StopFrame, before: str = "") -> None:
        """Pass on what the members of this node are sent. ``before``: the text before that piece."""

    def ask(self, room: str, seq: int) -> None:
        """Ask for the whole text of a live message: this node lacks a part of it."""


class Membership(Protocol):
    """Called on the event loop. Only ``remote_peer_counts`` and ``close`` wait."""

    def room_opened(self, room: ActiveRoom) -> None:
        """The room has its first peer on this node: keep ``room.remote_members`` up to date from now on."""

    def room_closed(self, room: ActiveRoom) -> None:
        """The room's last peer on this node has left."""

    def publish_members(self, room: ActiveRoom) -> None:
        """The room's members on this node may have changed."""

    def share_limit(self, name: str, limit: RateLimit) -> None:
        """Count what ``limit`` lets through on any node on all nodes, by the limit's ``name``."""

    async def remote_peer_counts(self) -> dict[str, int]:
        """The number of peers by room on the other nodes, from those that answer."""

    async def close(self) -> None: ...
