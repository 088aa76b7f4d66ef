"""Members whom somebody else let in are asked about again: who has logged out there is out here too.

Tokens of our own are followed as they change (``access``); a login of Jupyter's or its Hub's ends without a word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bqserver.auth.identity import Denied, Identity

from .hub import Hub
from .peer import Peer

RECHECK = 60.0

Still = Callable[[], Awaitable[Identity | Denied]]
"""Asks again who a member is."""

_log = logging.getLogger("bqserver.access")


class Rechecks:
    """Every ``seconds``, and at once after ``soon``: all members who came in with a ``still``."""

    def __init__(self, hub: Hub, seconds: float) -> None:
        self._hub = hub
        self._seconds = seconds
        self._due = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def soon(self) -> None:
        self._due.set()

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), self._seconds)
            self._due.clear()
            for peer in [peer for peer in self._hub.peers if peer.still is not None]:
                await self._look(peer)

    async def _look(self, peer: Peer) -> None:
        assert peer.still is not None
        try:
            found = await peer.still()
        except Exception as error:  # noqa: BLE001 - who can't be asked has not said no
            _log.warning("a member could not be asked about again: %s", error)
            return
        if peer not in self._hub.peers:
            return
        if isinstance(found, Denied):
            peer.expel(4401, found.message)
        else:
            peer.identity = found
            self._hub.review_one(peer)
