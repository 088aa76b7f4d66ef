"""Opens the user's own history: after an earlier server that still has it, and with what earlier versions have kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from bqserver.errors import HistoryInUse
from bqserver.storage.interface import MessageLog
from bqserver.transfer.takeover import take_over_histories

END_TIMEOUT = 10.0
"""Seconds to wait for an earlier local server: it has stopped within five."""
POLL_INTERVAL = 0.05
LOCAL_HISTORY = "local.sqlite"
"""The name of the user's own history, as ``bqwidget.local`` gives it."""


async def open_local_log(log_url: str, make_log: Callable[[], MessageLog]) -> MessageLog:
    """The result of ``make_log``, which opens ``log_url``. Raises StorageError."""
    own = Path(log_url.removeprefix("sqlite:"))
    deadline = asyncio.get_running_loop().time() + END_TIMEOUT
    while True:
        try:
            if own.name == LOCAL_HISTORY:
                take_over_histories(own)
            return make_log()
        except HistoryInUse:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(POLL_INTERVAL)
