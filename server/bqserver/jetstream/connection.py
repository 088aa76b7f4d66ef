"""One connection to one NATS server, and the errors that a lost connection raises.

nats-py's own reconnecting is turned off: some errors that a server sends while it shuts down end it permanently, and
it notices a frozen server late. ``NatsClient`` opens a new connection instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from bqserver.errors import StartError

REQUEST_TIMEOUT = 2
"""Seconds to connect, and to wait for an answer."""
MAX_PENDING_BYTES = 16 * 1024 * 1024
NO_RESPONDERS_STATUS = "503"
"""The status of the reply that NATS sends when no service listens on a request's subject."""
CONNECTION_ERRORS = (OSError, asyncio.TimeoutError, nats.errors.Error)
"""What a call raises when there is no connection, or it is lost, or no answer comes."""

_log = logging.getLogger("bqserver.nats")

MessageHandler = Callable[[Msg], None]


class Credentials(NamedTuple):
    """``path``: the file that proves this client's identity. ``tls``: the context that verifies the server."""

    path: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def read(cls, credentials: str, ca: str) -> Credentials:
        """From two files, each optional (an empty path). Raises StartError."""
        path = _existing_file(ca, "--nats-ca")
        try:
            tls = ssl.create_default_context(cafile=path) if path else None
        except ssl.SSLError as error:
            raise StartError(f"{path} is not a certificate (PEM): correct --nats-ca") from error
        return cls(_existing_file(credentials, "--nats-creds"), tls)


async def connect(
    client: Client, server: str, credentials: Credentials, on_disconnect: Callable[[], Awaitable[None]]
) -> None:
    """``server`` may have a login, percent-encoded. ``on_disconnect`` is called when the connection ends.

    Raises CONNECTION_ERRORS.
    """
    url = urlsplit(server)
    name, password = (None if part is None else unquote(part) for part in (url.username, url.password))
    await client.connect(
        server,
        name="bqserver",
        allow_reconnect=False,
        max_reconnect_attempts=1,  # 0 means no limit
        reconnect_time_wait=0,
        connect_timeout=REQUEST_TIMEOUT,
        ping_interval=3600,  # NatsClient sends the pings
        pending_size=MAX_PENDING_BYTES,
        error_cb=_log_error,
        disconnected_cb=on_disconnect,
        user=name if password is not None else None,  # nats-py uses a login in the URL as it is written
        password=password,
        token=name if password is None else None,
        user_credentials=credentials.path,
        tls=credentials.tls,
        skip_subject_validation=True,
    )


async def close(client: Client) -> None:
    with contextlib.suppress(AssertionError, *CONNECTION_ERRORS):  # it asserts if it was never connected
        await asyncio.wait_for(client.close(), REQUEST_TIMEOUT)


def as_callback(handler: MessageHandler) -> Callable[[Msg], Awaitable[None]]:
    async def callback(msg: Msg) -> None:
        handler(msg)

    return callback


def error_text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _existing_file(path: str, flag: str) -> str | None:
    """Raises StartError if the file does not exist."""
    if not path:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise StartError(f"there is no file {path}: correct {flag}")
    return str(file)


async def _log_error(error: Exception) -> None:
    _log.debug("NATS: %s", error_text(error))
