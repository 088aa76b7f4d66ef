"""Membership over plain NATS subjects: nothing is stored; each node repeats its state, and drops silent nodes.

``STREAM.who.ROOM``: a node's members of a room. ``STREAM.nodes``: that a node is running, what it has counted
against the rate limits, and that it stops. ``STREAM.peers``: a request that every node answers with its peer counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

import msgspec
from nats.aio.msg import Msg

from bqserver.hub.presence import local_members
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqwidget.protocol import NOT_JSON, Member, Struct, encode

from .live_messages import NatsLiveRelay

if TYPE_CHECKING:
    from bqserver.auth.rate_limit import RateLimit
    from bqserver.hub.hub import Hub
    from bqserver.hub.room import ActiveRoom

HEARTBEAT_INTERVAL = 2.0
"""Seconds after which a node repeats its state, for nodes that have just started or were disconnected."""
NODE_TIMEOUT = 3 * HEARTBEAT_INTERVAL
"""Seconds without a message after which a node's members are removed."""
ANSWER_TIMEOUT = 0.5
"""Seconds to wait for another node's peer counts."""
COUNT_INTERVAL = 0.1
"""Seconds over which rate-limit counts are collected into one message."""


class NodeState(Struct, frozen=True):
    """What one node publishes. ``ask``: a request that the others publish their state; ``bye``: the node is stopping."""

    node: str
    members: tuple[Member, ...] | None = None
    ask: bool = False
    counted: dict[str, dict[str, int]] | None = None
    """Events by the name of the limit and by its key."""
    peers: dict[str, int] | None = None
    """The number of peers by room."""
    bye: bool = False


_decode = msgspec.json.Decoder(NodeState).decode


