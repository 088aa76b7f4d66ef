"""Ports that were free a moment ago, for a server that has to know its own beforehand, or comes back to it."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

FIRST, LAST = 10_000, 32_000
"""Below those that systems give to outgoing connections, one of which could take it meanwhile."""


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    with ExitStack() as held:  # until all are found: no two are the same
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            port = random.randint(FIRST, LAST)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def free_port() -> int:
    [port] = free_ports(1)
    return port
