"""A live chat room inside a notebook: a window for people, and a list that code reacts to.

Names are imported on first use (PEP 562), so that ``bqwidget.protocol``, which the server shares, loads neither Jupyter
nor a network library.

The modules here are public. Below them, in the order of their imports: ``_threads`` (where code runs), ``_client`` (one
room's connection), ``_room`` (the verbs), ``_widget`` (the kernel's side of the window).
"""

import gc as _gc  # with an underscore, as all names here that completion must not offer
import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:
    from .errors import (
        ArgumentError,
        ArgumentTypeError,
        BqwidgetError,
        ConnectionRefused,
        DeliveryTimeout,
        LocalServerError,
        MessageRefused,
        ProtocolError,
        RoomClosed,
        TrackStopped,
        WaitTimeout,
    )
    from .protocol import Message
    from .room import Room
    from .widget import ChatWidget

__version__ = "0.1.0"

_MODULES = {
    "Room": "room",
    "ChatWidget": "widget",
    "Message": "protocol",
    "ArgumentError": "errors",
    "ArgumentTypeError": "errors",
    "BqwidgetError": "errors",
    "ConnectionRefused": "errors",
    "DeliveryTimeout": "errors",
    "LocalServerError": "errors",
    "MessageRefused": "errors",
    "ProtocolError": "errors",
    "RoomClosed": "errors",
    "TrackStopped": "errors",
    "WaitTimeout": "errors",
}

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
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
    "TrackStopped",
    "WaitTimeout",
]


def __getattr__(name: str) -> _typing.Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    collects = _gc.isenabled()
    _gc.disable()  # what is imported stays: to look for garbage in a kernel's heap meanwhile took 40 % of the time
    try:
        return getattr(_import_module(f".{_MODULES[name]}", __name__), name)
    finally:
        if collects:
            _gc.enable()


def load_ipython_extension(_shell: _typing.Any) -> None:
    """``%load_ext bqwidget``: define ``%%share``, as the import of ``Room`` does."""
    _import_module(".room", __name__)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
