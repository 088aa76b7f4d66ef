"""The errors of the server.

::

    bqwidget.errors.BqwidgetError
    └── ServerError
        ├── StartError            the server or a command can't start (exit status 1)
        │   └── SettingError      a setting that can't be understood (exit status 2)
        ├── AccessFileError       a file of tokens, rights or mutes can't be used
        ├── TooManyInvites        an inviter has as many invites as may be outstanding
        ├── ServerUnreachable     the server that Jupyter's extension forwards to does not answer
        └── StorageError          the history can't be opened, read or written
            ├── HistoryInUse          another server uses it
            ├── QueueFull         too much is waiting to be written
            ├── ServerStopping    a read that the end of the server has interrupted
            └── ClusterError      NATS does not answer, or its stream can't be used

    tornado.web.HTTPError
    └── ApiError                  an HTTP answer of 4xx or 5xx (``bqserver.web.errors``)

Every message is one sentence for the person who can act on it: what is wrong, and what to do.
"""

from __future__ import annotations

from bqwidget.errors import BqwidgetError


class ServerError(BqwidgetError):
    """Base of all errors that the server raises on purpose."""


class StartError(ServerError):
    """The server or one of its commands can't start."""


class SettingError(StartError):
    """A flag or a configuration value that can't be understood or can't apply."""


class AccessFileError(ServerError):
    """A file of tokens, rights or mutes that can't be read, understood or written."""


class StorageError(ServerError):
    """A log or its attachments that can't be opened, read or written."""


class HistoryInUse(StorageError):  # noqa: N818 - it ends when that server does
    """A log that another server uses."""


class QueueFull(StorageError):  # noqa: N818 - the queue being full is the whole message
    """More submissions are waiting to be written than the queue may hold. ``retry_after``: seconds."""

    retry_after = 1.0

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting:,} messages are waiting to be written; try again in {self.retry_after:g} s")


class ServerStopping(StorageError):  # noqa: N818 - no fault
    """A read that did not take place, or not to its end, because the server is stopping."""

    def __init__(self) -> None:
        super().__init__("the server is stopping: it will be back")


class ClusterError(StorageError):
    """NATS does not answer, refuses a request, or has a stream that can't be used."""


class TooManyInvites(ServerError):  # noqa: N818 - a condition that passes
    """An inviter has ``limit`` invites outstanding. ``retry_after``: seconds until the first one expires."""

    def __init__(self, limit: int, retry_after: float) -> None:
        super().__init__(f"{limit:,} of your invites have not expired, which is the limit: use them, or wait")
        self.retry_after = retry_after


class ServerUnreachable(ServerError):  # noqa: N818 - a condition that passes
    """The server that requests are forwarded to does not answer, or could not be started (``start_failed``)."""

    def __init__(self, message: str, code: str = "unavailable") -> None:
        super().__init__(message)
        self.code = code
