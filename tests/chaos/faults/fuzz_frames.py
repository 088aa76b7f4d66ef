"""Random frames, valid and invalid, and the response each must get; all from one seeded random.Random."""

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


class FuzzText(NamedTuple):
    """A text frame and its expected response: ``echo`` (of ``value``), ``ack``, ``error``, or any (None)."""

    text: str
    expected: str | None
    value: Any = None


def random_text(rng: random.Random, number: int) -> FuzzText:
    """One text frame. ``number`` makes its cid unique."""
    kind = rng.randrange(6)
    if kind == 0:
        text = invalid_json(rng)
        return FuzzText(text, "echo", text)
    if kind == 1:
        value = json_value(rng, 4)
        return FuzzText(json.dumps(value), "echo", value)
    if kind == 2:
        return FuzzText(json.dumps(valid_send(rng, number)), "ack")
    if kind == 3:
        frame, invalid = valid_send(rng, number), rng.choice(["cid", "user", "text", "type"])
        if invalid == "type":
            frame["type"] = rng.choice(["chat.sendx", "", "CHAT.SEND", 7, None, ["chat.send"]])
            return FuzzText(json.dumps(frame), "echo", frame)
        frame[invalid] = rng.choice([None, 7, 1.5, [], {}, True, "", "  ", "z" * 70_000])
        return FuzzText(json.dumps(frame), "error")
    if kind == 4:
        frame = {
            "type": rng.choice(KINDS[1:4]),
            "cid": f"c{number}",
            "user": "ada",
            "target": rng.choice(VALUES),
        }
        frame |= {"text": rng.choice(WORDS), "emoji": rng.choice(WORDS)}
        return FuzzText(json.dumps(frame), None)
    frame = {
        "type": rng.choice(KINDS),
        **{rng.choice(FIELDS): rng.choice([*VALUES, *WORDS]) for _ in range(5)},
    }
    return FuzzText(json.dumps(frame), None)


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


def valid_send(rng: random.Random, number: int) -> dict[str, Any]:
    text = "".join(rng.choice(WORDS[2:18]) for _ in range(rng.randint(1, 5)))
    return {"type": "chat.send", "cid": f"c{number}", "user": f"user {number % 7}", "text": text}


def invalid_json(rng: random.Random) -> str:
    """Text that no parser accepts as JSON."""
    return "{" + "".join(rng.choice(WORDS) for _ in range(rng.randint(0, 4))) + rng.choice("{[:,<")


def json_value(rng: random.Random, depth: int) -> Any:
    """A JSON value that is not a frame of the protocol."""
    kind = rng.randrange(4 if depth else 2)
    if kind == 0:
        return rng.choice([None, True, 0, -1, 1.5, 1 << 40, 1e300])
    if kind == 1:
        return rng.choice(WORDS)
    if kind == 2:
        return [json_value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(WORDS): json_value(rng, depth - 1) for _ in range(rng.randint(0, 3))}


def random_frame(rng: random.Random) -> tuple[bytes, int | None]:
    """A frame, valid or invalid, and the close code it must get; None if the connection stays open."""
    opcode, first = rng.randrange(16), rng.choice([0x80, 0x80, 0, 0xC0, 0x90])
    payload = rng.choice(PAYLOADS)
    mask = rng.choice([b"\1\2\3\4", b"\0\0\0\0", b"\xff\xfe\xfd\xfc", None])
    return frame(opcode, payload, first=first, mask=mask), expected_close_code(opcode, first, payload, mask)


PAYLOADS = [
    b"",
    b"\xff",
    b"\x03\xe8",
    b"\x00\x01ab",
    b"\x0f\xa0\xff",
    b"a" * 126,
    b"x" * 300_000,
    b'{"a":1}',
    "é".encode(),
]
MAX_MESSAGE_BYTES = 256 * 1024


def expected_close_code(opcode: int, first: int, payload: bytes, mask: bytes | None) -> int | None:
    """The close code for one frame from a client, by RFC 6455 and, for whole messages, by chat.v1."""
    control = opcode >= 8
    if first & 0x70 or mask is None or opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        return 1002
    if control and (len(payload) > 125 or not first & 0x80):
        return 1002
    if opcode == 8:
        return reply_to_close(payload)
    if control:
        return None
    if len(payload) > MAX_MESSAGE_BYTES:
        return 1009
    if opcode == 0:
        return 1002  # no message to continue
    if not first & 0x80:
        return None
    if opcode == 2:
        return 1003
    return None if is_utf8(payload) else 1007


def reply_to_close(payload: bytes) -> int:
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


def random_bytes(rng: random.Random) -> bytes:
    """Arbitrary bytes to send after a handshake: random ones, or the beginning of a frame."""
    whole, _ = random_frame(rng)
    return rng.choice([rng.randbytes(rng.randint(1, 200)), whole[: rng.randint(1, len(whole))]])
