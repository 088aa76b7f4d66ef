"""The lane: members who are owed nothing, each written to by one bare ``send``.

A turn's bytes are the same for all of them, so nothing has to be decided about any of them either. To look at a peer
and its wire first (is it live, does something wait?) touches objects that a thousand writes have pushed out of the
processor's cache, and was a tenth of the processor time of a delivery to 1,000 (0.118 us, 0.108 since:
``srv_us_per_deliv`` of ``tests/benchmarks/wsfan.c``). So it is known beforehand: who is owed something steps out,
is served with care (``Peer.bring``), and steps in again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .peer import Peer

Send = Callable[[bytes], int]
"""A socket's: how many bytes it took. Raises OSError where it takes none now, or never again."""


class Lane:
    __slots__ = ("_peers",)

    def __init__(self) -> None:
        self._peers: dict[Send, Peer] = {}

    def add(self, send: Send, peer: Peer) -> None:
        self._peers[send] = peer

    def discard(self, send: Send) -> None:
        self._peers.pop(send, None)

    def write(self, data: bytes) -> None:
        """Whoever does not take all of it at once gets the rest with care."""
        size = len(data)
        behind = []
        for send in self._peers:
            try:
                sent = send(data)
            except OSError:
                sent = 0
            if sent != size:
                behind.append((self._peers[send], sent))
        for peer, sent in behind:
            peer.write(data[sent:])
