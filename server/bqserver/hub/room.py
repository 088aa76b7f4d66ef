"""A room that has peers on this node: who they are, how each is written to, and the frames of this turn."""

from __future__ import annotations

from bqwidget.protocol import Member

from .direct_writes import DirectWriters
from .peer import Peer


class ActiveRoom:
    """The peers of one room, and the frames that the present turn of the event loop brought for them.

    ``buffered_peers``: peers outside the direct writers, for they have something pending or can't be written to
    directly. ``direct_writers``: the peers that take plain frames, and those that take compressed ones.
    ``compressing``: how many peers take compressed frames. ``remote_members``: by node, when it reported them (loop
    time) and the members. ``presence_due``: when the members may be announced again (monotonic seconds).
    """

    __slots__ = (
        "buffered_peers",
        "compressing",
        "direct_writers",
        "frames",
        "name",
        "peers",
        "presence_due",
        "remote_members",
        "seq",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.seq = 0
        self.presence_due = 0.0
        self.peers: set[Peer] = set()
        self.buffered_peers: set[Peer] = set()
        self.direct_writers = DirectWriters(), DirectWriters()
        self.compressing = 0
        self.frames: list[tuple[int, bytes]] = []
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

    def enable_direct(self, peer: Peer) -> None:
        """Write to ``peer`` directly from now on, if nothing is pending for it."""
        send = peer.connection.direct_send
        if peer.live and not peer.skip_up_to and send is not None:
            peer.direct_writers = self.direct_writers[peer.connection.compresses]
            peer.direct_writers.add(send, peer.write)
            self.buffered_peers.discard(peer)

    def disable_direct(self, peer: Peer) -> None:
        """Something is pending for ``peer`` alone, or its socket is full: ``Peer.deliver`` writes to it from now on."""
        if peer.direct_writers is not None:
            peer.direct_writers.discard(peer.connection.send)
            peer.direct_writers = None
            self.buffered_peers.add(peer)
