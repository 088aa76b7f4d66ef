"""Live messages over plain NATS subjects: their pieces reach the members of every node at once, and an author is gone
only if no node has it.

``STREAM.pieces.ROOM``: what a node has sent its members of a live message, requests for a whole text, and its answers.
A piece names the text that it follows by a checksum: a node that has another one asks for the whole. Nothing of this
is stored; the log gets the text from the author's node.

``STREAM.writing``: the authors that are connected to a node and have live messages, and the rooms of these. Each node
repeats it; without a sign for a heartbeat, it counts as stopped. The others then wait for its authors for a heartbeat
more, and end the messages of those that have not come to any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from secrets import token_hex
from typing import TYPE_CHECKING, TypeVar

import msgspec
from nats.aio.msg import Msg

from bqserver.errors import StorageError
from bqserver.hub.live.content import Content
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqwidget.protocol import NOT_JSON, AppendFrame, StopFrame, Struct, encode

if TYPE_CHECKING:
    from bqserver.hub.hub import Hub

_random = Random()  # noqa: S311 - no secret, and apart from the generator that a program may have seeded
SIGNS_PER_HEARTBEAT = 8
"""How often a node says which authors it has."""
ROOM_MEMORY = 2.0
"""Heartbeats for which a room counts that a node's authors have left: by then the node has ended their messages."""
SPREAD = 0.1
"""Of a heartbeat, by which nodes differ in the time at which they end a message: one is enough."""
ASK_INTERVAL = 0.25
"""Seconds between two requests for the text of one message."""


class LiveSign(Struct, frozen=True):
    """What one node publishes. ``frame``: what it has sent its members; ``after``: the checksum of the text before that
    piece, absent if it is a whole text. ``ask``: the seq of the message whose text the author's node shall publish.
    """

    node: str
    frame: AppendFrame | StopFrame | None = None
    after: int | None = None
    ask: int | None = None


class Writing(Struct, frozen=True):
    """``authors``: those connected to the node that have live messages, and the rooms of these."""

    node: str
    authors: dict[str, list[str]]


_log = logging.getLogger("bqserver.nats")

_Said = TypeVar("_Said")
_decode_sign = msgspec.json.Decoder(LiveSign).decode
_decode_writing = msgspec.json.Decoder(Writing).decode


