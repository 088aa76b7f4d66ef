"""One member's connection: its life, and what goes out to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bqserver.auth.identity import UNVERIFIED, Identity
from bqserver.errors import StorageError
from bqserver.model import Role
from bqserver.websocket.connection import Wire

from .catch_up import greet
from .commands import hear
from .frames import synced

if TYPE_CHECKING:
    from .direct_writes import Lane
    from .hub import Hub
    from .reauthentication import Still
    from .room import Room

CatchUp = Callable[[], Awaitable[None]]

_log = logging.getLogger("bqserver.peer")


class Peer:
    """``user`` is the name to show, ``principal`` the verified one (None: names are self-asserted). ``level`` is
    what it may do here, now: it is told of every change.

    ``still`` asks again who it is, where somebody else knows. ``live``: the fan-out writes to it; until then its
    frames are kept. ``skip``: the last seq a replay covered, for the log may show a reader an entry just before
    the fan-out brings it. ``client`` is the connection's own name for the program behind it, the same after a
    reconnect. ``strikes``: how often in a row it was refused for its rate.
    """

    __slots__ = (
        "_kept",
        "_kept_size",
        "_task",
        "acks",
        "address",
        "busy",
        "client",
        "hub",
        "identity",
        "kind",
        "lane",
        "level",
        "live",
        "room",
        "room_name",
        "skip",
        "still",
        "strikes",
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
        level: Role = Role.WRITE,
        user: str | None = None,
        kind: str = "person",
        client: str | None = None,
        still: Still | None = None,
    ) -> None:
        self.hub = hub
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
        self.strikes = 0
        self._kept: list[tuple[int, bytes]] = []
        self._kept_size = 0
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
        journal = self.hub.journal
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
        greeting = self.start(partial(greet, self, after, epoch))
        try:
            while (messages := await self.wire.receive()) is not None:
                if (
                    not greeting.done()
                ):  # what it says must be newer than what hello covers, or it would never hear it
                    await asyncio.wait([greeting])
                for message in messages:
                    if isinstance(message, str):
                        if (checking := hear(self, message)) is not None:
                            await checking  # what it says next comes after it
                    else:
                        self.wire.close(1003, "frames are JSON text")
        except Exception:  # noqa: BLE001 - nobody else would hear of it, and the peer would wait for ever
            _log.exception("a connection is closed for an error of ours")
            self.wire.close(1011, "an error of the server's: reconnect")
        finally:
            greeting.cancel()
            if self._task is not None:
                self._task.cancel()
            self.hub.leave(self)

    def start(self, catch_up: CatchUp) -> asyncio.Task[None]:
        """Go on hearing it meanwhile."""
        self._task = asyncio.get_running_loop().create_task(self._guard(catch_up))
        return self._task

    async def _guard(self, catch_up: CatchUp) -> None:
        """What fails ends the connection, and not only the replay: the peer would wait for ever."""
        try:
            await catch_up()
        except StorageError as error:
            _log.warning("a member could not be brought up to date: %s", error)
            self.wire.close(1013, "the log can't be read: reconnect")
        except Exception:  # noqa: BLE001 - nobody awaits it
            _log.exception("a member could not be brought up to date for an error of ours")
            self.wire.close(1011, "an error of the server's: reconnect")

    # ---- what goes out

    def stand_by(self) -> None:
        """For a replay: what the fan-out brings is kept until ``go_live``."""
        self.live = False
        self.step_out()

    def go_live(self, seq: int) -> None:
        """A replay has brought it to ``seq``: send what was kept meanwhile, and take what comes."""
        kept, self._kept, self._kept_size = self._kept, [], 0
        self.live, self.skip = True, seq
        tail = b"".join([frame for at, frame in kept if at > seq])
        self.write(tail + synced(max(seq, self.room.seq)))

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
        if self._kept_size > self.hub.buffer:
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
