"""A naive server: Tornado's ``write_message`` to every member, nothing stored. ``PORT=8000 python peer_tornado.py``."""

from __future__ import annotations

import asyncio
import json
import os

import tornado.web
import tornado.websocket

PEERS: set[Room] = set()


class Room(tornado.websocket.WebSocketHandler):
    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "chat.v1" if "chat.v1" in subprotocols else None

    def open(self, *_: str) -> None:
        PEERS.add(self)

    def on_close(self) -> None:
        PEERS.discard(self)

    def on_message(self, message: str | bytes) -> None:
        frame = json.loads(message)
        entry = {"user": frame["user"], "text": frame["text"]}
        for peer in PEERS:
            peer.write_message({"type": "message", "entry": entry})


async def main() -> None:
    tornado.web.Application([(r"/rooms/(.+)", Room)]).listen(int(os.environ["PORT"]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
