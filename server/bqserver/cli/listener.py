"""Listening: sockets, and the runtime file that tells local clients the address."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tornado.netutil import bind_sockets, bind_unix_socket

import bqwidget
from bqserver.auth.gateway import Gateway
from bqserver.errors import AccessFileError, StartError
from bqserver.files import set_private, user_path, write_private

from .settings import ServerSettings

ADDRESS_IN_USE_ERRNOS = 48, 98, 10048
"""EADDRINUSE on macOS, Linux and Windows."""
AddListener = Callable[[socket.socket], None]


def bind(ip: str, port: int) -> list[socket.socket]:
    """Listening sockets, one for each address of ``ip``; port 0 takes a free one. ``::`` is every address, IPv4 too.

    Raises StartError.
    """
    try:
        return bind_sockets(port, None if ip == "::" else ip, backlog=1024)
    except OSError as error:
        reason = str(error.strerror or error)
        if error.errno in ADDRESS_IN_USE_ERRNOS:
            reason = "the port is taken: stop the other program, or choose another port with --port (0: any)"
        raise StartError(f"can't listen on {ip} port {port}: {reason}") from error


@contextmanager
def published_runtime_file(app: ServerSettings, gateway: Gateway | None, add_handovers: AddListener) -> Iterator[None]:
    """Keep the runtime file of ``app`` (JSON, mode 0600) for the duration, for ``bqwidget.local`` to find the server;
    with the ending .gateway the key of its ``gateway``, and settings; with .socket where it hands connections over.

    Without ``app.runtime_file`` there is no file. Raises StartError if it can't be written.
    """
    if not app.runtime_file or gateway is None:
        yield
        return
    file, pid = user_path(app.runtime_file), os.getpid()
    key_file = file.with_suffix(".gateway")
    more = {"pid": pid, "key": gateway.key, "version": bqwidget.__version__, "settings": app.shared_settings()}
    handovers = file.with_suffix(".socket")
    try:
        write_private(key_file, json.dumps(more).encode())
        with suppress(OSError, ValueError):  # not on this disk, or the path is too long: gateways pass the bytes on
            if sys.platform != "win32":
                add_handovers(bind_unix_socket(str(handovers)))
                set_private(handovers, 0o600, file.parent)
        write_private(file, json.dumps({"url": app.url, "pid": pid, "token": app.token}).encode())
    except AccessFileError as error:
        raise StartError(f"the runtime file {file}: {error}") from error
    try:
        yield
    finally:
        _remove_own(key_file, handovers)
        _remove_own(file)


def _remove_own(path: Path, *others: Path) -> None:
    """Delete the file and ``others`` unless a newer server has replaced them."""
    with suppress(OSError, ValueError, KeyError):
        if json.loads(path.read_text())["pid"] == os.getpid():
            for one in (*others, path):
                one.unlink(missing_ok=True)
