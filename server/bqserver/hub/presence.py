"""Who is in a room: told to its live peers, at most a few times a second, and only when it changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bqserver.websocket.connection import text_frame
from bqwidget import protocol
from bqwidget.protocol import Member, encode

if TYPE_CHECKING:
    from .hub import Hub
    from .peer import Peer
    from .room import Room

PAUSE = 0.1
MOST = 200
"""Members named in one frame: a bigger room needs a count, not a list."""
MAX_AVATARS = 8
"""Pictures in one presence frame; the members after them are shown with their initials."""


class Presence:
    """One timer for all rooms, running only while somebody came, went, or typed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._changed: dict[Room, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def changed(self, room: Room, peer: Peer) -> None:
        """``peer`` came, went or is typing. Nameless peers (the recipe's clients) are not members."""
        if peer.user:
            self.stir(room)

    def stir(self, room: Room) -> None:
        """Somebody did, here or elsewhere."""
        self._changed[room] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._tell)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        changed, self._changed = self._changed, {}
        for room in changed:
            self._hub.broadcast(room, frame(room))
            if self._hub.membership is not None:
                self._hub.membership.publish_members(room)


def members(room: Room) -> tuple[Member, ...]:
    """Everyone with a name, once each, whichever node they are on."""
    found = {_key(member): member for member in members_here(room)}
    for _, remote in room.remote_members.values():
        for member in remote:
            found.setdefault(_key(member), member)
    return _bounded([found[key] for key in sorted(found)[:MOST]])


def members_here(room: Room) -> tuple[Member, ...]:
    """Those on this node. A person with three windows is one member, and whoever merely says to be that person
    is another.
    """
    now = asyncio.get_running_loop().time()
    found: dict[tuple[str, str, bool], Member] = {}
    for peer in room.peers:
        if peer.user:
            verified = peer.principal is not None
            key = (peer.user, peer.kind, verified)
            typing = peer.typing_until > now or bool(key in found and found[key].typing)
            found[key] = Member(
                user=peer.user,
                kind=peer.kind,
                busy=peer.busy,
                typing=typing or None,
                verified=verified,
                profile=peer.identity.profile if verified else None,
            )
    return _bounded([found[key] for key in sorted(found)[:MOST]])


def _bounded(named: list[Member]) -> tuple[Member, ...]:
    """Only so many pictures: all who are here get this frame whenever somebody types."""
    pictures = 0
    for place, member in enumerate(named):
        if member.profile is not None and member.profile.avatar is not None:
            pictures += 1
            if pictures > MAX_AVATARS:
                plain = replace(member.profile, avatar=None)
                named[place] = replace(member, profile=plain)
    return tuple(named)


def _key(member: Member) -> tuple[str, str, bool]:
    return member.user, member.kind, member.verified


def frame(room: Room) -> bytes:
    return text_frame(encode(protocol.Presence(members=members(room))))
