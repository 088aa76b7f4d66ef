"""Live messages in a cluster, over plain NATS subjects: members of every node see them grow, wherever the author is.

``STREAM.pieces.ROOM`` carries what a node has sent to its own members of a live message, and requests for a whole text
with their answers. A piece has a checksum of the text before it: a node with another text requests the whole one.
Nothing of this is stored; the log gets the text from the author's node.

``STREAM.writing`` carries the authors of live messages that are connected to a node, with the rooms in which they write.
Each node with such authors repeats it. A node that is silent for a heartbeat counts as stopped: the others wait another
heartbeat for its authors, and end the messages of those that have not joined any node.
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
REPORTS_PER_HEARTBEAT = 8
"""Reports of a node's authors in one heartbeat."""
ROOM_MEMORY_HEARTBEATS = 2.0
"""Heartbeats for which a room of a node's former authors is remembered: by then that node has ended their messages."""
END_JITTER_HEARTBEATS = 0.1
"""Random part of a heartbeat that a node waits longer to end a message, because one node is enough for that."""
TEXT_REQUEST_INTERVAL = 0.25
"""Seconds between two requests for the text of one message."""


class LiveUpdate(Struct, frozen=True):
    """What ``node`` publishes about a live message: a ``frame``, or ``ask``.

    ``frame``: what it has sent to its members; ``after``: the CRC-32 of the text before that piece, None if the piece
    is the whole text. ``ask``: the seq of a message, to request its whole text from the author's node.
    """

    node: str
    frame: AppendFrame | StopFrame | None = None
    after: int | None = None
    ask: int | None = None


class ConnectedAuthors(Struct, frozen=True):
    """What ``node`` reports: its connected ``authors`` of live messages, each with the rooms in which it writes."""

    node: str
    authors: dict[str, list[str]]


_log = logging.getLogger("bqserver.nats")

_Published = TypeVar("_Published")
_decode_update = msgspec.json.Decoder(LiveUpdate).decode
_decode_authors = msgspec.json.Decoder(ConnectedAuthors).decode


