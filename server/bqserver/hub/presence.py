"""Who is in a room: sent to its live peers at most a few times a second, and only after a change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec.structs import replace

from bqserver.websocket.framing import text_frame
from bqwidget import protocol
from bqwidget.protocol import Member, encode

from .peer import Peer
from .room import ActiveRoom

PRESENCE_INTERVAL = 0.1
"""Seconds between two presence frames of a room, at least."""
PRESENCE_SHARE = 20
"""In a large room the pause is so many times as long as sending one took: at most 5 % of the server's time."""
MAX_MEMBERS = 200
"""Members listed in one frame: a larger room needs a count, not a list."""
MAX_AVATARS = 8
"""Pictures in one frame: every peer of a room gets the frame whenever a member types."""


class PresenceAnnouncer:
    """One timer for all rooms, running only after a change. ``announce`` sends a changed room's members."""

    def __init__(self, announce: Callable[[ActiveRoom], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._announce = announce
        self._clock = clock
        self._changed: dict[ActiveRoom, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def peer_changed(self, room: ActiveRoom, peer: Peer) -> None:
        """``peer`` joined, left, is typing, or is busy. Peers without a name (the recipe's clients) are no members."""
        if peer.user:
            self.room_changed(room)

    def room_changed(self, room: ActiveRoom) -> None:
        """The members of ``room`` have changed, on this node or on another."""
        self._changed[room] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PRESENCE_INTERVAL, self._announce_changed)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _announce_changed(self) -> None:
        self._timer = None
        changed, self._changed = self._changed, {}
        now = self._clock()
        for room in changed:
            if room.presence_due > now:
                self.room_changed(room)
                continue
            self._announce(room)
            sent = self._clock()
            room.presence_due, now = sent + (sent - now) * PRESENCE_SHARE, sent


def members(room: ActiveRoom) -> tuple[Member, ...]:
    """Every member with a name, once each, on whatever node, sorted by name."""
    found = {_key(member): member for member in local_members(room)}
    for _, remote in room.remote_members.values():
        for member in remote:
            found.setdefault(_key(member), member)
    return _with_few_avatars([found[key] for key in sorted(found)[:MAX_MEMBERS]])


def local_members(room: ActiveRoom) -> tuple[Member, ...]:
    """The members on this node. A person with three windows is one member; an unverified user of the same name is
    another one.
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
    return _with_few_avatars([found[key] for key in sorted(found)[:MAX_MEMBERS]])


def presence_frame(room: ActiveRoom) -> bytes:
    return text_frame(encode(protocol.Presence(members=members(room))))


def _with_few_avatars(named: list[Member]) -> tuple[Member, ...]:
    """The same members, with the first ``MAX_AVATARS`` pictures only."""
    avatars = 0
    for index, member in enumerate(named):
        if member.profile is not None and member.profile.avatar is not None:
            avatars += 1
            if avatars > MAX_AVATARS:
                named[index] = replace(member, profile=replace(member.profile, avatar=None))
    return tuple(named)


def _key(member: Member) -> tuple[str, str, bool]:
    return member.user, member.kind, member.verified
