"""JSON bytes to frames and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from bqwidget.errors import ProtocolError

from .frames import ClientFrame, Draft, Echo, Post, ServerFrame

encode = msgspec.json.Encoder().encode
"""A frame or entry as JSON bytes."""

NOT_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding raises: a text of ten thousand brackets is given up with RecursionError, and a string that is
not UTF-8 with UnicodeDecodeError."""

_decode_client: Callable[[str | bytes], ClientFrame] = msgspec.json.Decoder(ClientFrame).decode
_decode_server: Callable[[str | bytes], ServerFrame] = msgspec.json.Decoder(ServerFrame).decode
_decode_post: Callable[[bytes], Post] = msgspec.json.Decoder(Post).decode
_CLIENT_TYPES = frozenset(frame.__struct_config__.tag for frame in ClientFrame.__args__)
_SERVER_TYPES = frozenset(frame.__struct_config__.tag for frame in ServerFrame.__args__)


def decode_client(data: str | bytes) -> ClientFrame | Echo:
    """A client's frame; anything that isn't one of ours comes back as the ``Echo`` to answer with.

    Raises ProtocolError for a frame of ours whose fields are wrong (``bad_field``), or that only looser readers
    take for JSON (``bad_json``): a browser writes half a character as an escape that stands for none.
    """
    try:
        return _decode_client(data)
    except NOT_JSON as error:  # ValidationError is one of these
        try:
            message = msgspec.json.decode(data)
        except NOT_JSON:
            if _kind(_loosely(data)) in _CLIENT_TYPES:  # its sender waits for an answer, not for an echo
                raise ProtocolError("bad_json", f"the frame is not JSON: {error}") from None
            return Echo(message=data if isinstance(data, str) else data.decode(errors="replace"))
        if _kind(message) in _CLIENT_TYPES:
            raise _field_error(error) from None
        return Echo(message=message)


def decode_server(data: str | bytes) -> ServerFrame | None:
    """A server's frame; None for a type this version doesn't know, which is to be ignored.

    Raises ProtocolError for bytes that are not a frame at all.
    """
    try:
        return _decode_server(data)
    except NOT_JSON as error:
        try:
            message = msgspec.json.decode(data)
        except NOT_JSON:
            raise ProtocolError("bad_json", f"a frame that is not JSON: {error}") from None
        if isinstance(message, dict) and _kind(message) not in _SERVER_TYPES:
            return None
        raise _field_error(error) from None


def cid_of(data: str | bytes) -> str | None:
    """The cid of a frame that is refused, so that its sender knows which one it was."""
    frame = _loosely(data)
    cid = frame.get("cid") if isinstance(frame, dict) else None
    if not isinstance(cid, str) or any("\ud800" <= one <= "\udfff" for one in cid):
        return None  # halves of characters can't be sent back
    return cid


def _loosely(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _kind(message: Any) -> str | None:
    """The ``type`` of what may be a frame; a type that is no string is none."""
    kind = message.get("type") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) else None


def decode_post(body: bytes) -> Post:
    """The body of a REST post. Raises ProtocolError: ``bad_json`` or ``bad_field``."""
    try:
        return _decode_post(body)
    except msgspec.ValidationError as error:
        raise _field_error(error) from None
    except NOT_JSON as error:
        raise ProtocolError("bad_json", f"the body is not JSON: {error}") from None


def plain(draft: Draft) -> Draft:
    """``draft`` with texts that are nothing but text: what numpy and others derive from str can't be encoded."""
    return msgspec.convert(msgspec.to_builtins(draft, enc_hook=_plain), type(draft))


def _plain(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # its own might say anything
    raise TypeError(f"a message is text, not {type(value).__name__}")


_PATH = re.compile(r" - at `\$\.?([^`]*)`$|missing required field `([^`]*)`")


def _field_error(error: Exception) -> ProtocolError:
    """msgspec's words, with the field moved to the front."""
    found = _PATH.search(str(error))
    field = next((part for part in found.groups() if part), None) if found else None
    text = str(error).split(" - at `")[0]
    return ProtocolError("bad_field", f"{field}: {text}" if field else text, field=field)
