"""Random HTTP requests, well-formed and malformed, from one seeded random.Random."""

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
"""The allowed statuses. 500 is excluded as an error in the server, and 503 because no client request causes it."""


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


def request(rng: random.Random, port: int) -> tuple[str, bytes]:
    """A well-formed HTTP/1.1 request with random content, and its method."""
    method = rng.choice(METHODS)
    path = rng.choice(PATHS)
    if rng.random() < 0.5:
        path += "?" + "&".join(f"{query_name(rng)}={query_value(rng)}" for _ in range(rng.randint(1, 3)))
    headers = dict([("Host", f"127.0.0.1:{port}"), *rng.sample(HEADERS, rng.randint(0, 3))])
    body = b""
    if method not in ("GET", "HEAD", "OPTIONS"):
        headers.setdefault("Content-Type", "application/json")
        body = http_body(rng)
        headers["Content-Length"] = str(len(body))
    if "Expect" in headers and not body:
        del headers["Expect"]
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return method, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def query_name(rng: random.Random) -> str:
    return rng.choice(["limit", "before", "after", "epoch", "user", "q", "kind", "x"])


def query_value(rng: random.Random) -> str:
    return rng.choice(
        ["", "0", "1", "50", "201", "-1", "x", "1e9", "9" * 30, "%ff", "%00", "%F0%9F%98%80", "+", "a%20b"]
    )


def http_body(rng: random.Random) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randint(0, 100))
    if kind == 1:
        return json.dumps(json_value(rng, 3)).encode()
    if kind == 2:
        return b"x" * 300_000
    post: dict[str, Any] = {"user": "ada", "text": "hi", "cid": f"h{rng.random()}"}
    post[rng.choice(FIELDS)] = rng.choice([*VALUES, *WORDS])
    return json.dumps(post).encode()


def malformed(rng: random.Random, port: int) -> bytes:
    """Malformed HTTP: bad start lines, wrong lengths, bodies with broken chunks, oversized headers."""
    host = f"Host: 127.0.0.1:{port}\r\n"
    post = f"POST /messages HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
    candidates = [
        rng.randbytes(rng.randint(1, 300)),
        b"\r\n" * rng.randint(1, 50),
        b"GET\r\n\r\n",
        f"GET /{'a' * rng.choice([10, 70_000])} HTTP/1.1\r\n{host}\r\n".encode(),
        f"GET / HTTP/{rng.choice(['0.9', '1.0', '2', '1.1.1', 'x'])}\r\n{host}\r\n".encode(),
        f"GET / HTTP/1.1\r\n{host}X: {'y' * 100_000}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\n{host}no colon\r\n : \r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\n{host}{host}\r\n".encode(),
        f"{post}Content-Length: {rng.choice(['-1', 'x', '5, 6', '99999999999', '0x5', '+5'])}\r\n\r\nhello".encode(),
        f"{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
        f"{post}Transfer-Encoding: chunked\r\n\r\n{rng.choice(['zz', '-1', '5', 'ffffffffff', ''])}\r\nhello\r\n".encode(),
        f"{post}Content-Length: 100\r\n\r\n{{".encode(),
        f"{post}\r\n".encode(),
        request(rng, port)[1][: rng.randint(1, 200)],
    ]
    return rng.choice(candidates)
