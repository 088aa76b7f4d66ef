"""One tree of errors; each carries its facts as attributes and says what to do next.

::

    BqwidgetError
    ├── ProtocolError          bytes that are not chat.v1: ``code``, ``field``
    ├── RoomClosed             the room was closed here, or ended for good by the server: ``close_code``
    ├── MessageRefused         the server said no: ``code``, ``status``, ``retry_after``
    ├── DeliveryTimeout        not acknowledged in time; it stays queued: ``cid``   (a TimeoutError)
    ├── WaitTimeout            nothing that was waited for came: ``timeout``        (a TimeoutError)
    ├── ConnectionRefused      the server can't be joined: ``url``, ``status``, ``code``, ``retry_after``
    └── LocalServerError       the local server can't be found or started: ``path``

``BqwidgetError`` itself is raised for wrong use (an unknown option, a bad room name).
"""

# ruff: noqa: N818 - a name says what happened; that it is an error its place in the tree says

from __future__ import annotations


class BqwidgetError(Exception):
    """Anything that goes wrong in bqwidget; catch this to catch all of it."""


class ProtocolError(BqwidgetError):
    """A frame or body that is not what chat.v1 says; ``code`` is the wire's short word for it."""

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


class RoomClosed(BqwidgetError):
    """The room is closed: by ``close()``, or by the server with ``close_code`` (4401, 4403, 4404)."""

    def __init__(self, message: str, *, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class MessageRefused(BqwidgetError):
    """The server refused this message for good. ``retry_after`` (seconds) is set where a later try may pass."""

    def __init__(
        self, code: str, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after


class DeliveryTimeout(BqwidgetError, TimeoutError):
    """No acknowledgement within ``timeout`` seconds. The message stays queued under ``cid`` and is retried."""

    def __init__(self, message: str, *, cid: str, timeout: float) -> None:
        super().__init__(message)
        self.cid = cid
        self.timeout = timeout


class WaitTimeout(BqwidgetError, TimeoutError):
    """Nothing that was waited for came within ``timeout`` seconds."""

    def __init__(self, message: str, *, timeout: float) -> None:
        super().__init__(message)
        self.timeout = timeout


class ConnectionRefused(BqwidgetError):
    """The server answered the join with an HTTP ``status`` instead of a room."""

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
    """The user's local server can't be found or started; ``path`` is the file or log that tells why."""

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path
