"""One connection to one NATS server, and what goes wrong with it.

nats-py's own reconnecting is turned off: it gives a connection up for good at some of the errors a server sends
while it shuts down, and notices a frozen server late. The link makes a new one instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from bqserver.errors import StartError

REQUEST_TIMEOUT = 2
"""Seconds for an answer, and to connect."""
MAX_PENDING_BYTES = 16 * 1024 * 1024
NO_RESPONDERS_STATUS = "503"
"""The status of the answer that nobody would give."""
CONNECTION_ERRORS = (OSError, asyncio.TimeoutError, nats.errors.Error)
"""What a call raises when the connection is away, or goes."""

_log = logging.getLogger("bqserver.nats")

MessageHandler = Callable[[Msg], None]


class Credentials(NamedTuple):
    """What a server asks for, and how it is known."""

    path: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def read(cls, credentials: str, ca: str) -> Credentials:
        """From two files, each of them none where the path is empty. Raises ClusterError."""
        path = _file(ca, "--nats-ca")
        try:
            tls = ssl.create_default_context(cafile=path) if path else None
        except ssl.SSLError as error:
            raise StartError(f"{path} is no certificate: see to --nats-ca") from error
        return cls(_file(credentials, "--nats-creds"), tls)


async def connect(
    client: Client, server: str, credentials: Credentials, on_disconnect: Callable[[], Awaitable[None]]
) -> None:
    """``gone`` is called when the connection is over. Raises LOST."""
    await client.connect(
        server,
        name="bqserver",
        allow_reconnect=False,
        max_reconnect_attempts=1,  # 0 would try for ever
        reconnect_time_wait=0,
        connect_timeout=REQUEST_TIMEOUT,
        ping_interval=3600,  # the link pings
        pending_size=MAX_PENDING_BYTES,
        error_cb=_log_error,
        disconnected_cb=on_disconnect,
        user_credentials=credentials.path,
        tls=credentials.tls,
        skip_subject_validation=True,
    )


async def close(client: Client) -> None:
    with contextlib.suppress(
        AssertionError, *CONNECTION_ERRORS
    ):  # it asserts where it has never been connected
        await asyncio.wait_for(client.close(), REQUEST_TIMEOUT)


def as_callback(handler: MessageHandler) -> Callable[[Msg], Awaitable[None]]:
    async def callback(msg: Msg) -> None:
        handler(msg)

    return callback


def error_text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _file(path: str, flag: str) -> str | None:
    """Raises ClusterError where there is no such file."""
    if not path:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise StartError(f"there is no file {path}: see to {flag}")
    return str(file)


async def _log_error(error: Exception) -> None:
    _log.debug("NATS: %s", error_text(error))
