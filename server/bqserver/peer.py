"""One member's connection: its join, its replay, and the frames it sends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bqwidget.errors import ProtocolError
from bqwidget.protocol import (
    MAX_REPLAY,
    Busy,
    Bye,
    Delete,
    Draft,
    Echo,
    Edit,
    Error,
    Expire,
    Gap,
    Hello,
    Ping,
    React,
    Resume,
    Send,
    Typing,
    check,
    cid_of,
    decode_client,
    encode,
)

from . import presence
from .auth import UNVERIFIED, Identity
from .log import Bounds, LogError, Outcome, Refused, Stored, Submission
from .parts import with_parts
from .rights import Level
from .wire import Wire, text_frame

if TYPE_CHECKING:
    from .hub import Hub, Room
    from .lane import Lane
    from .rechecking import Still

CHUNK, FEW = 64 * 1024, 50
"""Bytes of a replay, more or less, that are read and written at once; and entries, as long as nothing is known
of their length.
"""
TYPING = 5.0
STRIKES = 20
"""Refused for their rate in a row before the connection is closed (4029)."""

CatchUp = Callable[[], Awaitable[None]]

_log = logging.getLogger("bqserver.peer")


class Peer:
    """``user`` is the name to show, ``principal`` the verified one (None: names are self-asserted). ``level`` is
    what it may do here, now: it is told of every change.

    ``still`` asks again who it is, where somebody else knows. ``live``: the fan-out writes to it; until then its frames are kept. ``skip``: the last seq a replay covered,
    for the log may show a reader an entry just before the fan-out brings it. ``client`` is the connection's own
    name for the program behind it, the same after a reconnect.
    """

    __slots__ = (
        "_hub",
        "_kept",
        "_kept_size",
        "_strikes",
        "_task",
        "acks",
        "address",
        "busy",
        "client",
        "identity",
        "kind",
        "lane",
        "level",
        "live",
        "room",
        "room_name",
        "skip",
        "still",
        "typing_until",
        "user",
        "wire",
    )

    def __init__(
        self,
        hub: Hub,
        wire: Wire,
        room: str,
        *,
        address: str,
        identity: Identity = UNVERIFIED,
        level: Level = Level.WRITE,
        user: str | None = None,
        kind: str = "person",
        client: str | None = None,
        still: Still | None = None,
    ) -> None:
        self._hub = hub
        self.wire = wire
        self.room_name = room
        self.address = address
        self.identity = identity
        self.level = level
        self.user = identity.principal or user
        self.kind = kind
        self.client = client
        self.still = still
        self.busy: bool | None = None
        self.live = False
        self.skip = 0
        self.acks: list[bytes] = []
        self.lane: Lane | None = None
        self.typing_until = 0.0
        self._kept: list[tuple[int, bytes]] = []
        self._kept_size = 0
        self._strikes = 0
        self._task: asyncio.Task[None] | None = None
        self.room: Room = hub.enter(self)
        wire.on_detour = self.step_out

    @property
    def principal(self) -> str | None:
        return self.identity.principal

    def note(
        self, what: str, *, says: str | None = None, code: str | None = None, seq: int | None = None
    ) -> None:
        """For the journal; ``says``: the name on the frame it is about."""
        journal = self._hub.journal
        if journal.written:
            journal.note(
                what,
                self.identity,
                room=self.room_name,
                address=self.address,
                says=says or self.user,
                code=code,
                seq=seq,
            )

    # ---- the connection's life

    async def run(self, after: int | None, epoch: str | None) -> None:
        """Join, then hear the peer until the connection is over."""
        try:
            # Heard once its hello is written: what it says is then newer than what that covers, and comes back to it.
            await self._guard(partial(self._greet, after, epoch))
            while (messages := await self.wire.receive()) is not None:
                for message in messages:
                    if isinstance(message, str):
                        if (checking := self._hear(message)) is not None:
                            await checking  # what it says next comes after it
                    else:
                        self.wire.close(1003, "frames are JSON text")
        except Exception:  # noqa: BLE001 - nobody else would hear of it, and the peer would wait for ever
            _log.exception("a connection is closed for an error of ours")
            self.wire.close(1011, "an error of the server's: reconnect")
        finally:
            if self._task is not None:
                self._task.cancel()
            self._hub.leave(self)

    def _start(self, catch_up: CatchUp) -> None:
        self._task = asyncio.get_running_loop().create_task(self._guard(catch_up))

    async def _guard(self, catch_up: CatchUp) -> None:
        """A log that can't be read ends the connection, and not only the replay: the peer would wait for ever."""
        try:
            await catch_up()
        except LogError as error:
            _log.warning("a member could not be brought up to date: %s", error)
            self.wire.close(1013, "the log can't be read: reconnect")

    async def _greet(self, after: int | None, epoch: str | None) -> None:
        hub = self._hub
        bounds = await hub.log.bounds(self.room_name, reach=after or 0)
        self.room.seq = max(self.room.seq, bounds.seq)
        known = after is not None and 0 <= after <= bounds.seq and epoch in (None, hub.log.epoch)
        hello = Hello(
            room=self.room_name,
            epoch=hub.log.epoch,
            seq=bounds.seq,
            oldest=bounds.oldest,
            resumed=known,
            limits=hub.limits,
            heartbeat_ms=int(hub.heartbeat * 1000),
            user=self.principal,
            now=int(time.time() * 1000),
        )
        self.wire.write(text_frame(encode(hello)))
        self._start(partial(self._join, bounds, after, known=known))

    async def _join(self, bounds: Bounds, after: int | None, *, known: bool) -> None:
        await self._replay(bounds, after, known=known)
        if self.live and presence.members(self.room):
            self.write(presence.frame(self.room))

    async def _resume(self, after: int | None, epoch: str | None) -> None:
        bounds = await self._hub.log.bounds(self.room_name, reach=after or 0)
        known = after is not None and 0 <= after <= bounds.seq and epoch in (None, self._hub.log.epoch)
        await self._replay(bounds, after, known=known)

    async def _replay(self, bounds: Bounds, after: int | None, *, known: bool) -> None:
        """Send what is missing up to ``bounds.seq`` in chunks that wait for the peer, then what was kept meanwhile."""
        if after is not None and not known:
            self._gap(0, bounds.seq, "epoch")
        elif after is not None and after < bounds.seq:
            if after < bounds.trimmed:
                self._gap(after, bounds.trimmed, "trimmed")
                after = bounds.trimmed
            if not await self._send_entries(after, bounds.seq):
                return
        kept, self._kept, self._kept_size = self._kept, [], 0
        self.live, self.skip = True, bounds.seq
        tail = b"".join([frame for seq, frame in kept if seq > bounds.seq])
        self.write(tail + text_frame(b'{"type":"synced","seq":%d}' % max(bounds.seq, self.room.seq)))

    async def _send_entries(self, after: int, upto: int) -> bool:
        """A few at a time, each taken by the peer before the next are read: a thousand that come back at once
        hold that many few in memory, and not all they have missed. False: the connection is over.
        """
        log, room = self._hub.log, self.room_name
        if await log.count(room, after=after, upto=upto, limit=MAX_REPLAY + 1) > MAX_REPLAY:
            self._gap(after, upto, "long")
            return True
        few = FEW
        while entries := await log.entries(room, after=after, upto=upto, limit=few):
            data = b"".join([entry_frame(entry) for entry in entries])
            if not await self.wire.drain(data):
                return False
            few = max(1, min(MAX_REPLAY, CHUNK * len(entries) // len(data)))
            after = entries[-1].seq
        return True

    def _gap(self, start: int, stop: int, reason: str) -> None:
        gap = msgspec.convert({"from": start, "to": stop, "reason": reason}, Gap)
        self.wire.write(text_frame(encode(gap)))

    # ---- what goes out

    def bring(self, frames: Sequence[tuple[int, bytes]], data: bytes) -> None:
        """A turn's ``frames``, ``data`` when joined: behind its acks, without what a replay covered already, and
        kept while one goes on.
        """
        if not self.live:
            self.keep(frames)
            return
        if self.skip:
            data = b"".join([frame for seq, frame in frames if seq > self.skip])
            self.skip = 0 if frames[-1][0] > self.skip else self.skip
        self.write(self.take_acks() + data)

    def step_in(self) -> None:
        """Into the lane, where nothing more is owed."""
        if self.live and not self.skip and self.wire.straight is not None:
            self.lane = self.room.lanes[self.wire.deflates]
            self.lane.add(self.wire.straight, self)
            self.room.apart.discard(self)

    def step_out(self) -> None:
        """It is owed something that others are not, or can't be written to directly any more."""
        if self.lane is not None:
            self.lane.discard(self.wire.send)
            self.lane = None
            self.room.apart.add(self)

    def write(self, data: bytes) -> None:
        if not self.wire.write(data):
            self.cut_off()

    def cut_off(self) -> None:
        """It reads too slowly, or has gone: it resumes from the log."""
        self.live = False
        self.wire.close(4008, "too slow: reconnect and resume")

    def keep(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Hold back what arrives during a replay; its size is bounded like the output buffer."""
        self._kept += frames
        self._kept_size += sum(len(frame) for _, frame in frames)
        if self._kept_size > self._hub.buffer:
            self._kept.clear()
            self.wire.close(4008, "too slow: reconnect and resume")

    def expel(self, code: int, reason: str) -> None:
        """It may not be here any more, and is told why."""
        self.live = False
        self.note("expel", code=str(code))
        self.wire.close(code, reason)

    def take_acks(self) -> bytes:
        acks, self.acks = self.acks, []
        return b"".join(acks)

    # ---- what comes in

    def _hear(self, message: str) -> Awaitable[None] | None:
        """What has to be waited for before the next is heard, if anything."""
        try:
            frame = decode_client(message)
            match frame:
                case Send() | Edit() | Delete() | React() | Expire():
                    return self._submit(frame)
                case Echo():
                    self.write(text_frame(encode(frame)))
                case Ping():
                    self.write(text_frame(b'{"type":"synced","seq":%d}' % self.room.seq))
                case Resume(after=after, epoch=epoch):
                    if self.live:
                        self.live = False
                        self.step_out()
                        self._start(partial(self._resume, after, epoch))
                case Busy(busy=busy):
                    self.busy = busy
                    self._hub.presence.changed(self.room, self)
                case Typing(user=user) if self.level >= Level.WRITE and self._is_free(user):
                    self.typing_until = asyncio.get_running_loop().time() + TYPING
                    self.user = self.principal or self.user or user
                    self._hub.presence.changed(self.room, self)
        except ProtocolError as error:
            self._refuse(Refused(error.code, str(error), 400), cid_of(message))
        return None

    def _is_free(self, user: str | None) -> bool:
        hub = self._hub
        return user is None or (len(user) <= hub.limits.user and hub.policy.gate.may_use(self.identity, user))

    def _submit(self, draft: Draft) -> Awaitable[None] | None:
        hub, principal = self._hub, self.principal
        if principal is not None:
            draft = msgspec.structs.replace(draft, user=principal)
        check(draft, hub.limits)
        if refused := hub.policy.no_writer(self.identity, self.level, self.room_name, draft.user):
            self._refuse(refused, draft.cid)
            return None
        if refused := hub.too_fast(principal or self.address):
            self._strikes += 1
            if self._strikes > STRIKES:
                retry_ms = int((refused.retry_after or 0) * 1000)
                self.wire.write(text_frame(encode(Bye(code=4029, retry_ms=retry_ms))))
                self.wire.close(4029, "too many messages")
                return None
            self._refuse(refused, draft.cid)
            return None
        self._strikes = 0
        if isinstance(draft, Send) and draft.parts:
            return self._submit_with_parts(draft)
        self._append(draft)
        return None

    async def _submit_with_parts(self, draft: Send) -> None:
        hub = self._hub
        checked = await with_parts(hub.parts, self.room_name, draft)
        if not isinstance(checked, Refused):  # what it may do here may have changed meanwhile
            checked = hub.policy.no_writer(self.identity, self.level, self.room_name, draft.user) or checked
        if isinstance(checked, Refused):
            self._refuse(checked, draft.cid)
        else:
            self._append(checked)

    def _append(self, draft: Draft) -> None:
        principal = self.principal
        submission = Submission(
            self.room_name,
            principal or draft.user,
            draft,
            verified=principal is not None,
            moderator=self.level is Level.MODERATE,
        )
        self._hub.submit(submission, partial(self._stored, draft))

    def _stored(self, draft: Draft, outcome: Outcome) -> None:
        if isinstance(draft, Send) and draft.ask is not None and isinstance(outcome, Stored):
            self._hub.questions.asked(self, draft.user, outcome.seq)
        what = type(draft).__name__.lower()
        if isinstance(outcome, Refused):
            self._hub.journal.refused[outcome.code] += 1
            self.note(what, says=draft.user, code=outcome.code)
        else:
            self.note(what, says=draft.user, seq=outcome.seq)
        self._hub.acknowledge(self, draft.cid, outcome)

    def _refuse(self, refused: Refused, cid: str | None) -> None:
        self._hub.journal.refused[refused.code] += 1
        self.note("refused", code=refused.code)
        retry_ms = None if refused.retry_after is None else int(refused.retry_after * 1000)
        error = Error(code=refused.code, message=refused.message, cid=cid, retry_ms=retry_ms)
        self.write(text_frame(encode(error)))


def entry_frame(entry: Stored) -> bytes:
    """The frame of an entry, from its stored bytes."""
    kind = b"change" if entry.change else b"message"
    return text_frame(b'{"type":"%b","entry":%b,"prev":%d}' % (kind, entry.body, entry.prev))
