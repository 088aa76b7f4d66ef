"""Rooms and their peers: one encode, one commit, and one write per peer and turn of the event loop.

Submissions of one turn are appended as one batch. The entries of a commit are framed once, joined, and given to each
peer in a single write; long frames are compressed once for the peers that take them so. Measured on Tornado 6.6:
``write_message`` to every peer 32,000 deliveries a second, this 503,000 and more (DESIGN 5). A peer that lets
``buffer`` bytes pile up is closed (4008) and resumes from the log; no other peer waits for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from random import Random

import msgspec

from bqserver.audit import AuditLog
from bqserver.auth.policy import Policy, open_policy
from bqserver.auth.rate_limit import RateLimit
from bqserver.errors import QueueFull
from bqserver.fairness.shares import Shares
from bqserver.model import STOPPING, Outcome, Rejected, Stored, Submission
from bqserver.storage.attachments import AttachmentStore
from bqserver.storage.interface import MessageLog
from bqserver.websocket.compression import compress
from bqserver.websocket.turns import Turns
from bqwidget.protocol import Limits

from .cluster import Membership
from .frames import entry_frame, outcome_frame
from .heartbeat import HEARTBEAT_INTERVAL, Heartbeat
from .live.messages import LiveMessages
from .live.variants import LIVE_FIELD
from .orphans import Orphans
from .peer import Peer
from .presence import PresenceAnnouncer, next_announcement
from .reading.marks import ReadMarks
from .room import PINS, ActiveRoom

_random = Random()  # noqa: S311 - no secret, and apart from the generator that a program may have seeded

OnOutcome = Callable[[Outcome], None]


class Hub:
    """All rooms of one server process. Everything here runs on its event loop.

    ``heartbeat``: seconds between pings. ``buffer``: bytes that may wait for one peer. ``peers``: every peer, and its
    room. ``addresses``: connections by client address. ``cluster``: the other nodes, if there are any.
    """

    def __init__(
        self,
        log: MessageLog,
        *,
        attachments: AttachmentStore | None = None,
        limits: Limits | None = None,
        heartbeat: float = HEARTBEAT_INTERVAL,
        buffer: int = 1024 * 1024,
        policy: Policy | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self.log = log
        self.attachments = attachments
        limits = limits or Limits()
        self.limits = msgspec.structs.replace(limits, buffer=buffer, part=limits.part if attachments else 0)
        self.shares = Shares(self.limits.part)
        self.turns = Turns()
        self.heartbeat = heartbeat
        self.buffer = buffer
        self.rate = RateLimit(self.limits.rate, self.limits.rate_ms / 1000)
        self.rooms: dict[str, ActiveRoom] = {}
        self.peers: dict[Peer, ActiveRoom] = {}
        self.addresses: Counter[str] = Counter()
        self.policy = policy or open_policy()
        self.audit = audit or AuditLog()
        self.membership: Membership | None = None
        self.presence = PresenceAnnouncer(self._announce_members)
        self.orphans = Orphans(self.submit, heartbeat)
        self.live = LiveMessages(self.submit, self.rooms, self.orphans, heartbeat)
        self.reading = ReadMarks(log, self.rooms)
        self._loop = asyncio.get_running_loop()
        self.last_active_at = self._loop.time()
        self._batch: list[Submission] = []
        self._callbacks: list[OnOutcome] = []
        self._dirty: dict[ActiveRoom, None] = {}
        self._acked: dict[Peer, None] = {}
        self._flushing = False
        self._heartbeat = Heartbeat(self.peers, heartbeat)
        self._closed = False
        self._running: set[asyncio.Task[None]] = set()  # the event loop holds tasks only weakly
        log.subscribe(self._on_entries)

    # ---- appending

    def submit(self, submission: Submission, on_outcome: OnOutcome) -> None:
        """Append with everything else of this turn; ``on_outcome`` gets the outcome once it is durable."""
        if self._closed:
            on_outcome(STOPPING)
            return
        if not self._batch:
            self._loop.call_soon(self._append)
        self._batch.append(submission)
        self._callbacks.append(on_outcome)

    async def append(self, submission: Submission) -> Outcome:
        """``submit``, and wait for the outcome."""
        done: asyncio.Future[Outcome] = self._loop.create_future()
        self.submit(submission, partial(_resolve, done))
        return await done

    def too_fast(self, who: str, what: str = "messages") -> Rejected | None:
        """Why ``who`` may not send one more now; None if they may, and it is counted."""
        wait = self.rate.acquire(who, self._loop.time())
        if not wait:
            return None
        message = f"more than {self.rate.count} {what} in {self.rate.period:g} s: wait {wait:.1f} s"
        return Rejected("rate", message, 429, wait)

    def acknowledge(self, peer: Peer, cid: str, outcome: Outcome) -> None:
        """Send the outcome to the sender, in the same write as this turn's messages."""
        room = self.peers.get(peer)
        if room is None:
            return  # it has left meanwhile
        peer.acks.append(outcome_frame(cid, outcome))
        room.disable_direct(peer)
        self._acked[peer] = None
        self._flush_soon()

    def _append(self) -> None:
        batch, callbacks = self._batch, self._callbacks
        self._batch, self._callbacks = [], []
        self.last_active_at = self._loop.time()
        try:
            done = self.log.append(batch)
        except QueueFull as error:
            rejected = Rejected("overload", str(error), 503, error.retry_after)
            _call_all(callbacks, [rejected] * len(batch))
            return
        if done.done():
            _call_all(callbacks, done.result())
        else:
            done.add_done_callback(lambda ended: _call_all(callbacks, ended.result()))

    # ---- fan-out

    def _on_entries(self, entries: Sequence[Stored]) -> None:
        rooms, live = self.rooms, self.live
        self.audit.counters.entries += len(entries)
        for entry in entries:
            variant = live.on_entry(entry) if live.rooms or LIVE_FIELD in entry.body else None
            room = rooms.get(entry.room)
            if room is None:
                continue
            room.seq, room.pins = entry.seq, PINS in entry.body or room.pins
            if variant is not None:
                room.variants[entry.seq] = variant
            room.frames.append((entry.seq, entry_frame(entry)))
            self._dirty[room] = None
        if self._dirty:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        acked, self._acked = self._acked, {}
        dirty, self._dirty = self._dirty, {}
        for room in dirty:
            self.audit.counters.deliveries += room.flush() * len(room.peers)
        for peer in acked:
            if peer.acks:
                peer.write(peer.take_acks())

    def broadcast(self, room: ActiveRoom, frame: bytes) -> None:
        """Send a frame that is no entry of the log."""
        self._write_to(list(room.peers), frame)

    def _write_to(self, peers: Sequence[Peer], frame: bytes) -> None:
        packed = compress(frame) if any(peer.connection.compresses for peer in peers) else frame
        for peer in peers:
            if peer.live:
                peer.write(packed if peer.connection.compresses else frame)

    def flush_now(self) -> None:
        """Send what this turn has brought so far: a peer that goes live next is not sent it later."""
        if self._dirty:
            self._flush()

    async def resume_live(self) -> None:
        """Continue the live messages that an earlier process has left in the log: call this before there are peers."""
        self.live.load(await self.log.live_messages())

    def _announce_members(self, room: ActiveRoom) -> None:
        for frame, peers in next_announcement(room, room.peers):
            self._write_to(peers, frame)
        if self.membership is not None:
            self.membership.publish_members(room)

    # ---- membership

    def enter(self, peer: Peer) -> ActiveRoom:
        """Register the peer before the log is read: entries that arrive meanwhile are held back, so none is missed."""
        room = self.rooms.get(peer.room_name)
        if room is None:
            room = self.rooms[peer.room_name] = ActiveRoom(peer.room_name)
            if self.membership is not None:
                self.membership.room_opened(room)
        room.add(peer)
        self.peers[peer] = room
        self.addresses[peer.address] += 1
        self.audit.counters.joins += 1
        peer.record("join")
        self.last_active_at = self._loop.time()
        self._heartbeat.start()
        self.presence.peer_changed(room, peer)
        self.orphans.connected(peer)
        return room

    def leave(self, peer: Peer) -> None:
        room = self.peers.pop(peer, None)
        if room is None:
            return
        peer.record("leave")
        self.addresses[peer.address] -= 1
        if not self.addresses[peer.address]:
            del self.addresses[peer.address]
        self._acked.pop(peer, None)
        room.discard(peer)
        self.last_active_at = self._loop.time()
        self.presence.peer_changed(room, peer)
        self.orphans.disconnected(peer)
        if not room.peers:
            del self.rooms[peer.room_name]
            if self.membership is not None:
                self.membership.room_closed(room)

    def note_activity(self) -> None:
        self.last_active_at = self._loop.time()

    def review(self) -> None:
        """Tokens, rights or a room's state have changed: update the role of every peer, or expel it."""
        for peer in list(self.peers):
            self.review_one(peer)

    def review_one(self, peer: Peer) -> None:
        now = self.policy.current_access(peer.identity, peer.room_name)
        if isinstance(now[0], int):
            peer.expel(*now)
        else:
            peer.identity, peer.role = now

    def spawn(self, session: Coroutine[object, object, None]) -> None:
        """Run a session on a task of its own, and wait for its end in ``close``."""
        task = self._loop.create_task(session)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    # ---- the end

    async def close(self) -> None:
        """Commit and acknowledge what was submitted, then send ``bye`` (1001) with a time to come back that spreads the
        return of many peers. One second is enough for the close frames of peers that still read.
        """
        await self.live.save_all()
        await self.reading.close()
        self._closed = True
        self._heartbeat.stop()
        self.presence.close()
        if self.membership is not None:
            await self.membership.close()
        self.orphans.close()
        if self._batch:
            self._append()
        await self.log.close()
        await asyncio.sleep(0)  # acks are queued
        await asyncio.sleep(0)  # and flushed
        spread = min(5_000, 200 + 5 * len(self.peers))
        for peer in list(self.peers):
            peer.dismiss(_random.randint(100, spread))
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)
        for peer in list(self.peers):
            peer.connection.abort()


def _resolve(done: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not done.done():
        done.set_result(outcome)


def _call_all(callbacks: Iterable[OnOutcome], outcomes: Iterable[Outcome]) -> None:
    for on_outcome, outcome in zip(callbacks, outcomes, strict=True):
        on_outcome(outcome)
