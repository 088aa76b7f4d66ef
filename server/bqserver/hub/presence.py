"""Who is in a room: sent to its live peers at most a few times a second, and only after a change."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from bqserver.websocket.framing import text_frame
from bqwidget.protocol import MAX_COMMANDS, Command, Member, Presence, encode

from .peer import Peer
from .room import ActiveRoom, Announcement

PRESENCE_INTERVAL = 0.1
"""Seconds between two presence frames of a room, at least."""
PRESENCE_SHARE = 20
"""In a large room the pause is so many times as long as sending one took: at most 5 % of the server's time."""
MAX_MEMBERS = 200
"""Members listed in one frame: a larger room needs a count, not a list."""
MAX_AVATARS = 8
"""Pictures in one frame: every peer of a room gets the frame whenever a member types."""
MAX_COMMANDS_BYTES = 128 * 1024
"""Of all commands in one frame, as JSON: those of one member that has as many as it may, and of some others."""
BRIEF_COMMANDS_BYTES = 4 * 1024
"""Longer ones are sent only when a member's commands have changed, and not whenever a member types."""

MemberKey = tuple[str, str, bool, str]


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


def next_announcement(room: ActiveRoom, peers: Iterable[Peer]) -> list[tuple[bytes, Sequence[Peer]]]:
    """The frames that bring ``peers`` up to date about the members of ``room``, each with those that get it.

    Peers that are catching up get none. Every peer that is returned counts as having its frame.
    """
    latest = room.announcement
    _update(latest, members(room))
    full, brief = list[Peer](), list[Peer]()
    for peer in peers:
        if peer.live and peer.announcement_number != latest.number:
            (full if peer.announcement_number < latest.commands_number else brief).append(peer)
            peer.announcement_number = latest.number
    return [(frame, each) for frame, each in ((latest.full, full), (latest.brief, brief)) if each]


def _update(latest: Announcement, found: tuple[Member, ...]) -> None:
    if latest.members == found:
        return
    latest.members = found
    latest.number += 1
    latest.full = latest.brief = text_frame(encode(Presence(members=found)))
    commands = {member.key: member.commands for member in found if member.commands}
    if latest.commands != commands:
        latest.commands = commands
        latest.commands_number = latest.number
    if len(encode(list(commands.values()))) > BRIEF_COMMANDS_BYTES:
        without = tuple(replace(member, commands=()) if member.commands else member for member in found)
        latest.brief = text_frame(encode(Presence(members=without, same_commands=True)))


def members(room: ActiveRoom) -> tuple[Member, ...]:
    """Every member with a name, once each, on whatever node, sorted by name. Only those of one name have ids."""
    found = {member.key: member for member in local_members(room)}
    for _, remote in room.remote_members.values():
        for member in remote:
            found[member.key] = _merged(found[member.key], member) if member.key in found else member
    namesakes = Counter(key[:3] for key in found)
    listed = [(key, found[key]) for key in sorted(found)[:MAX_MEMBERS]]
    return _bounded([member if namesakes[key[:3]] > 1 else replace(member, id=None) for key, member in listed])


def local_members(room: ActiveRoom) -> tuple[Member, ...]:
    """The members on this node. A person with three windows is one member; an unverified user of the same name is
    another one, and two of those are two if their clients have said who they are.
    """
    now = asyncio.get_running_loop().time()
    found: dict[MemberKey, Member] = {}
    commands = _local_commands(room)
    for peer in sorted(room.peers, key=_last_typed):
        if peer.user:
            verified = peer.principal is not None
            typing = (peer.activity or True) if peer.typing_until > now else None
            member = Member(
                user=peer.user,
                kind=peer.kind,
                busy=peer.busy,
                typing=typing,
                verified=verified,
                profile=peer.identity.profile if verified else None,
                commands=commands.get(_key(peer), ()),
                id=peer.member_id,
            )
            found[member.key] = _merged(member, found[member.key]) if member.key in found else member
    return _bounded([found[key] for key in sorted(found)[:MAX_MEMBERS]])


def _local_commands(room: ActiveRoom) -> dict[MemberKey, tuple[Command, ...]]:
    """What all connections of a member offer together, the same whichever of them has typed last."""
    offered: dict[MemberKey, tuple[Command, ...]] = {}
    for peer in sorted([peer for peer in room.peers if peer.user and peer.commands], key=_author):
        key = _key(peer)
        known = offered.setdefault(key, peer.commands)
        if known != peer.commands and len(known) < MAX_COMMANDS:  # else the others are not even looked at
            offered[key] = _union(known, peer.commands)
    return offered


def _union(one: tuple[Command, ...], other: tuple[Command, ...]) -> tuple[Command, ...]:
    """At most MAX_COMMANDS, the same in any order of the two."""
    by_name = {each.name: each for each in sorted({*one, *other}, key=encode)}
    return tuple(by_name.values())[:MAX_COMMANDS]


def _key(peer: Peer) -> MemberKey:
    """The ``key`` of the Member that ``peer`` is a connection of."""
    return peer.user or "", peer.kind, peer.principal is not None, peer.member_id or ""


def _author(peer: Peer) -> str:
    return peer.author


def _last_typed(peer: Peer) -> float:
    return peer.typing_until


def _merged(one: Member, other: Member) -> Member:
    """One member that has two connections, maybe to two nodes: typing or busy at either, with the commands of both."""
    busy = one.busy if other.busy is None else one.busy or other.busy
    commands = one.commands or other.commands
    if other.commands and other.commands != commands:
        commands = _union(commands, other.commands)
    return replace(one, busy=busy, typing=one.typing or other.typing, commands=commands)


def _bounded(named: list[Member]) -> tuple[Member, ...]:
    """The same members, with the first ``MAX_AVATARS`` pictures and ``MAX_COMMANDS_BYTES`` of commands only, the
    shortest lists first.
    """
    avatars = 0
    for index, member in enumerate(named):
        if member.profile is not None and member.profile.avatar is not None:
            avatars += 1
            if avatars > MAX_AVATARS:
                named[index] = replace(member, profile=replace(member.profile, avatar=None))
    sizes = sorted((len(encode(member.commands)), index) for index, member in enumerate(named) if member.commands)
    room_left = MAX_COMMANDS_BYTES
    for size, index in sizes:
        room_left -= size
        if room_left < 0:
            named[index] = replace(named[index], commands=())
    return tuple(named)
