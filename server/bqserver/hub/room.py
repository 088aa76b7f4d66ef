"""A room that has peers on this node: who they are, how each is written to, and the frames of this turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bqserver.websocket.compression import MIN_COMPRESSED_BYTES, compress
from bqwidget.protocol import Command, Member

from .direct_writes import DirectWriters
from .live.variants import Variant
from .peer import Peer

PINS = b'"pin":true'
"""In the JSON of a change that pins a message or unpins it; quotes within a text are escaped."""


class Announcement:
    """The members of a room as they were last computed for its peers.

    ``number``: of the announcement, 0 while there were no members; a peer keeps the one that it was sent.
    ``commands_number``: that of the last one with other commands than before. ``full``, ``brief``: the frames with the
    commands and without; equal if these are short.
    """

    __slots__ = ("brief", "commands", "commands_number", "full", "members", "number")

    def __init__(self) -> None:
        self.members: tuple[Member, ...] = ()
        self.commands: dict[tuple[str, str, bool, str], tuple[Command, ...]] = {}
        self.number = self.commands_number = 0
        self.full = self.brief = b""


class ActiveRoom:
    """The peers of one room, and the frames that the present turn of the event loop brought for them.

    ``frames``: entries; ``live_frames``: what is no entry. ``variants``: by seq, what members are sent in place of an entry
    of a live message. ``buffered_peers``: peers
    outside the direct writers, for they have something pending or can't be written to directly. ``direct_writers``: of
    the peers that don't follow live messages, and of those that do: those that take plain frames, and those that take
    compressed ones.
    ``compressing``: how many peers take compressed frames. ``remote_members``: by node, when it reported them (loop
    time) and the members. ``presence_due``: when the members may be announced again (monotonic seconds).
    ``announcement``: what was announced of them last. ``pins``: whether a message is pinned, or was; None if that is not
    known.
    """

    __slots__ = (
        "announcement",
        "buffered_peers",
        "compressing",
        "direct_writers",
        "frames",
        "live_frames",
        "name",
        "peers",
        "pins",
        "presence_due",
        "remote_members",
        "seq",
        "variants",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.seq = 0
        self.pins: bool | None = None
        self.presence_due = 0.0
        self.announcement = Announcement()
        self.peers: set[Peer] = set()
        self.buffered_peers: set[Peer] = set()
        self.direct_writers = (DirectWriters(), DirectWriters()), (DirectWriters(), DirectWriters())
        self.compressing = 0
        self.frames: list[tuple[int, bytes]] = []
        self.live_frames: list[tuple[int, bytes]] = []
        self.variants: dict[int, Variant] = {}
        self.remote_members: dict[str, tuple[float, tuple[Member, ...]]] = {}

    def add(self, peer: Peer) -> None:
        self.peers.add(peer)
        self.buffered_peers.add(peer)
        self.compressing += peer.connection.compresses
        peer.connection.on_buffered = lambda: self.disable_direct(peer)

    def discard(self, peer: Peer) -> None:
        self.disable_direct(peer)
        self.buffered_peers.discard(peer)
        self.peers.discard(peer)
        self.compressing -= peer.connection.compresses

    def flush(self) -> int:
        """Write this turn's frames to every peer, in one write each. Returns how many frames there were."""
        self.flush_live()  # an entry that saves pieces comes after them
        frames, self.frames = self.frames, []
        if self.variants:
            self._flush_variants(frames)
            return len(frames)
        data = b"".join([frame for _, frame in frames])
        packed = self._packed(frames, data) if self.compressing else data
        buffered = list(self.buffered_peers)  # mostly senders, which have waited longest
        for peer in buffered:
            peer.deliver(frames, packed if peer.connection.compresses else data)
        for plain, compressing in self.direct_writers:
            if plain.writes:
                plain.write(data)
            if compressing.writes:
                compressing.write(packed)
        for peer in buffered:
            self.enable_direct(peer)
        return len(frames)

    def _flush_variants(self, frames: list[tuple[int, bytes]]) -> None:
        """``flush`` for a turn with entries of live messages: who does not follow these is sent other frames."""
        variants, self.variants = self.variants, {}
        plain, live, full = list(frames), list(frames), list(frames)
        for index, (seq, _) in enumerate(frames):
            if variant := variants.get(seq):
                plain[index], live[index], full[index] = (seq, variant.plain), (seq, variant.live), (seq, variant.full)
        buffered = list(self.buffered_peers)
        for follows, sent, held in ((False, plain, plain), (True, live, full)):
            data = b"".join([frame for _, frame in sent])
            packed = self._packed(sent, data)
            for peer in buffered:
                if peer.follows_live is follows:
                    peer.deliver(sent, packed if peer.connection.compresses else data, held)
            if data:
                self.direct_writers[follows][False].write(data)
                self.direct_writers[follows][True].write(packed)
        for peer in buffered:
            self.enable_direct(peer)

    def write_live(self, frame: bytes) -> None:
        """Write a frame that is no entry to the peers that follow live messages, with the others of this turn."""
        if not self.live_frames:
            asyncio.get_running_loop().call_soon(self.flush_live)
        self.live_frames.append((0, frame))

    def flush_live(self) -> None:
        """Write the frames of ``write_live`` now, to the peers that are up to date."""
        frames, self.live_frames = self.live_frames, []
        if not frames:
            return
        data = b"".join([frame for _, frame in frames])
        packed = self._packed(frames, data)
        for peer in list(self.buffered_peers):
            if peer.follows_live and peer.live:
                peer.write(packed if peer.connection.compresses else data)
        plain, compressing = self.direct_writers[True]
        plain.write(data)
        compressing.write(packed)

    def _packed(self, frames: Sequence[tuple[int, bytes]], data: bytes) -> bytes:
        """The frames, compressed where that is worth it. ``data``: the same, joined."""
        long = self.compressing and len(data) >= MIN_COMPRESSED_BYTES
        return b"".join([compress(frame) for _, frame in frames]) if long else data

    def enable_direct(self, peer: Peer) -> None:
        """Write to ``peer`` directly from now on, if nothing is pending for it."""
        send = peer.connection.direct_send
        if peer.live and not peer.skip_up_to and send is not None:
            peer.direct_writers = self.direct_writers[peer.follows_live][peer.connection.compresses]
            peer.direct_writers.add(send, peer.write)
            self.buffered_peers.discard(peer)

    def disable_direct(self, peer: Peer) -> None:
        """Something is pending for ``peer`` alone, or its socket is full: ``Peer.deliver`` writes to it from now on."""
        if peer.direct_writers is not None:
            peer.direct_writers.discard(peer.connection.send)
            peer.direct_writers = None
            self.buffered_peers.add(peer)
