"""TODO docstring."""

from __future__ import annotations

from collections.abc import Callable

SocketSend = Callable[[bytes], int]
"""A socket's: how many bytes it took. Raises OSError where it takes none now, or never again."""

PING = b"\x89\x00"


def text_frame(payload: bytes, first: int = 0x81) -> bytes:
    """``payload`` as one unmasked text frame (RFC 6455, 5.2): the same bytes for every peer. ``first``: its first
    byte, where that says more.
    """
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
