"""A room while it has members: who they are, and what this turn of the event loop brought for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bqwidget.protocol import Member

from .direct_writes import Lane

if TYPE_CHECKING:
    from .peer import Peer


class Room:
    """The peers of one room, and the frames that this turn brought for them."""

    __slots__ = ("apart", "deflating", "frames", "lanes", "name", "peers", "remote_members", "seq")

    def __init__(self, name: str) -> None:
        self.name = name
        self.seq = 0
        self.peers: set[Peer] = set()
        self.apart: set[Peer] = set()
        """Those in no lane: they are owed something, or can't be written to directly."""
        self.lanes = Lane(), Lane()
        """Who takes plain frames, and who takes compressed ones."""
        self.deflating = 0
        """How many of them take compressed frames."""
        self.frames: list[tuple[int, bytes]] = []
        self.remote_members: dict[str, tuple[float, tuple[Member, ...]]] = {}
        """By node: when its members were received (the loop's clock), and the members."""
