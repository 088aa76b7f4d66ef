"""One member's connection as the hub sees it: who it is, and what is written to it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence

from bqserver.audit import AuditLog
from bqserver.auth.identity import UNVERIFIED, Denied, Identity
from bqserver.model import Role
from bqserver.websocket.connection import WebSocketConnection
from bqserver.websocket.framing import text_frame
from bqwidget.protocol import Bye, Command, encode

from .direct_writes import DirectWriters
from .frames import synced_frame

Reauthenticator = Callable[[], Awaitable[Identity | Denied]]
"""Asks again who a member is, where another service knows (Jupyter, its Hub)."""


class Peer:
    """The outbound end of one member's connection.

    ``user``: the name to show; ``identity.principal`` is the verified one, None where names are self-asserted.
    ``role``: what it may do in the room now. ``kind``: ``person``, ``kernel`` or ``agent``. ``client``: its program's own
    name for itself, the same after a reconnect. ``author``: a digest of the verified name and ``client``, the same after
    a reconnect if there is one of them. ``member``: its name for all clients of the same person or kernel, without which
    ``client`` counts; ``member_id`` is a digest of it, None for a verified name. ``follows_live``: it understands live
    messages. ``reauthenticate``: asks again who it is; None where the server itself follows every change.
    ``forwarded_as``: the name that a gateway has given to the connection, if one forwards it. ``buffer``:
    bytes that may be held back during a catch-up.

    ``activity``: what it says it is doing, until ``typing_until``. ``commands``: those that it offers.
    ``announcement_number``: the last announcement of members that it was sent.

    ``live``: the fan-out writes to it; until then its frames are held back. ``skip_up_to``: the last seq that a
    catch-up covered, for the log may show an entry to a reader just before the fan-out delivers it. ``rejections``:
    how many messages in a row were rejected for their rate. ``accepted``: how many were submitted to the log, of which
    ``answered`` have an outcome; ``unstored`` of these added nothing to the log. ``appended``: pieces of live
    messages that were accepted. ``catch_up_task``: the catch-up that runs now or ran last.
    """

    __slots__ = (
        "_held",
        "_held_bytes",
        "_settled",
        "_settled_at",
        "accepted",
        "acks",
        "activity",
        "address",
        "announcement_number",
        "answered",
        "appended",
        "audit",
        "author",
        "buffer",
        "busy",
        "catch_up_task",
        "client",
        "commands",
        "connection",
        "direct_writers",
        "follows_live",
        "forwarded_as",
        "identity",
        "kind",
        "live",
        "member_id",
        "reauthenticate",
        "rejections",
        "role",
        "room_name",
        "skip_up_to",
        "typing_until",
        "unstored",
        "user",
    )

    def __init__(
        self,
        connection: WebSocketConnection,
        room: str,
        *,
        address: str,
        buffer: int,
        audit: AuditLog,
        identity: Identity = UNVERIFIED,
        role: Role = Role.WRITE,
        user: str | None = None,
        kind: str = "person",
        client: str | None = None,
        member: str | None = None,
        follows_live: bool = False,
        reauthenticate: Reauthenticator | None = None,
        forwarded_as: str | None = None,
    ) -> None:
        self.connection = connection
        self.room_name = room
        self.address = address
        self.buffer = buffer
        self.audit = audit
        self.identity = identity
        self.role = role
        self.user = identity.principal or user
        self.kind = kind
        self.client = client
        self.author = _author(identity.principal, client)
        self.member_id = _member_id(identity.principal, member or client)
        self.follows_live = follows_live
        self.reauthenticate = reauthenticate
        self.forwarded_as = forwarded_as
        self.busy: bool | None = None
        self.activity: str | None = None
        self.commands: tuple[Command, ...] = ()
        self.announcement_number = 0
        self.live = False
        self.skip_up_to = 0
        self.acks: list[bytes] = []
        self.direct_writers: DirectWriters | None = None
        self.typing_until = 0.0
        self.rejections = 0
        self.accepted = 0
        self.answered = 0
        self.unstored = 0
        self.appended = 0
        self._settled: asyncio.Future[None] | None = None
        self._settled_at = 0
        self.catch_up_task: asyncio.Task[None] | None = None
        self._held: list[tuple[int, bytes]] = []
        self._held_bytes = 0

    @property
    def principal(self) -> str | None:
        return self.identity.principal

    @property
    def member(self) -> str:
        """Who has a share of the server: the verified name, else the address."""
        return self.principal or self.address

    def record(
        self, what: str, *, claimed_name: str | None = None, code: str | None = None, seq: int | None = None
    ) -> None:
        """Write an event to the audit log. ``claimed_name``: the name on the frame that caused it.

        ``code``: why it was refused.
        """
        if self.audit.enabled:
            self.audit.record(
                what,
                self.identity,
                room=self.room_name,
                address=self.address,
                claimed_name=claimed_name or self.user,
                repeated=code,
                code=code,
                seq=seq,
            )

    # ---- catching up

    def begin_catch_up(self) -> None:
        """Hold back what the fan-out delivers, until ``end_catch_up``."""
        self.live = False
        self.connection.on_buffered()

    def end_catch_up(self, seq: int, room_seq: int) -> None:
        """The log was sent up to ``seq``: send what was held back above it, and go live."""
        held, self._held, self._held_bytes = self._held, [], 0
        self.live, self.skip_up_to = True, seq
        tail = b"".join([frame for at, frame in held if at > seq])
        self.write(tail + synced_frame(max(seq, room_seq)))

    def hold(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Keep ``frames`` (seq and bytes) until the catch-up ends; above ``buffer`` bytes the peer is closed (4008)."""
        self._held += frames
        self._held_bytes += sum(len(frame) for _, frame in frames)
        if self._held_bytes > self.buffer:
            self._held.clear()
            self.connection.close(4008, "too slow: reconnect and resume")

    # ---- outcomes

    @property
    def unanswered(self) -> int:
        """How many submissions have no outcome yet."""
        return self.accepted - self.answered

    def on_outcome(self) -> None:
        self.answered += 1
        if self._settled is not None and self.unanswered <= self._settled_at and not self._settled.done():
            self._settled.set_result(None)

    async def wait_for_outcomes(self, left: int = 0) -> None:
        """Wait until all but ``left`` submissions have an outcome; with 0, ``acks`` are then complete."""
        if self.unanswered > left:
            self._settled, self._settled_at = asyncio.get_running_loop().create_future(), left
            await self._settled

    # ---- writing

    def deliver(
        self, frames: Sequence[tuple[int, bytes]], data: bytes, full: Sequence[tuple[int, bytes]] | None = None
    ) -> None:
        """Write a turn's ``frames`` (``data``: the same, joined) after the pending acks, without those that a
        catch-up covered; hold them back during a catch-up. ``full``: what is held back in place of ``frames``.
        """
        if not self.live:
            self.hold(frames if full is None else full)
            return
        if self.skip_up_to:
            data = b"".join([frame for seq, frame in frames if seq > self.skip_up_to])
            self.skip_up_to = 0 if frames[-1][0] > self.skip_up_to else self.skip_up_to
        self.write(self.take_acks() + data)

    def take_acks(self) -> bytes:
        acks, self.acks = self.acks, []
        return b"".join(acks)

    def write(self, data: bytes) -> None:
        """Write whole frames; a peer whose buffer is full is closed (4008) and can resume from the log."""
        if not self.connection.write(data):
            self.live = False
            self.connection.close(4008, "too slow: reconnect and resume")

    def dismiss(self, retry_ms: int) -> None:
        """Say ``bye`` (1001): the server, or the gateway in front of it, stops and will be back."""
        self.connection.write(text_frame(encode(Bye(code=1001, retry_ms=retry_ms))))
        self.connection.close(1001, "restart")

    def expel(self, code: int, reason: str) -> None:
        """Close the connection because access was revoked."""
        self.live = False
        if self.audit.enabled:
            where = {"room": self.room_name, "address": self.address, "claimed_name": self.user}
            self.audit.record("expel", self.identity, **where, code=str(code))
        self.connection.close(code, reason)


def _author(principal: str | None, client: str | None) -> str:
    if principal is None and client is None:
        return secrets.token_hex(16)  # this connection alone
    return hashlib.sha256(f"{principal or ''}\n{client or ''}".encode()).hexdigest()[:32]


def _member_id(principal: str | None, member: str | None) -> str | None:
    """Everyone is shown the digest; with ``client`` itself, another could continue what its author writes."""
    if principal is not None or member is None:
        return None
    return hashlib.sha256(f"member\n{member}".encode()).hexdigest()[:16]
