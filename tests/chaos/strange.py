"""Strange things to say to a server, each with what it must answer; all from one seeded random.Random."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from .raw import frame

CODES = {"bad_field", "empty", "too_long", "not_found", "conflict", "bad_choice", "forbidden"}
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

WORDS = [
    "",
    " ",
    "hi",
    "\0",
    "\u202e",
    "😀",
    "é",
    "\x1b[31m",
    "<script>",
    "'; DROP TABLE entry; --",
    "\\",
    '"',
    "%00",
]
WORDS += [
    "../../etc/passwd",
    "NaN",
    "null",
    "-1",
    "1e400",
    "0x10",
    "\ufeff",
    "\u2028",
    "x" * 65,
    "x" * 300,
    "y" * 20_000,
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    7,
    1.5,
    1 << 40,
    1 << 63,
    1 << 70,
    -(1 << 70),
    1e300,
    [],
    {},
    [[]],
    {"a": {}},
]
KINDS = ["chat.send", "chat.edit", "chat.delete", "chat.react", "chat.typing", "chat.resume", "chat.ping"]
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


class Said(NamedTuple):
    """A text frame, and the answer it must get: ``echo`` (of ``value``), ``ack``, ``error``, or any (None)."""

    text: str
    answer: str | None
    value: Any = None


def said(chance: random.Random, number: int) -> Said:
    """One text frame. ``number`` makes its cid its own."""
    kind = chance.randrange(6)
    if kind == 0:
        text = junk(chance)
        return Said(text, "echo", text)
    if kind == 1:
        value = json_value(chance, 4)
        return Said(json.dumps(value), "echo", value)
    if kind == 2:
        return Said(json.dumps(good(chance, number)), "ack")
    if kind == 3:
        frame, wrong = good(chance, number), chance.choice(["cid", "user", "text", "type"])
        if wrong == "type":
            frame["type"] = chance.choice(["chat.sendx", "", "CHAT.SEND", 7, None, ["chat.send"]])
            return Said(json.dumps(frame), "echo", frame)
        frame[wrong] = chance.choice([None, 7, 1.5, [], {}, True, "", "  ", "z" * 70_000])
        return Said(json.dumps(frame), "error")
    if kind == 4:
        frame = {
            "type": chance.choice(KINDS[1:4]),
            "cid": f"c{number}",
            "user": "ada",
            "target": chance.choice(VALUES),
        }
        frame |= {"text": chance.choice(WORDS), "emoji": chance.choice(WORDS)}
        return Said(json.dumps(frame), None)
    frame = {
        "type": chance.choice(KINDS),
        **{chance.choice(FIELDS): chance.choice([*VALUES, *WORDS]) for _ in range(5)},
    }
    return Said(json.dumps(frame), None)


FIELDS = [
    "cid",
    "user",
    "text",
    "target",
    "re",
    "choice",
    "ask",
    "parts",
    "emoji",
    "on",
    "after",
    "epoch",
    "busy",
    "",
]


def good(chance: random.Random, number: int) -> dict[str, Any]:
    text = "".join(chance.choice(WORDS[2:18]) for _ in range(chance.randint(1, 5)))
    return {"type": "chat.send", "cid": f"c{number}", "user": f"user {number % 7}", "text": text}


def junk(chance: random.Random) -> str:
    """Text that is no JSON, however it is read."""
    return "{" + "".join(chance.choice(WORDS) for _ in range(chance.randint(0, 4))) + chance.choice("{[:,<")


def json_value(chance: random.Random, depth: int) -> Any:
    """A value that is no frame of ours."""
    kind = chance.randrange(4 if depth else 2)
    if kind == 0:
        return chance.choice([None, True, 0, -1, 1.5, 1 << 40, 1e300])
    if kind == 1:
        return chance.choice(WORDS)
    if kind == 2:
        return [json_value(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return {chance.choice(WORDS): json_value(chance, depth - 1) for _ in range(chance.randint(0, 3))}


def raw_frame(chance: random.Random) -> tuple[bytes, int | None]:
    """A frame, good or bad, and the close code that it deserves; None where the connection goes on, or waits."""
    opcode, first = chance.randrange(16), chance.choice([0x80, 0x80, 0, 0xC0, 0x90])
    payload = chance.choice(PAYLOADS)
    mask = chance.choice([b"\1\2\3\4", b"\0\0\0\0", b"\xff\xfe\xfd\xfc", None])
    return frame(opcode, payload, first=first, mask=mask), deserved(opcode, first, payload, mask)


PAYLOADS = [
    b"",
    b"\xff",
    b"\x03\xe8",
    b"\x00\x01ab",
    b"\x0f\xa0\xff",
    b"a" * 126,
    b"x" * 200_000,
    b'{"a":1}',
    "é".encode(),
]
LONGEST = 128 * 1024


def deserved(opcode: int, first: int, payload: bytes, mask: bytes | None) -> int | None:
    """RFC 6455 on one frame from a client, and chat.v1 on whole messages."""
    control = opcode >= 8
    if first & 0x70 or mask is None or opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        return 1002
    if control and (len(payload) > 125 or not first & 0x80):
        return 1002
    if opcode == 8:
        return closing(payload)
    if control:
        return None
    if len(payload) > LONGEST:
        return 1009
    if opcode == 0:
        return 1002  # there is nothing to continue
    if not first & 0x80:
        return None
    if opcode == 2:
        return 1003
    return None if is_utf8(payload) else 1007


def closing(payload: bytes) -> int:
    if not payload:
        return 1005
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or 3000 <= code < 5000):
        return 1002
    return code if is_utf8(payload[2:]) else 1007


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def noise(chance: random.Random) -> bytes:
    """Bytes after a handshake that may be anything: a cut frame, or none at all."""
    whole, _ = raw_frame(chance)
    return chance.choice([chance.randbytes(chance.randint(1, 200)), whole[: chance.randint(1, len(whole))]])


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
