"""One tree of errors. Each carries its facts as attributes, and its text says what to do.

::

    BqwidgetError
    ├── ArgumentError          an argument with a wrong value: ``argument``                  (a ValueError)
    ├── ArgumentTypeError      an argument of a wrong type: ``argument``                     (a TypeError)
    ├── ProtocolError          a frame or body that is not valid chat.v1: ``code``, ``field``
    ├── RoomClosed             closed here, or permanently by the server: ``close_code``
    ├── MessageRefused         the server refused the message: ``code``, ``status``, ``retry_after``
    ├── DeliveryTimeout        not acknowledged in time; stays queued: ``cid``, ``timeout``  (a TimeoutError)
    ├── WaitTimeout            the awaited event did not happen in time: ``timeout``         (a TimeoutError)
    ├── TrackStopped           a member stopped the loop of ``room.track(..., stop=True)``: ``user``
    ├── ConnectionRefused      the server can't be joined: ``url``, ``status``, ``code``, ``retry_after``
    └── LocalServerError       the local server can't be found or started: ``path``, ``reason``

``BqwidgetError`` itself is raised for wrong use.
"""

# ruff: noqa: N818 - a name says what happened; its place in the tree says that it is an error

from __future__ import annotations


class BqwidgetError(Exception):
    """The base of all errors of bqwidget. Example: ``except BqwidgetError as error: print(error)``"""


class ArgumentError(BqwidgetError, ValueError):
    """An argument with a wrong value. ``argument``: its name. Example: ``room.history(limit=-1)`` raises it."""

    def __init__(self, message: str, *, argument: str) -> None:
        super().__init__(message)
        self.argument = argument


class ArgumentTypeError(BqwidgetError, TypeError):
    """An argument of a wrong type. ``argument``: its name. Example: ``room.history("x")`` raises it."""

    def __init__(self, message: str, *, argument: str) -> None:
        super().__init__(message)
        self.argument = argument


class ProtocolError(BqwidgetError):
    """A frame or body that is not valid chat.v1. ``code``: the wire's error code. ``field``: its path in the body.

    Example: ``Room("my room")`` raises it.
    """

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


class RoomClosed(BqwidgetError):
    """The room is closed: by ``close()``, or by the server with ``close_code`` (4401, 4403, 4404).

    Example: ``except RoomClosed as error: print(error.close_code)``
    """

    def __init__(self, message: str, *, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class MessageRefused(BqwidgetError):
    """The server refused the message with ``code``. What may pass by itself, as too many messages, is retried instead.

    ``status``: of an attachment, the HTTP status; ``retry_after``: seconds after which it may be accepted, or None.
    Example: ``except MessageRefused as error: print(error.code)``
    """

    def __init__(self, code: str, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after


class DeliveryTimeout(BqwidgetError, TimeoutError):
    """No acknowledgement within ``timeout`` seconds. The message stays queued under ``cid`` and is retried.

    Example: ``except DeliveryTimeout: pass  # it is delivered later``
    """

    def __init__(self, message: str, *, cid: str, timeout: float) -> None:
        super().__init__(message)
        self.cid = cid
        self.timeout = timeout


class WaitTimeout(BqwidgetError, TimeoutError):
    """The awaited message or state did not come within ``timeout`` seconds.

    Example: ``except WaitTimeout as error: print(error.timeout)``
    """

    def __init__(self, message: str, *, timeout: float) -> None:
        super().__init__(message)
        self.timeout = timeout


class TrackStopped(BqwidgetError):
    """A member, ``user``, stopped the loop of ``room.track(..., stop=True)``.

    Example: ``except TrackStopped as error: print(error.user)``
    """

    def __init__(self, message: str, *, user: str) -> None:
        super().__init__(message)
        self.user = user


class ConnectionRefused(BqwidgetError):
    """The server can't be reached, or answered with the HTTP ``status``. ``retry_after``: seconds to wait.

    Example: ``except ConnectionRefused as error: print(error.status)``
    """

    def __init__(
        self,
        message: str,
        *,
        url: str,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.status = status
        self.code = code
        self.retry_after = retry_after


class LocalServerError(BqwidgetError):
    """The user's local server can't be found or started. ``path``: the file or log with the reason.

    ``reason``: what other people may read of the message, without names of folders.
    Example: ``except LocalServerError as error: print(error.path)``
    """

    def __init__(self, message: str, *, path: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason or (message.replace(path, "its folder") if path else message)
