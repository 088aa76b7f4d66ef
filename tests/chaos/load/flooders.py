"""Hostile neighbours: a process with one flooder of every kind, each on a thread, until its standard input ends.

``python flooders.py URL READ_ONLY_TOKEN [TOKEN [KIND]]``; TOKEN where even the others need one, or empty. With KIND, one
flooder of this kind for each core: a name of FLOODS, ``sends`` or ``pieces``. A flooder that is refused or closed comes
back after a short pause.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

PAUSE = 0.05
IDLE_CONNECTIONS, UNREAD_GETS, SLOW_UPLOADS, HELD_BODIES = 300, 20, 7, 10
HELD_BYTES = 8 * 1024 * 1024


TOGETHER, LIVE = 20, 100


def frame(opcode: int, payload: bytes, first: int = 0x80) -> bytes:
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((first | opcode,)) + length + bytes(4) + payload


def text(sent: dict[str, object]) -> bytes:
    return frame(1, json.dumps(sent).encode())


MESSAGE = {"type": "chat.send", "user": "mallory", "text": "x"}
SEND = b'{"type":"chat.send","cid":"c","user":"eve","text":"x"}'
FLOODS = {
    "pings": frame(1, b'{"type":"chat.ping"}'),
    "fragments": frame(1, b"", 0) + frame(0, b"x", 0) * 20 + frame(0, b""),
    "bad frames": frame(1, b"{"),
    "refused sends": frame(1, SEND),
}


class Flooders:
    def __init__(self, url: str, token: str, own: str = "") -> None:
        address = urlsplit(url)
        self._host, self._port, self._base = address.hostname or "", address.port or 0, address.path
        self._token, self._own = token, own

    def start(self, kind: str = "") -> None:
        floods: dict[str, Callable[[], None]] = {name: partial(self.flood, data) for name, data in FLOODS.items()}
        floods |= {"sends": self.sends, "pieces": self.pieces}
        tasks = [self.idle, self.unread, self.uploads, self.held, *floods.values(), *[self.pings] * TOGETHER]
        if kind:
            tasks = [floods[kind]] * (os.cpu_count() or 1)
        for task in tasks:
            threading.Thread(target=repeat, args=(task,), daemon=True).start()

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection((self._host, self._port), timeout=10)
        client.sendall(data)
        return client

    def head(self, method: str, path: str, *headers: str, token: str | None = None) -> bytes:
        lines = [f"{method} {self._base}{path} HTTP/1.1", f"Host: {self._host}:{self._port}", *headers]
        if token := self._own if token is None else token:
            lines.append(f"Authorization: Bearer {token}")
        return "\r\n".join([*lines, "", ""]).encode()

    def join(self, query: str = "", token: str | None = None) -> socket.socket:
        """A member of the room "flooded", whose answers are read."""
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        client = self.connect(self.head("GET", f"/rooms/flooded{query}", *upgrade, key, token=token))
        threading.Thread(target=drain, args=(client,), daemon=True).start()
        return client

    def flood(self, data: bytes) -> None:
        """Frames of a member who may only read, without pause."""
        with self.join(token=self._token) as client:
            block = data * (16_384 // len(data))
            while True:
                client.sendall(block)

    def pings(self) -> None:
        """One of many connections that flood together."""
        self.flood(FLOODS["pings"])

    def sends(self) -> None:
        """Messages that are all accepted, without pause: on loopback there is no rate limit."""
        with self.join() as client:
            while True:
                client.sendall(b"".join([text({**MESSAGE, "cid": os.urandom(8).hex()}) for _ in range(200)]))

    def pieces(self) -> None:
        """Pieces of many live messages; the first are numbered from 1, and what is not live is refused."""
        with self.join("?client=mallory&live=1&kind=kernel") as client:
            client.sendall(b"".join([text({**MESSAGE, "cid": f"l{each}", "live": True}) for each in range(LIVE)]))
            while True:
                piece = {"type": "chat.append", "offset": 0, "text": os.urandom(20).hex(), "replace": True}
                for kind in (
                    piece,
                    {"type": "chat.stop", "user": "mallory"},
                    {"type": "chat.typing", "text": "x" * 80},
                ):
                    client.sendall(b"".join([text({**kind, "target": each}) for each in range(1, LIVE)]))

    def idle(self) -> None:
        """Connections that send nothing, or the beginning of a head."""
        self.hold(lambda number: self.connect(b"GET /" if number % 2 else b""), IDLE_CONNECTIONS)

    def unread(self) -> None:
        """Requests for long answers that are never read."""
        request = self.head("GET", "/rooms/long/messages?limit=200")
        self.hold(lambda _: self.connect(request * 5), UNREAD_GETS)

    def uploads(self) -> None:
        """Uploads of which a byte comes now and then."""
        head = self.head("POST", "/rooms/lobby/parts", "Content-Type: image/png", "Content-Length: 9000000")
        self.hold(lambda _: self.connect(head + b"\x89PNG"), SLOW_UPLOADS, drip=b"x")

    def held(self) -> None:
        """Bodies that are not needed, and of which the last byte is held back."""
        head = self.head("GET", "/health", f"Content-Length: {HELD_BYTES + 1}")
        self.hold(lambda _: self.connect(head + bytes(HELD_BYTES)), HELD_BODIES)

    def hold(self, connect: Callable[[int], socket.socket], count: int, drip: bytes = b"") -> None:
        """Keep ``count`` connections; replace those that the server closes."""
        with ExitStack() as stack:
            held: dict[int, socket.socket] = {}
            for number in itertools.cycle(range(count)):
                try:
                    if number not in held:
                        held[number] = stack.enter_context(connect(number))
                        held[number].setblocking(False)
                    elif drip:
                        held[number].send(drip)
                        time.sleep(PAUSE)
                    elif number == 0:
                        time.sleep(PAUSE)
                    elif not unread_or_open(held[number]):
                        raise ConnectionError
                except BlockingIOError:
                    pass
                except OSError:
                    if number in held:
                        held.pop(number).close()
                    time.sleep(PAUSE / 10)


def unread_or_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True


def drain(client: socket.socket) -> None:
    try:
        while client.recv(1 << 16):
            pass
    except OSError:
        pass


def repeat(task: Callable[[], None]) -> None:
    while True:
        try:
            task()
        except OSError:
            time.sleep(PAUSE)


if __name__ == "__main__":
    Flooders(*sys.argv[1:4]).start(*sys.argv[4:])
    sys.stdin.read()
    os._exit(0)
