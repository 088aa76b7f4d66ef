"""Checks a draft before it is sent: the server would refuse it, or end the connection for it."""

from __future__ import annotations

from bqwidget.errors import ProtocolError
from bqwidget.protocol import ClientFrame, Draft, Error, Limits, check, encode


def is_encodable(frame: ClientFrame) -> bool:
    """Whether it is valid UTF-8: a lone surrogate, from a cut emoji or a file name, is not."""
    try:
        encode(frame)
    except UnicodeEncodeError:
        return False
    return True


def validate(draft: Draft, limits: Limits) -> Error | None:
    """The error with which a server with these limits would refuse ``draft``, or None."""
    if not is_encodable(draft):
        message = "the message contains half a character: clean it by text.encode(errors='replace').decode()"
        return Error(code="bad_text", message=message, cid=draft.cid)
    try:
        check(draft, limits)
    except ProtocolError as error:
        return Error(code=error.code, message=str(error), cid=draft.cid)
    size = len(encode(draft))
    if size > limits.frame:
        message = f"the message has {size:,} bytes; the limit is {limits.frame:,}"
        return Error(code="too_long", message=message, cid=draft.cid)
    return None
