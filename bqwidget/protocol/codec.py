"""JSON bytes to frames and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from bqwidget.errors import ProtocolError

from .client_frames import ClientFrame, Draft, Post
from .server_frames import Echo, ServerFrame

encode = msgspec.json.Encoder().encode
"""A frame or entry as JSON bytes."""

NOT_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""The errors of decoding: RecursionError for ten thousand nested brackets, UnicodeDecodeError for invalid UTF-8."""

_decode_client: Callable[[str | bytes], ClientFrame] = msgspec.json.Decoder(ClientFrame).decode
_decode_server: Callable[[str | bytes], ServerFrame] = msgspec.json.Decoder(ServerFrame).decode
_decode_post: Callable[[bytes], Post] = msgspec.json.Decoder(Post).decode
_CLIENT_TYPES = frozenset(frame.__struct_config__.tag for frame in ClientFrame.__args__)
_SERVER_TYPES = frozenset(frame.__struct_config__.tag for frame in ServerFrame.__args__)


def decode_client(data: str | bytes) -> ClientFrame | Echo:
    """A client's frame. Data of any other kind is returned as the ``Echo`` to reply with.

    Raises ProtocolError for a known frame with wrong fields (``bad_field``), or one that only lenient parsers accept
    as JSON (``bad_json``): a browser encodes a lone surrogate as an escape, which is not valid.
    """
    try:
        return _decode_client(data)
    except NOT_JSON as error:  # ValidationError is a DecodeError
        try:
            message = msgspec.json.decode(data)
        except NOT_JSON:
            if _kind(_loosely(data)) in _CLIENT_TYPES:  # its sender waits for an error, not for an echo
                raise ProtocolError("bad_json", f"the frame is not JSON: {error}") from None
            return Echo(message=data if isinstance(data, str) else data.decode(errors="replace"))
        if _kind(message) in _CLIENT_TYPES:
            raise _field_error(error) from None
        return Echo(message=message)


def decode_server(data: str | bytes) -> ServerFrame | None:
    """A server's frame; None for an unknown type, which is to be ignored.

    Raises ProtocolError for data that is not a frame.
    """
    try:
        return _decode_server(data)
    except NOT_JSON as error:
        try:
            message = msgspec.json.decode(data)
        except NOT_JSON:
            raise ProtocolError("bad_json", f"the frame is not JSON: {error}") from None
        if isinstance(message, dict) and _kind(message) not in _SERVER_TYPES:
            return None
        raise _field_error(error) from None


def cid_of(data: str | bytes) -> str | None:
    """The cid of a refused frame, for the error that answers it; None if it has no valid one."""
    frame = _loosely(data)
    cid = frame.get("cid") if isinstance(frame, dict) else None
    if not isinstance(cid, str) or any("\ud800" <= one <= "\udfff" for one in cid):
        return None  # lone surrogates can't be sent
    return cid


def _loosely(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _kind(message: Any) -> str | None:
    """The ``type`` of a decoded message; None if it is not a string."""
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
    """``draft`` with all texts as plain str: subclasses of str, such as numpy's, can't be encoded."""
    return msgspec.convert(msgspec.to_builtins(draft, enc_hook=_plain), type(draft))


def _plain(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # not its own __str__, which may return another text
    raise TypeError(f"a message is text, not {type(value).__name__}")


_PATH = re.compile(r" - at `\$\.?([^`]*)`$|missing required field `([^`]*)`")


def _field_error(error: Exception) -> ProtocolError:
    """msgspec's error, with the field moved to the front."""
    found = _PATH.search(str(error))
    field = next((part for part in found.groups() if part), None) if found else None
    text = str(error).split(" - at `")[0]
    return ProtocolError("bad_field", f"{field}: {text}" if field else text, field=field)
