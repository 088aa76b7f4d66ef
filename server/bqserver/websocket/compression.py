"""Compressed frames (RFC 7692): made once a room and turn, without context, for every peer that takes them.

Whether that pays is a question of length. From ``python tests/benchmarks/compression.py``, text of the README:

    characters  100         300         1,000         4,000         16,000
    bytes       242 -> 184  445 -> 296  1,158 -> 674  4,222 -> 2,127  16,510 -> 7,552
    once        6 us        7 us        10 us         23 us         194 us

Beside that, a short message is 27 us in all, and a write to 100 peers 130 us (1,000 characters) to 350 us (16,000),
of which the smaller frame saves 4 to 50 %. Acks, replays and what else one peer alone gets stay plain: nobody shares
the cost. A replay of 500 messages of 1,000 characters is 2.6 ms of the server's time, and would be 11.5 ms more; a
thousand that come back at once wait for that, and not for the wire.
"""

from __future__ import annotations

import zlib

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory

from .framing import text_frame

MIN_COMPRESSED_BYTES = 1024
"""Bytes of the shortest frame that is compressed. What is shorter fits one packet either way, and would cost a
fifth of all the work that a short message is.
"""
ZLIB_LEVEL, ZLIB_MEMORY_LEVEL = 1, 5
"""zlib's. Its usual MEMORY, 8, takes some 13 us more to set up, for each frame, and packs no better; LEVEL 6 takes
up to twice the time for less than a tenth of the bytes.
"""
RSV1 = 0x40
FLUSH_TAIL_BYTES = 4
"""Bytes that end every sync flush, and are not sent (RFC 7692, 7.2.1)."""


def compress(frame: bytes) -> bytes:
    """``frame``, a whole one made by ``text_frame``, compressed; as it is where that saves nothing.

    Each is compressed alone: no member's text is packed with another's, whose length would then tell of it.
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

PERMESSAGE_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True, client_no_context_takeover=True
)
"""What a client that offers permessage-deflate is answered (RFC 7692): every message is compressed by itself, in
both directions. So one compressed frame fits all, and no connection keeps a window (some 300 kB otherwise).
The server may ask for both of its own accord (7.1.1); who can't do without context ends the handshake itself.
"""


def has_full_window(extension: Extension) -> bool:
    """Who asked for a smaller window gets plain frames: what is shared may point back further."""
    return isinstance(extension, PerMessageDeflate) and extension.local_max_window_bits == WINDOW_BITS
