"""What can be sent: a draft that a server would end the connection for is refused before it is sent."""

from __future__ import annotations

from bqwidget.errors import ProtocolError
from bqwidget.protocol import ClientFrame, Draft, Error, Limits, check, encode


def is_encodable(frame: ClientFrame) -> bool:
    """Whether it can be sent at all: halves of characters (a cut emoji, an odd file name) are no UTF-8."""
    try:
        encode(frame)
    except UnicodeEncodeError:
        return False
    return True


def validate(draft: Draft, limits: Limits) -> Error | None:
    """Why a server with these limits would refuse it, or end the connection for it, as it would say so itself."""
    if not is_encodable(draft):
        message = "the message holds half a character: clean it by text.encode(errors='replace').decode()"
        return Error(code="bad_text", message=message, cid=draft.cid)
    try:
        check(draft, limits)
    except ProtocolError as error:
        return Error(code=error.code, message=str(error), cid=draft.cid)
    size = len(encode(draft))
    if size > limits.frame:
        message = f"the message takes {size:,} bytes; the limit is {limits.frame:,}"
        return Error(code="too_long", message=message, cid=draft.cid)
    return None
