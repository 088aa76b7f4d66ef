"""The compression that the client offers (RFC 7692): without context takeover, for long messages only."""

from __future__ import annotations

from collections.abc import Sequence

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame
from websockets.typing import ExtensionParameter

MIN_COMPRESSED_BYTES = 1024
"""Shorter messages are sent uncompressed: a server reads those in a tenth of the time."""


class ClientCompression(ClientPerMessageDeflateFactory):
    """Neither side keeps its window between messages, which would take about 300 kB per connection."""

    def __init__(self) -> None:
        super().__init__(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            compress_settings={"level": 1, "memLevel": 5},
        )

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        agreed = super().process_response_params(params, accepted_extensions)
        return LongMessageDeflate(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
            agreed.compress_settings,
        )


class LongMessageDeflate(PerMessageDeflate):
    """Compresses whole messages; fragments are not supported, and the client sends none."""

    def encode(self, frame: Frame) -> Frame:
        return super().encode(frame) if len(frame.data) >= MIN_COMPRESSED_BYTES else frame