class NatsLiveRelay:
    """The LiveRelay of ``hub``. Call ``open`` before the first peer joins."""

    def __init__(self, client: NatsClient, hub: Hub) -> None:
        self.node = token_hex(8)
        self._client = client
        self._hub = hub
        self._stream = client.address.stream
        self._asked: dict[tuple[str, int], bool] = {}
        """The messages whose text this node has just requested, and whether to request it again afterwards."""
        self._authors: dict[str, dict[str, list[str]]] = {}
        """By node: its authors, each with the rooms in which it writes."""
        self._rooms: dict[str, dict[str, float]] = {}
        """By node: the rooms in which its authors write or wrote, with the loop's time of the last report of each."""
        self._seen_at: dict[str, float] = {}
        """By node: the loop's time of its last report."""
        self._report_until = 0.0
        """Until this time of the loop, the node also reports that it has no authors."""
        self._outbox: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._tasks = {self._loop.create_task(work) for work in (self._send_queued(), self._repeat())}
        hub.orphans.remote = self._is_remote
        hub.live.relay = self
        client.on_change.append(self._on_connection_change)

    async def open(self) -> None:
        await self._client.subscribe(f"{self._stream}.pieces.*", self._on_update)
        await self._client.subscribe(f"{self._stream}.writing", self._on_authors)

    def close(self) -> None:
        """Stop reporting. The other nodes notice after a heartbeat, and expect the authors of this one."""
        for task in self._tasks:
            task.cancel()

    # ---- LiveRelay

    def send(self, room: str, frame: AppendFrame | StopFrame, before: str = "") -> None:
        after = _checksum(before) if isinstance(frame, AppendFrame) else None
        self._publish(f"pieces.{room}", LiveUpdate(node=self.node, frame=frame, after=after))

    def ask(self, room: str, seq: int) -> None:
        if (room, seq) in self._asked:
            self._asked[room, seq] = True
            return
        self._asked[room, seq] = False
        self._publish(f"pieces.{room}", LiveUpdate(node=self.node, ask=seq))
        self._loop.call_later(TEXT_REQUEST_INTERVAL, self._ask_again, room, seq)

    def _ask_again(self, room: str, seq: int) -> None:
        if self._asked.pop((room, seq)):
            self.ask(room, seq)

    # ---- from other nodes

    def _on_update(self, msg: Msg) -> None:
        update = _read(_decode_update, msg)
        if update is None or update.node == self.node:
            return
        room, lives = self._client.address.room(msg.subject), self._hub.live
        if isinstance(update.frame, StopFrame):
            lives.publish(room, update.frame)
            return
        if update.ask is not None:
            live = lives.find(room, update.ask)
            if live is not None and live.written_here:
                self._publish(f"pieces.{room}", LiveUpdate(node=self.node, frame=live.frame(live.whole())))
            return
        piece = update.frame
        live = None if piece is None else lives.find(room, piece.target)
        if piece is None or live is None:
            return
        if update.after is None:
            if not live.written_here:
                lives.show(live, Content(piece.text, piece.progress))
        elif update.after == _checksum(live.sent.text):
            lives.show(live, live.sent.after(piece))
        else:
            live.written_here = False
            self.ask(room, piece.target)

    def _on_authors(self, msg: Msg) -> None:
        report = _read(_decode_authors, msg)
        if report is None or report.node == self.node:
            return
        self._seen_at[report.node] = now = self._loop.time()
        # The authors that have just left a node have a heartbeat to come back before it ends their messages.
        since = now - ROOM_MEMORY_HEARTBEATS * self._hub.heartbeat
        rooms = {room: at for room, at in self._rooms.get(report.node, {}).items() if at > since}
        self._rooms[report.node] = {**rooms, **{room: now for named in report.authors.values() for room in named}}
        self._set_authors(report.node, report.authors)

    def _set_authors(self, node: str, authors: dict[str, list[str]]) -> None:
        before = self._authors.pop(node, {})
        if authors:
            self._authors[node] = authors
        for author in authors.keys() - before.keys():
            self._hub.orphans.returned(author)
        for author in before.keys() - authors.keys():
            if not self._is_remote(author):
                grace = self._hub.heartbeat * (1 + END_JITTER_HEARTBEATS * _random.random())
                self._hub.orphans.left(author, grace)

    def _is_remote(self, author: str) -> bool:
        return any(author in authors for authors in self._authors.values())

    def _on_connection_change(self) -> None:
        if self._client.connected.is_set():
            self._hub.live.ask_all()

    # ---- tasks

    async def _repeat(self) -> None:
        """Report the authors that are here, and find the nodes that no longer report."""
        while True:
            await asyncio.sleep(self._hub.heartbeat / REPORTS_PER_HEARTBEAT)
            authors = {author: sorted(rooms) for author, rooms in self._hub.orphans.writing().items()}
            now, heartbeat = self._loop.time(), self._hub.heartbeat
            if authors:
                self._report_until = now + (ROOM_MEMORY_HEARTBEATS + 1) * heartbeat
            if now < self._report_until:
                self._publish("writing", ConnectedAuthors(node=self.node, authors=authors))
            silent_since = now - heartbeat
            for node, seen_at in list(self._seen_at.items()):
                if seen_at < silent_since:
                    del self._seen_at[node]
                    self._on_node_stopped(node)

    def _on_node_stopped(self, node: str) -> None:
        """Read the rooms in which its authors wrote, and wait for the authors to join another node."""
        rooms = self._rooms.pop(node, {})
        if rooms:
            task = self._loop.create_task(self._read_rooms(list(rooms)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._set_authors(node, {})

    async def _read_rooms(self, rooms: list[str]) -> None:
        """Read each room, repeatedly if necessary: a node that has not read a room can't end its live messages."""
        while rooms:
            try:
                await self._hub.log.bounds(rooms[-1])
                rooms.pop()
            except (StorageError, *CONNECTION_ERRORS) as error:
                _log.warning("room %s, in which a lost node had authors, can't be read yet: %s", rooms[-1], error)
                await asyncio.sleep(self._hub.heartbeat)

    def _publish(self, subject: str, update: LiveUpdate | ConnectedAuthors) -> None:
        self._outbox.put_nowait(partial(self._client.publish, f"{self._stream}.{subject}", encode(update)))

    async def _send_queued(self) -> None:
        """Send in order: a piece follows the one before it."""
        while True:
            work = await self._outbox.get()
            with contextlib.suppress(*CONNECTION_ERRORS):  # the others ask for what they miss
                await work()


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())


def _read(decode: Callable[[bytes], _Published], msg: Msg) -> _Published | None:
    try:
        return decode(msg.data)
    except NOT_JSON:
        return None