class NatsLiveRelay:
    """The LiveRelay of ``hub``. Call ``open`` before the first peer joins."""

    def __init__(self, client: NatsClient, hub: Hub) -> None:
        self.node = token_hex(8)
        self._client = client
        self._hub = hub
        self._stream = client.address.stream
        self._asked: dict[tuple[str, int], bool] = {}
        """The messages for whose text this node has asked just now, and whether it has to ask again."""
        self._authors: dict[str, dict[str, list[str]]] = {}
        """By node: its authors, and the rooms in which they write."""
        self._rooms: dict[str, dict[str, float]] = {}
        """By node: the rooms in which its authors write or wrote, and when it said so last (the loop's clock)."""
        self._seen_at: dict[str, float] = {}
        """When each of these nodes has last given a sign."""
        self._says_until = 0.0
        """Until when this node gives signs without any author."""
        self._outbox: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._tasks = {self._loop.create_task(work) for work in (self._send_queued(), self._repeat())}
        hub.orphans.remote = self._is_remote
        hub.live.relay = self
        client.on_change.append(self._on_connection_change)

    async def open(self) -> None:
        await self._client.subscribe(f"{self._stream}.pieces.*", self._on_sign)
        await self._client.subscribe(f"{self._stream}.writing", self._on_writing)

    def close(self) -> None:
        """Its authors have a heartbeat to come to another node before that counts this one as stopped."""
        for task in self._tasks:
            task.cancel()

    # ---- LiveRelay

    def send(self, room: str, frame: AppendFrame | StopFrame, before: str = "") -> None:
        after = _checksum(before) if isinstance(frame, AppendFrame) else None
        self._publish(f"pieces.{room}", LiveSign(node=self.node, frame=frame, after=after))

    def ask(self, room: str, seq: int) -> None:
        if (room, seq) in self._asked:
            self._asked[room, seq] = True
            return
        self._asked[room, seq] = False
        self._publish(f"pieces.{room}", LiveSign(node=self.node, ask=seq))
        self._loop.call_later(ASK_INTERVAL, self._ask_again, room, seq)

    def _ask_again(self, room: str, seq: int) -> None:
        if self._asked.pop((room, seq)):
            self.ask(room, seq)

    # ---- what other nodes say

    def _on_sign(self, msg: Msg) -> None:
        sign = _read(_decode_sign, msg)
        if sign is None or sign.node == self.node:
            return
        room, lives = self._client.address.room(msg.subject), self._hub.live
        if isinstance(sign.frame, StopFrame):
            lives.publish(room, sign.frame)
            return
        if sign.ask is not None:
            live = lives.find(room, sign.ask)
            if live is not None and live.written_here:
                self._publish(f"pieces.{room}", LiveSign(node=self.node, frame=live.frame(live.whole())))
            return
        piece = sign.frame
        live = None if piece is None else lives.find(room, piece.target)
        if piece is None or live is None:
            return
        if sign.after is None:
            if not live.written_here:
                lives.show(live, Content(piece.text, piece.progress))
        elif sign.after == _checksum(live.sent.text):
            lives.show(live, live.sent.after(piece))
        else:
            live.written_here = False
            self.ask(room, piece.target)

    def _on_writing(self, msg: Msg) -> None:
        said = _read(_decode_writing, msg)
        if said is None or said.node == self.node:
            return
        self._seen_at[said.node] = now = self._loop.time()
        # The authors that have just left a node have a heartbeat to come back before it ends their messages.
        since = now - ROOM_MEMORY * self._hub.heartbeat
        rooms = {room: at for room, at in self._rooms.get(said.node, {}).items() if at > since}
        self._rooms[said.node] = {**rooms, **{room: now for named in said.authors.values() for room in named}}
        self._set_authors(said.node, said.authors)

    def _set_authors(self, node: str, authors: dict[str, list[str]]) -> None:
        before = self._authors.pop(node, {})
        if authors:
            self._authors[node] = authors
        for author in authors.keys() - before.keys():
            self._hub.orphans.returned(author)
        for author in before.keys() - authors.keys():
            if not self._is_remote(author):
                grace = self._hub.heartbeat * (1 + SPREAD * _random.random())
                self._hub.orphans.left(author, grace)

    def _is_remote(self, author: str) -> bool:
        return any(author in authors for authors in self._authors.values())

    def _on_connection_change(self) -> None:
        if self._client.connected.is_set():
            self._hub.live.ask_all()

    # ---- tasks

    async def _repeat(self) -> None:
        """Say which authors are here, and notice the nodes that do not do so any more."""
        while True:
            await asyncio.sleep(self._hub.heartbeat / SIGNS_PER_HEARTBEAT)
            authors = {author: sorted(rooms) for author, rooms in self._hub.orphans.writing().items()}
            now, heartbeat = self._loop.time(), self._hub.heartbeat
            if authors:
                self._says_until = now + (ROOM_MEMORY + 1) * heartbeat
            if now < self._says_until:
                self._publish("writing", Writing(node=self.node, authors=authors))
            silent_since = now - heartbeat
            for node, seen_at in list(self._seen_at.items()):
                if seen_at < silent_since:
                    del self._seen_at[node]
                    self._lose(node)

    def _lose(self, node: str) -> None:
        """The node has stopped: read the rooms in which its authors wrote, and wait for them."""
        rooms = self._rooms.pop(node, {})
        if rooms:
            task = self._loop.create_task(self._read_rooms(list(rooms)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._set_authors(node, {})

    async def _read_rooms(self, rooms: list[str]) -> None:
        """Until each was read: a room that is not read keeps its live messages."""
        while rooms:
            try:
                await self._hub.log.bounds(rooms[-1])
                rooms.pop()
            except (StorageError, *CONNECTION_ERRORS) as error:
                _log.warning("room %s, in which a lost node had authors, can't be read yet: %s", rooms[-1], error)
                await asyncio.sleep(self._hub.heartbeat)

    def _publish(self, subject: str, sign: LiveSign | Writing) -> None:
        self._outbox.put_nowait(partial(self._client.publish, f"{self._stream}.{subject}", encode(sign)))

    async def _send_queued(self) -> None:
        """Send in order: a piece follows the one before it."""
        while True:
            work = await self._outbox.get()
            with contextlib.suppress(*CONNECTION_ERRORS):  # the others ask for what they miss
                await work()


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())


def _read(decode: Callable[[bytes], _Said], msg: Msg) -> _Said | None:
    try:
        return decode(msg.data)
    except NOT_JSON:
        return None
