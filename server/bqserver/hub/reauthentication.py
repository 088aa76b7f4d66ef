"""Asks again who the members are that another service has authenticated: a member who logged out there is disconnected here.

Tokens of this server are followed as their file changes (``auth.file_watcher``); a login of Jupyter or its Hub ends
without a message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from bqserver.auth.identity import Denied, Identity

from .peer import Reauthenticator

REAUTHENTICATION_INTERVAL = 60.0
"""Seconds between two checks of a member."""

_log = logging.getLogger("bqserver.access")


class AuthenticatedPeer(Protocol):
    identity: Identity
    reauthenticate: Reauthenticator | None

    def expel(self, code: int, reason: str) -> None: ...


_Peer = TypeVar("_Peer", bound=AuthenticatedPeer)


class AuthenticatedPeers(Protocol[_Peer]):
    """A hub, or what a gateway has in its place. ``review_one``: the member's identity may have changed."""

    @property
    def peers(self) -> Collection[_Peer]: ...

    def review_one(self, peer: _Peer) -> None: ...


class Reauthentication(Generic[_Peer]):
    """Every ``seconds``, and immediately after ``soon``: checks all peers that have a ``reauthenticate``."""

    def __init__(self, hub: AuthenticatedPeers[_Peer], seconds: float) -> None:
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
            for peer in list(self._hub.peers):
                if peer.reauthenticate is not None:
                    await self._check(peer, peer.reauthenticate)

    async def _check(self, peer: _Peer, reauthenticate: Reauthenticator) -> None:
        try:
            found = await reauthenticate()
        except Exception as error:  # noqa: BLE001 - a service that does not answer has not denied anything
            _log.warning("a member could not be authenticated again: %s", error)
            return
        if peer not in self._hub.peers:
            return
        if isinstance(found, Denied):
            peer.expel(4401, found.message)
        else:
            peer.identity = found
            self._hub.review_one(peer)
