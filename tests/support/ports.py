"""Free ports, for servers that need to know their port in advance or are restarted on it."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Below the ephemeral range, from which an outgoing connection could take a port in the meantime."""


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    with ExitStack() as held:  # keep all bound until the end, so that no port occurs twice
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            port = random.randint(FIRST_PORT, LAST_PORT)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def free_port() -> int:
    [port] = free_ports(1)
    return port
