"""A server that only calls ``websockets.broadcast``, nothing stored. ``PORT=8000 python peer_websockets.py``."""

from __future__ import annotations

import asyncio
import json
import os

from websockets.asyncio.server import ServerConnection, broadcast, serve

PEERS: set[ServerConnection] = set()


async def room(peer: ServerConnection) -> None:
    PEERS.add(peer)
    try:
        async for message in peer:
            frame = json.loads(message)
            entry = {"user": frame["user"], "text": frame["text"]}
            broadcast(PEERS, json.dumps({"type": "message", "entry": entry}))
    finally:
        PEERS.discard(peer)


async def main() -> None:
    async with serve(room, "127.0.0.1", int(os.environ["PORT"]), subprotocols=["chat.v1"], compression=None):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
