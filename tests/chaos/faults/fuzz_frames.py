"""Strange frames to send to a server, each with what it must answer; all from one seeded random.Random."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from chaos.load.raw_websocket import frame

CODES = {"bad_field", "empty", "too_long", "not_found", "conflict", "bad_choice", "forbidden"}
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
