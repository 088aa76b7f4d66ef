"""Compressed frames (RFC 7692): made once for a room and turn, without context, for every peer that takes them.

Whether compression pays depends on the length. From ``python tests/benchmarks/compression.py``, with the README's text:

    characters  100         300         1,000         4,000         16,000
    bytes       242 -> 184  445 -> 296  1,158 -> 674  4,222 -> 2,127  16,510 -> 7,552
    once        6 us        7 us        10 us         23 us         194 us

For comparison, a short message takes 27 us in all, and a write to 100 peers 130 us (1,000 characters) to 350 us
(16,000), of which the smaller frame saves 4 to 50 %. Acks, replays and other frames for a single peer stay plain,
because no other peer shares the cost. A replay of 500 messages of 1,000 characters takes 2.6 ms of the server's time,
and would take 11.5 ms more; a thousand peers that reconnect at once wait for the processor, not for the network.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from websockets.exceptions import NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.typing import ExtensionParameter

from .framing import text_frame

MIN_COMPRESSED_BYTES = 1024
"""Bytes of the shortest frame that is compressed. A shorter one fits one packet either way, and compressing it would
cost a fifth of all the work for a short message.
"""
ZLIB_LEVEL, ZLIB_MEMORY_LEVEL = 1, 5
"""zlib's usual memory level, 8, takes about 13 us more to set up for each frame and compresses no better; level 6 takes
up to twice the time to save less than a tenth of the bytes.
"""
RSV1 = 0x40
FLUSH_TAIL_BYTES = 4
"""Bytes at the end of every sync flush that are not sent (RFC 7692, 7.2.1)."""


def compress(frame: bytes) -> bytes:
    """``frame``, as made by ``text_frame``, compressed; unchanged where compression saves nothing.

    Each frame is compressed alone: in a shared context, the length of one member's frame would tell of another's text.
    """
    if len(frame) < MIN_COMPRESSED_BYTES:
        return frame
    head = 4 if frame[1] == 126 else 10
    deflate = zlib.compressobj(ZLIB_LEVEL, zlib.DEFLATED, -WINDOW_BITS, ZLIB_MEMORY_LEVEL)
    packed = deflate.compress(memoryview(frame)[head:]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    if len(packed) - FLUSH_TAIL_BYTES >= len(frame) - head:
        return frame
    return text_frame(packed[:-FLUSH_TAIL_BYTES], frame[0] | RSV1)


WINDOW_BITS = 15


class _Factory(ServerPerMessageDeflateFactory):
    """Rejects a window that zlib can't make, as websockets does since 17.4."""

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        if ("server_max_window_bits", "8") in params:
            raise NegotiationError("zlib can't make a window of 8 bits")
        return super().process_request_params(params, accepted_extensions)


PERMESSAGE_DEFLATE = _Factory(server_no_context_takeover=True, client_no_context_takeover=True)
"""The answer to a client that offers permessage-deflate (RFC 7692): no context is kept in either direction, so one
compressed frame fits every peer, and no connection keeps a window (about 300 kB otherwise). The server may ask for both
on its own (7.1.1); a client that needs a context ends the handshake itself.
"""


def has_full_window(extension: Extension) -> bool:
    """Whether the peer takes shared compressed frames: in a smaller window their references would reach too far back."""
    return isinstance(extension, PerMessageDeflate) and extension.local_max_window_bits == WINDOW_BITS
