"""Opens the user's own history: after an earlier server that still has it, and with what earlier versions have kept."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bqserver.config.paths import local_history
from bqserver.errors import HistoryInUse, StartError
from bqserver.storage.interface import MessageLog
from bqserver.transfer.takeover import take_over_histories

END_TIMEOUT = 10.0
"""Seconds to wait for an earlier local server: it has stopped within five."""
POLL_INTERVAL = 0.05
CONNECT_TIMEOUT = 2.0
"""Seconds until an address counts as not answering."""


def check_is_first(runtime_file: Path) -> None:
    """Raises StartError if the user's local server, which wrote ``runtime_file``, runs already."""
    try:
        fields = json.loads(runtime_file.read_bytes())
        url, pid = str(fields["url"]), int(fields["pid"])
        os.kill(pid, 0)
        address = urlsplit(url)
        socket.create_connection((address.hostname or "", address.port or 0), CONNECT_TIMEOUT).close()
    except (OSError, ValueError, KeyError, TypeError):
        return
    raise StartError(
        f"your local server runs already: {url} (process {pid}), the one that notebooks and scripts join. `bqserver invite`"
        f" prints a link to it. To start this one, end it with `kill {pid}`; for rooms apart from yours, give --log"
    )


async def open_local_log(log_url: str, make_log: Callable[[], MessageLog]) -> MessageLog:
    """The result of ``make_log``, which opens ``log_url``. Raises StorageError."""
    own = Path(log_url.removeprefix("sqlite:"))
    deadline = asyncio.get_running_loop().time() + END_TIMEOUT
    while True:
        try:
            if own.name == local_history().name:
                take_over_histories(own)
            return make_log()
        except HistoryInUse:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(POLL_INTERVAL)
