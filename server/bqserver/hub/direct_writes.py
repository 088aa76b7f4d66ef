"""Direct writes: peers with nothing pending get a turn's bytes by one bare socket ``send`` each.

All of them get the same bytes, so nothing has to be decided for any of them. Looking at each peer and its connection
first (is it live, is anything queued?) touches objects that a thousand writes have pushed out of the processor's
cache; it took a tenth of the processor time of a delivery to 1,000 peers (0.118 us with it, 0.108 without:
``srv_us_per_deliv`` of ``tests/benchmarks/wsfan.c``). So the decision is made in advance: a peer with pending acks, a
replay or buffered bytes leaves the set, is served by ``Peer.deliver``, and is added again when it is idle.
"""

from __future__ import annotations

from collections.abc import Callable

from bqserver.websocket.framing import SocketSend


class DirectWriters:
    """Sockets that take whole frames, each with the function that writes the rest of a frame a socket did not take
    (``writes``).
    """

    __slots__ = ("writes",)

    def __init__(self) -> None:
        self.writes: dict[SocketSend, Callable[[bytes], None]] = {}

    def add(self, send: SocketSend, write: Callable[[bytes], None]) -> None:
        self.writes[send] = write

    def discard(self, send: SocketSend) -> None:
        self.writes.pop(send, None)

    def write(self, data: bytes) -> None:
        """Send ``data`` to every socket; what a socket does not take now is given to its write function."""
        size = len(data)
        rest = []
        for send in self.writes:
            try:
                sent = send(data)
            except OSError:
                sent = 0
            if sent != size:
                rest.append((self.writes[send], sent))
        for write, sent in rest:
            write(data[sent:])
