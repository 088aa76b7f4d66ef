"""A live chat room inside a notebook: a window people look at, and a list that code reacts to.

Names are imported on first use (PEP 562), so that ``bqwidget.protocol``, which the server shares,
loads neither Jupyter nor a socket.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        BqwidgetError,
        ConnectionRefused,
        DeliveryTimeout,
        LocalServerError,
        MessageRefused,
        ProtocolError,
        RoomClosed,
        WaitTimeout,
    )
    from .protocol import Message
    from .room import Room
    from .widget import ChatWidget

__version__ = "0.1.0"

_HOME = {
    "Room": "room",
    "ChatWidget": "widget",
    "Message": "protocol",
    "BqwidgetError": "errors",
    "ConnectionRefused": "errors",
    "DeliveryTimeout": "errors",
    "LocalServerError": "errors",
    "MessageRefused": "errors",
    "ProtocolError": "errors",
    "RoomClosed": "errors",
    "WaitTimeout": "errors",
}

__all__ = [
    "BqwidgetError",
    "ChatWidget",
    "ConnectionRefused",
    "DeliveryTimeout",
    "LocalServerError",
    "Message",
    "MessageRefused",
    "ProtocolError",
    "Room",
    "RoomClosed",
    "WaitTimeout",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