class NatsMembership:
    """The Membership of ``hub``. Call ``open`` before the first peer joins."""

    def __init__(self, client: NatsClient, hub: Hub) -> None:
        self.node = token_hex(8)
        self._client = client
        self._hub = hub
        self._live_relay = NatsLiveRelay(client, hub)
        self._stream = client.address.stream
        self._published: dict[str, tuple[Member, ...]] = {}
        self._last_seen: dict[str, float] = {}
        """When each other node sent its last message (the loop's clock)."""
        self._limits: dict[str, RateLimit] = {}
        self._counted: dict[str, Counter[str]] = {}
        self._outbox: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        works = (self._send_queued(), self._repeat_state(), self._publish_counts())
        self._tasks = [loop.create_task(work) for work in works]

    async def open(self) -> None:
        await self._live_relay.open()
        await self._client.subscribe(f"{self._stream}.nodes", self._on_node)
        await self._client.subscribe(f"{self._stream}.peers", self._on_peers_request)
        self._publish("nodes", NodeState(self.node, ask=True))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._live_relay.close()
        bye = self._client.publish(f"{self._stream}.nodes", encode(NodeState(self.node, bye=True)))
        with contextlib.suppress(*CONNECTION_ERRORS):
            await asyncio.wait_for(bye, ANSWER_TIMEOUT)

    # ---- this node's state

    def room_opened(self, room: ActiveRoom) -> None:
        subject = f"{self._stream}.who.{room.name}"
        self._outbox.put_nowait(partial(self._client.subscribe, subject, self._on_members))
        self._publish(f"who.{room.name}", NodeState(self.node, ask=True))

    def room_closed(self, room: ActiveRoom) -> None:
        self._published.pop(room.name, None)
        self._publish(f"who.{room.name}", NodeState(self.node, members=()))
        self._outbox.put_nowait(partial(self._client.unsubscribe, f"{self._stream}.who.{room.name}"))

    def publish_members(self, room: ActiveRoom) -> None:
        if self._hub.rooms.get(room.name) is not room:
            return
        members = local_members(room)
        if self._published.get(room.name) != members:
            self._published[room.name] = members
            self._publish(f"who.{room.name}", NodeState(self.node, members=members))

    def share_limit(self, name: str, limit: RateLimit) -> None:
        self._limits[name] = limit
        limit.on_acquired = partial(self._count, name)

    def _count(self, name: str, key: str) -> None:
        self._counted.setdefault(name, Counter())[key] += 1

    async def remote_peer_counts(self) -> dict[str, int]:
        found: dict[str, dict[str, int]] = {}

        def is_last(msg: Msg) -> bool:
            if (state := _read(msg)) and state.peers is not None:
                found[state.node] = state.peers
            return found.keys() >= self._last_seen.keys()

        if self._last_seen:
            request = encode(NodeState(self.node))
            with contextlib.suppress(*CONNECTION_ERRORS):  # a node that does not answer may have stopped
                await self._client.request_many(
                    f"{self._stream}.peers", request, is_last, answer_timeout=ANSWER_TIMEOUT
                )
        total: Counter[str] = Counter()
        for peers in found.values():
            total.update(peers)
        return total

    # ---- the other nodes' state

    def _on_members(self, msg: Msg) -> None:
        room = self._hub.rooms.get(self._client.address.room(msg.subject))
        state = _read(msg)
        if room is None or state is None or state.node == self.node:
            return
        if state.ask:
            self._published.pop(room.name, None)
            self.publish_members(room)
        if state.members is not None:
            before = room.remote_members.get(state.node)
            room.remote_members[state.node] = asyncio.get_running_loop().time(), state.members
            if before is None or before[1] != state.members:
                self._hub.presence.room_changed(room)

    def _on_node(self, msg: Msg) -> None:
        state = _read(msg)
        if state is None or state.node == self.node:
            return
        now = asyncio.get_running_loop().time()
        self._last_seen[state.node] = now
        if state.ask:
            self._publish("nodes", NodeState(self.node))
        for name, counts in (state.counted or {}).items():
            if (limit := self._limits.get(name)) is not None:
                for key, count in counts.items():
                    limit.record(key, count, now)
        if state.bye:
            self._remove_nodes(state.node)

    def _on_peers_request(self, msg: Msg) -> None:
        state = _read(msg)
        if state is not None and state.node != self.node:
            peers = {name: len(room.peers) for name, room in self._hub.rooms.items()}
            answer = encode(NodeState(self.node, peers=peers))
            self._outbox.put_nowait(partial(self._client.publish, msg.reply, answer))

    def _remove_nodes(self, node: str = "", *, before: float = 0.0) -> None:
        """Remove ``node``, and all nodes whose last message came ``before``, with their members."""
        self._last_seen = {name: at for name, at in self._last_seen.items() if name != node and at >= before}
        for room in self._hub.rooms.values():
            remote = room.remote_members
            removed = [name for name, (at, _) in remote.items() if name == node or at < before]
            for name in removed:
                del remote[name]
            if removed:
                self._hub.presence.room_changed(room)

    # ---- tasks

    async def _repeat_state(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            self._publish("nodes", NodeState(self.node))
            for room in list(self._hub.rooms.values()):
                self._published.pop(room.name, None)
                self.publish_members(room)
            self._remove_nodes(before=asyncio.get_running_loop().time() - NODE_TIMEOUT)

    async def _publish_counts(self) -> None:
        while True:
            await asyncio.sleep(COUNT_INTERVAL)
            if self._counted:
                counted = {name: dict(counts) for name, counts in self._counted.items()}
                self._publish("nodes", NodeState(self.node, counted=counted))
                self._counted.clear()

    def _publish(self, subject: str, state: NodeState) -> None:
        self._outbox.put_nowait(partial(self._client.publish, f"{self._stream}.{subject}", encode(state)))

    async def _send_queued(self) -> None:
        """Send in order: a node subscribes to a room before it asks for the room's members."""
        while True:
            work = await self._outbox.get()
            with contextlib.suppress(*CONNECTION_ERRORS):  # the next heartbeat repeats it
                await work()


def _read(msg: Msg) -> NodeState | None:
    try:
        return _decode(msg.data)
    except NOT_JSON:
        return None
