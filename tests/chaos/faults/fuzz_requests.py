"""Strange HTTP requests, good in form and hardly HTTP at all, from one seeded random.Random."""

from __future__ import annotations

import json
import random
from typing import Any

from .fuzz_frames import FIELDS, VALUES, WORDS, json_value

STATUSES = {
    200,
    201,
    204,
    304,
    400,
    401,
    403,
    404,
    405,
    408,
    409,
    411,
    413,
    414,
    415,
    426,
    429,
    431,
    501,
    505,
}
"""Whatever is asked, an answer is one of these: 500 is an error of the server's own, 503 none of a client's doing."""


PATHS = ["/messages", "/rooms", "/health", "/invites", "/session", "/rooms/lobby", "/static/page.js", "/"]
PATHS += [
    f"/rooms/{room}{rest}"
    for room in ("lobby", "a.b", "", "%2e%2e", "%00", "r" * 65)
    for rest in ("/messages", "/log", "/search", "/moderation", "/x")
]
METHODS = ["GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW", "get"]
HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Type", "text/plain"),
    ("Content-Type", "application/json; charset=latin-1"),
    ("Origin", "http://evil.example"),
    ("Origin", "null"),
    ("Host", "evil.example"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "short"),
    ("Sec-WebSocket-Version", "12"),
    ("Authorization", "Bearer \xff"),
    ("Authorization", "Basic YTpi"),
    ("Cookie", "bqserver=%s; \x01" % ("z" * 200)),
    ("Range", "bytes=0-1"),
    ("If-None-Match", "*"),
    ("Expect", "100-continue"),
    ("X-Forwarded-For", "1.2.3.4"),
    ("Accept-Encoding", "gzip"),
]


def request(chance: random.Random, port: int) -> tuple[str, bytes]:
    """A whole HTTP/1.1 request of a well-behaved program that asks for nonsense, and its method."""
    method = chance.choice(METHODS)
    path = chance.choice(PATHS)
    if chance.random() < 0.5:
        path += "?" + "&".join(f"{name(chance)}={quoted(chance)}" for _ in range(chance.randint(1, 3)))
    headers = dict([("Host", f"127.0.0.1:{port}"), *chance.sample(HEADERS, chance.randint(0, 3))])
    body = b""
    if method not in ("GET", "HEAD", "OPTIONS"):
        headers.setdefault("Content-Type", "application/json")
        body = http_body(chance)
        headers["Content-Length"] = str(len(body))
    if "Expect" in headers and not body:
        del headers["Expect"]
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return method, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def name(chance: random.Random) -> str:
    return chance.choice(["limit", "before", "after", "epoch", "user", "q", "kind", "x"])


def quoted(chance: random.Random) -> str:
    return chance.choice(
        ["", "0", "1", "50", "201", "-1", "x", "1e9", "9" * 30, "%ff", "%00", "%F0%9F%98%80", "+", "a%20b"]
    )


def http_body(chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randint(0, 100))
    if kind == 1:
        return json.dumps(json_value(chance, 3)).encode()
    if kind == 2:
        return b"x" * 200_000
    post: dict[str, Any] = {"user": "ada", "text": "hi", "cid": f"h{chance.random()}"}
    post[chance.choice(FIELDS)] = chance.choice([*VALUES, *WORDS])
    return json.dumps(post).encode()


def garbage(chance: random.Random, port: int) -> bytes:
    """What is no HTTP, or only nearly: bad start lines, lengths that lie, bodies in broken chunks, endless heads."""
    host = f"Host: 127.0.0.1:{port}\r\n"
    post = f"POST /messages HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
    made = [
        chance.randbytes(chance.randint(1, 300)),
        b"\r\n" * chance.randint(1, 50),
        b"GET\r\n\r\n",
        f"GET /{'a' * chance.choice([10, 70_000])} HTTP/1.1\r\n{host}\r\n".encode(),
        f"GET / HTTP/{chance.choice(['0.9', '1.0', '2', '1.1.1', 'x'])}\r\n{host}\r\n".encode(),
        f"GET / HTTP/1.1\r\n{host}X: {'y' * 100_000}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\n{host}no colon\r\n : \r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\n{host}{host}\r\n".encode(),
        f"{post}Content-Length: {chance.choice(['-1', 'x', '5, 6', '99999999999', '0x5', '+5'])}\r\n\r\nhello".encode(),
        f"{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
        f"{post}Transfer-Encoding: chunked\r\n\r\n{chance.choice(['zz', '-1', '5', 'ffffffffff', ''])}\r\nhello\r\n".encode(),
        f"{post}Content-Length: 100\r\n\r\n{{".encode(),
        f"{post}\r\n".encode(),
        request(chance, port)[1][: chance.randint(1, 200)],
    ]
    return chance.choice(made)
