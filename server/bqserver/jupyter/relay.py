"""WebSockets between clients and the server: their members are asked for again, as long as they last."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate
from tornado.iostream import StreamClosedError

from bqserver.auth.gateway import Forwarded, ForwardedMember
from bqserver.auth.identity import Denied, Identity
from bqserver.errors import ServerUnreachable
from bqserver.hub.peer import Reauthenticator
from bqserver.model import Role
from bqserver.web.requests import JSON
from bqwidget.protocol import encode

from .pipes import END_TIMEOUT
from .upstream import Upstream


class Relay:
    """One WebSocket. ``identity``: who the member was when last asked. ``stopped``: done when it must end here."""

    def __init__(self, relays: Relays, identity: Identity, reauthenticate: Reauthenticator | None) -> None:
        self.name = secrets.token_hex(8)
        self.identity = self._reported = identity
        self.reauthenticate = reauthenticate
        self._relays = relays
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, passing: Coroutine[object, object, None]) -> None:
        """``passing``: as long as it runs, there is a member."""
        self._relays.spawn(self._run(passing))

    async def _run(self, passing: Coroutine[object, object, None]) -> None:
        self._relays.peers.add(self)
        try:
            await passing
        finally:
            self._relays.peers.discard(self)

    def stop(self) -> None:
        if not self.stopped.done():
            self.stopped.set_result(None)

    def expel(self, code: int, reason: str) -> None:
        del code  # it follows from the denial
        self._relays.report({self: ForwardedMember.of(Denied("unauthorized", reason))})

    def review(self) -> None:
        if self.identity != self._reported:
            self._reported = self.identity
            self._relays.report({self: ForwardedMember.of(self.identity)})


class Relays:
    """All WebSockets of a Jupyter server; to ``Reauthentication`` what a hub is, with the server's hub behind it."""

    def __init__(self, upstream: Upstream) -> None:
        self.peers: set[Relay] = set()
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()

    def review_one(self, peer: Relay) -> None:
        peer.review()

    def report(self, members: dict[Relay, ForwardedMember | None]) -> None:
        """Tell the server who the members of these connections are by now; None: the gateway stops."""
        self.spawn(self._report(members))

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let the server say ``bye`` to all members, and wait until they have gone."""
        if self.peers:  # else a local server that has ended would be started again
            await self._report(dict.fromkeys(self.peers))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_TIMEOUT)
        for task in self._tasks:
            task.cancel()

    async def _report(self, members: dict[Relay, ForwardedMember | None]) -> None:
        if not self._upstream.takes_reports:
            for relay, member in members.items():
                if member is None or member.denied or member.max_role < Role.WRITE:
                    relay.stop()
            return
        body = encode({"connections": {relay.name: member for relay, member in members.items()}})
        headers = HTTPHeaders({"Content-Type": JSON, "Content-Length": str(len(body))})
        with suppress(ServerUnreachable, StreamClosedError):  # without a server there are no members either
            connection = await self._upstream.send("POST", "/gateway", headers, Forwarded(reports=True))
            connection.write(body)
            connection.finish()
            await connection.read_response(HTTPMessageDelegate())
            connection.close()
