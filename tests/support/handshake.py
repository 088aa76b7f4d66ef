"""WebSocket handshakes for connections created without an HTTP server."""

from __future__ import annotations

from bqserver.websocket.connection import Handshake
from chaos.load.raw_websocket import upgrade

HEADERS = dict(line.split(": ", 1) for line in upgrade(1, "/").decode().split("\r\n")[1:] if line)
MAX_MESSAGE_BYTES = 1 << 17
OFFER = "permessage-deflate"


def handshake(offer: str | None) -> Handshake:
    return Handshake("/", HEADERS if offer is None else {**HEADERS, "Sec-WebSocket-Extensions": offer})
