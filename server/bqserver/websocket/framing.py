"""Frames that the server writes, as bytes: made once, the same for every peer."""

from __future__ import annotations

from collections.abc import Callable

SocketSend = Callable[[bytes], int]
"""A socket's ``send``: returns how many bytes it took. Raises OSError if it takes none now, or is closed."""

PING_FRAME = b"\x89\x00"


def text_frame(payload: bytes, first: int = 0x81) -> bytes:
    """``payload`` as one unmasked text frame (RFC 6455, 5.2). ``first``: the first byte, with its flags and opcode."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
