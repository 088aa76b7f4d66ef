"""Neighbours over plain NATS subjects: quick, told again every few seconds, and gone with the node that told it.

``STREAM.who.ROOM``: a node's members of a room. ``STREAM.nodes``: that a node is there, what was counted
against the rate limits, and its good-bye. ``STREAM.peers``: a question that every node answers with its peers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

import msgspec
from nats.aio.msg import Msg

from bqserver.hub.presence import local_members
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqwidget.protocol import Member, Struct, encode

if TYPE_CHECKING:
    from bqserver.auth.rate_limit import RateLimit
    from bqserver.hub.hub import Hub
    from bqserver.hub.room import Room

HEARTBEAT_INTERVAL = 2.0
"""Seconds after which everything is told again: a node that has just come, or was cut off, knows it then."""
NODE_TIMEOUT = 3 * HEARTBEAT_INTERVAL
"""Seconds of silence after which a node's members are gone."""
ANSWER_TIMEOUT = 0.5
"""Seconds to wait for another node's numbers."""
COUNT_INTERVAL = 0.1
"""Seconds over which counts are put together."""


class NodeState(Struct, frozen=True):
    """What one node tells. ``ask``: others shall tell theirs of this room, or that they are there; ``bye``: it is
    stopping.
    """

    node: str
    members: tuple[Member, ...] | None = None
    ask: bool = False
    counted: dict[str, dict[str, int]] | None = None
    """By the limit, and by whom it was."""
    peers: dict[str, int] | None = None
    """How many each of its rooms has."""
    bye: bool = False


_news = msgspec.json.Decoder(NodeState).decode


