"""A client that speaks plain JSON over a plain WebSocket, so that tests see the actual wire format."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

Frame = dict[str, Any]
TIMEOUT = 30.0


class Member:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, frame: Frame | str | bytes) -> None:
        self.socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    def say(self, text: str, cid: str = "c1", user: str = "ada", **more: Any) -> None:
        self.send({"type": "chat.send", "cid": cid, "user": user, "text": text, **more})

    def recv(self) -> Frame:
        return json.loads(self.socket.recv(TIMEOUT))

    def until(self, kind: str) -> Frame:
        """Returns the next frame of this type; skips others."""
        while (frame := self.recv())["type"] != kind:
            pass
        return frame

    def texts(self, count: int) -> list[str]:
        return [self.until("message")["entry"]["text"] for _ in range(count)]

    def close_code(self) -> int | None:
        """Read until the server closes the connection. Returns the close code."""
        try:
            while True:
                self.socket.recv(TIMEOUT)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


@contextmanager
def member(
    url: str,
    room: str = "lobby",
    query: str = "",
    *,
    ssl: ssl.SSLContext | None = None,
    compression: str | None = None,
    **headers: str,
) -> Iterator[Member]:
    """``url`` is the server's http address; header names take ``_`` for ``-``; ``compression`` is websockets'."""
    address = f"{url.replace('http', 'ws', 1)}/rooms/{room}{query}"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with connect(
        address,
        subprotocols=["chat.v1"],
        additional_headers=sent,
        compression=compression,
        ssl=ssl,
        max_size=None,
        max_queue=None,  # otherwise unread messages would delay the closing handshake
        open_timeout=TIMEOUT,
        ping_interval=None,  # the server's pings keep it alive
    ) as socket:
        yield Member(socket)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


def request(url: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Send one HTTP request; a dict body is sent as JSON, bytes unchanged."""
    address = urlsplit(url)
    if address.scheme == "https":  # the tests' own certificate; its verification has tests of its own
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=TIMEOUT, context=context)
    else:
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, body, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


# ---- live messages


@contextmanager
def members(server, *names: str, **headers: str):
    """Members that follow live messages, each with a client of its own."""
    with ExitStack() as stack:
        found = []
        for name in names:
            one = stack.enter_context(member(server.url, query=f"?user={name}&client={name}&live=1", **headers))
            one.until("synced")
            found.append(one)
        yield found


def opened(bot: Member, text: str = "", cid: str = "open", **more) -> int:
    bot.say(text, cid=cid, user="bot", live=True, **more)
    return bot.until("ack")["seq"]


def append(bot: Member, seq: int, offset: int, text: str, **more) -> None:
    bot.send({"type": "chat.append", "target": seq, "offset": offset, "text": text, **more})


def ended(bot: Member, seq: int, end: str = "done", **more) -> dict:
    bot.send({"type": "chat.end", "cid": "end", "target": seq, "end": end, **more})
    return bot.until("ack")


def append_all(bot: Member, seq: int, text: str, size: int = 3) -> None:
    for start in range(0, len(text), size):
        append(bot, seq, start, text[start : start + size])


def until_text(one: Member, length: int) -> str:
    """What the pieces make of an empty text, when it has so many characters."""
    text = ""
    while len(text) < length:
        piece = one.until("append")
        assert piece["offset"] <= len(text)
        text = (
            text[: piece["offset"]] + piece["text"]
            if piece.get("replace")
            else text + piece["text"][len(text) - piece["offset"] :]
        )
    return text


def changes(one: Member, upto: str = "end") -> list[dict]:
    found = [one.until("change")["entry"]]
    while found[-1]["kind"] != upto:
        found.append(one.until("change")["entry"])
    return found