class NatsMembership:
    """The neighbours of ``hub``. ``open`` it before the first peer comes."""

    def __init__(self, client: JetStreamClient, hub: Hub) -> None:
        self.node = token_hex(8)
        self._client = client
        self._hub = hub
        self._stream = client.address.stream
        self._published: dict[str, tuple[Member, ...]] = {}
        self._last_seen: dict[str, float] = {}
        """When the others were heard last."""
        self._limits: dict[str, RateLimit] = {}
        self._counted: dict[str, Counter[str]] = {}
        self._outbox: deque[Callable[[], Awaitable[None]]] = deque()
        self._wake = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work) for work in (self._send_queued(), self._beat(), self._publish_counts())
        ]

    async def open(self) -> None:
        await self._client.subscribe(f"{self._stream}.nodes", self._on_node)
        await self._client.subscribe(f"{self._stream}.peers", self._on_peers_request)
        self._publish("nodes", NodeState(self.node, ask=True))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(*CONNECTION_ERRORS):
            await self._client.publish(f"{self._stream}.nodes", encode(NodeState(self.node, bye=True)))

    # ---- what this node tells

    def room_opened(self, room: Room) -> None:
        subject = f"{self._stream}.who.{room.name}"
        self._enqueue(partial(self._client.subscribe, subject, self._on_members))
        self._publish(f"who.{room.name}", NodeState(self.node, ask=True))

    def room_closed(self, room: Room) -> None:
        self._published.pop(room.name, None)
        self._publish(f"who.{room.name}", NodeState(self.node, members=()))
        self._enqueue(partial(self._client.unsubscribe, f"{self._stream}.who.{room.name}"))

    def publish_members(self, room: Room) -> None:
        if self._hub.rooms.get(room.name) is room and self._published.get(room.name) != (
            here := local_members(room)
        ):
            self._published[room.name] = here
            self._publish(f"who.{room.name}", NodeState(self.node, members=here))

    def share_limit(self, name: str, limit: RateLimit) -> None:
        self._limits[name] = limit
        limit.on_acquired = partial(self._count, name)

    def _count(self, name: str, who: str) -> None:
        self._counted.setdefault(name, Counter())[who] += 1

    async def remote_peer_counts(self) -> dict[str, int]:
        found: dict[str, dict[str, int]] = {}

        def answered(msg: Msg) -> bool:
            if (news := _read(msg)) and news.peers is not None:
                found[news.node] = news.peers
            return found.keys() >= self._last_seen.keys()

        if self._last_seen:
            with contextlib.suppress(*CONNECTION_ERRORS):  # who does not answer may be gone
                await self._client.request_many(
                    f"{self._stream}.peers",
                    encode(NodeState(self.node)),
                    answered,
                    answer_timeout=ANSWER_TIMEOUT,
                )
        total: Counter[str] = Counter()
        for peers in found.values():
            total.update(peers)
        return total

    # ---- what it hears

    def _on_members(self, msg: Msg) -> None:
        room = self._hub.rooms.get(self._client.address.room(msg.subject))
        news = _read(msg)
        if room is None or news is None or news.node == self.node:
            return
        if news.ask:
            self._published.pop(room.name, None)
            self.publish_members(room)
        if news.members is not None:
            before = room.remote_members.get(news.node)
            room.remote_members[news.node] = asyncio.get_running_loop().time(), news.members
            if before is None or before[1] != news.members:
                self._hub.presence.room_changed(room)

    def _on_node(self, msg: Msg) -> None:
        news = _read(msg)
        if news is None or news.node == self.node:
            return
        now = asyncio.get_running_loop().time()
        self._last_seen[news.node] = now
        if news.ask:
            self._publish("nodes", NodeState(self.node))
        for name, counts in (news.counted or {}).items():
            if (limit := self._limits.get(name)) is not None:
                for who, count in counts.items():
                    limit.record(who, count, now)
        if news.bye:
            self._remove_nodes(news.node)

    def _on_peers_request(self, msg: Msg) -> None:
        news = _read(msg)
        if news is not None and news.node != self.node:
            peers = {name: len(room.peers) for name, room in self._hub.rooms.items()}
            self._enqueue(partial(self._client.publish, msg.reply, encode(NodeState(self.node, peers=peers))))

    # ---- keeping it fresh

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            self._publish("nodes", NodeState(self.node))
            for room in list(self._hub.rooms.values()):
                self._published.pop(room.name, None)
                self.publish_members(room)
            since = asyncio.get_running_loop().time() - NODE_TIMEOUT
            self._remove_nodes(before=since)

    def _remove_nodes(self, lost: str = "", *, before: float = 0.0) -> None:
        """A node that is ``lost``, and all that were not heard since ``before``, with their members."""
        self._last_seen = {
            node: heard for node, heard in self._last_seen.items() if node != lost and heard >= before
        }
        for room in self._hub.rooms.values():
            gone = [
                node for node, (heard, _) in room.remote_members.items() if node == lost or heard < before
            ]
            for node in gone:
                del room.remote_members[node]
            if gone:
                self._hub.presence.room_changed(room)

    async def _publish_counts(self) -> None:
        while True:
            await asyncio.sleep(COUNT_INTERVAL)
            if self._counted:
                counted = {name: dict(counts) for name, counts in self._counted.items()}
                self._publish("nodes", NodeState(self.node, counted=counted))
                self._counted.clear()

    # ---- sending

    def _publish(self, subject: str, news: NodeState) -> None:
        self._enqueue(partial(self._client.publish, f"{self._stream}.{subject}", encode(news)))

    def _enqueue(self, work: Callable[[], Awaitable[None]]) -> None:
        self._outbox.append(work)
        self._wake.set()

    async def _send_queued(self) -> None:
        """One after the other: who asks in a room must be listening there."""
        while True:
            self._wake.clear()
            while self._outbox:
                with contextlib.suppress(*CONNECTION_ERRORS):  # it is told again with the next beat
                    await self._outbox.popleft()()
            await self._wake.wait()


def _read(msg: Msg) -> NodeState | None:
    try:
        return _news(msg.data)
    except msgspec.DecodeError:
        return None
