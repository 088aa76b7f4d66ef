"""The routes: parse, call the hub, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, ClassVar, Literal

import msgspec
from tornado.routing import URLSpec
from tornado.web import StaticFileHandler, stream_request_body

from bqwidget import protocol
from bqwidget.protocol import MAX_CID, check_room, encode

from .base import COOKIE_DAYS, Failure, Handler, NotFound, Service, bad_request, cookie_name, is_upgrade
from .log import Stored, Submission
from .moderation import Mute
from .page import CSP, FIRST, STATIC, render
from .peer import Peer
from .policy import taken
from .rights import Level
from .wire import Handshake, Wire

LOBBY = "lobby"
MOST = 200
MOST_WORDS = 200
INVITE_USES, INVITE_MINUTES = 100, 7 * 24 * 60


def routes(service: Service) -> list[URLSpec]:
    """Every route below ``service.base``; the Jupyter extension mounts the same ones."""
    base, kwargs = service.base, {"service": service}
    table: list[tuple[str, type]] = [
        (r"health", Health),
        (r"messages", Messages),
        (r"rooms", Rooms),
        (r"rooms/([^/]*)", RoomPage),
        (r"rooms/([^/]*)/messages", Messages),
        (r"rooms/([^/]*)/log", RawLog),
        (r"rooms/([^/]*)/search", Search),
        (r"rooms/([^/]*)/moderation", Moderate),
        (r"invites", Invites),
        (r"session", Session),
    ]
    specs = [URLSpec(f"{base}{path}", handler, kwargs) for path, handler in table]
    return [*specs, URLSpec(f"{base}static/([a-z.]+)", Static, {"path": str(STATIC), **kwargs})]


@stream_request_body
class Body(Handler):
    """A handler with a JSON body, refused by its size before it is read."""

    _decoders: ClassVar[dict[type, Any]] = {}

    def prepare(self) -> Awaitable[None] | None:
        self._chunks: list[bytes] = []
        self._size = 0
        pending = super().prepare()
        if pending is not None:
            return self._check_later(pending)
        self._check()
        return None

    async def _check_later(self, pending: Awaitable[None]) -> None:
        await pending
        self._check()

    def _check(self) -> None:
        if self.request.method == "POST":
            self.check_json()
            self._grow(int(self.request.headers.get("Content-Length", 0)))
            self._size = 0

    def data_received(self, chunk: bytes) -> None:
        self._grow(len(chunk))
        self._chunks.append(chunk)

    def body(self) -> bytes:
        return b"".join(self._chunks)

    def _grow(self, size: int) -> None:
        self._size += size
        most = self.service.hub.limits.frame
        if self._size > most:
            raise Failure(413, "too_big", f"the body has more than {most:,} bytes: send less at once")


class Health(Handler):
    public = True

    def get(self) -> None:
        if not self.service.hub.log.healthy():
            raise Failure(503, "unavailable", "the log can't be written", retry_after=5)
        self.reply(b'{"ok":true}')


class Messages(Body):
    """List and post: the recipe's two routes, for any room."""

    async def get(self, room: str = LOBBY) -> None:
        self.enter(room, Level.READ)
        bodies = await self.service.hub.log.messages(
            room,
            limit=self.integer("limit", 1, MOST) or FIRST,
            before=self.integer("before", 0),
            after=self.integer("after", 0),
        )
        self.reply(b"[%b]" % b",".join(bodies))

    async def post(self, room: str = LOBBY) -> None:
        hub, principal = self.service.hub, self.identity.principal
        self.enter(room, Level.WRITE)
        with bad_request():
            post = protocol.decode_post(self.body())
            if principal is not None:
                post = msgspec.structs.replace(post, user=principal)
            protocol.check(post, hub.limits)
        level = hub.policy.gate.level(self.identity, room)
        if refused := hub.policy.no_writer(self.identity, level, room, post.user):
            raise Failure.of(refused)
        who = principal or self.request.remote_ip or ""
        wait = hub.rate.wait(who, asyncio.get_running_loop().time())
        if wait:
            message = (
                f"more than {hub.limits.rate} messages in {hub.limits.rate_ms / 1000:g} s: wait {wait:.1f} s"
            )
            raise Failure(429, "rate", message, retry_after=wait)
        submission = Submission(room, principal or post.user, _draft(post), verified=principal is not None)
        outcome = await hub.post(submission)
        if not isinstance(outcome, Stored):
            raise Failure.of(outcome)
        self.reply(outcome.body, HTTPStatus.OK if outcome.dup else HTTPStatus.CREATED)


class Rooms(Handler):
    async def get(self) -> None:
        hub = self.service.hub
        known = {row.name: row.seq for row in await hub.log.rooms()}
        refusal = hub.policy.refusal
        names = [
            name for name in sorted({*known, *hub.rooms}) if not refusal(self.identity, name, Level.READ)
        ]
        self.reply(
            encode(
                [
                    {
                        "name": name,
                        "seq": known.get(name, 0),
                        "members": len(hub.rooms[name].peers) if name in hub.rooms else 0,
                    }
                    for name in names
                ]
            )
        )


class RawLog(Handler):
    """The entries as they were appended, changes among them."""

    async def get(self, room: str) -> None:
        self.enter(room, Level.READ)
        entries = await self.service.hub.log.entries(
            room,
            after=self.integer("after", 0) or 0,
            upto=(1 << 40) - 1,
            limit=self.integer("limit", 1, MOST) or FIRST,
        )
        self.reply(b"[%b]" % b",".join(entry.body for entry in entries))


class Search(Handler):
    """Messages by their words: ``?q=``, the newest that match, oldest first."""

    async def get(self, room: str) -> None:
        self.enter(room, Level.READ)
        words = self.get_query_argument("q", "")
        if not 0 < len(words.strip()) <= MOST_WORDS:
            raise Failure(400, "bad_q", f"q must be the words to look for, up to {MOST_WORDS} characters")
        limit = self.integer("limit", 1, MOST) or FIRST
        self.reply(b"[%b]" % b",".join(await self.service.hub.log.search(room, words, limit=limit)))


class RoomPage(Handler):
    """One address for a room: a browser gets the page, a WebSocket joins."""

    public = True  # the page without a session is an empty shell that can take an invite

    async def get(self, room: str) -> None:
        with bad_request():
            check_room(room)
        if is_upgrade(self.request):
            await self.join(room)
        else:
            await self.show(room)

    async def join(self, room: str) -> None:
        self.enter(room, Level.READ)
        hub, policy = self.service.hub, self.service.hub.policy
        after = self.integer("after", 0)
        epoch = self.get_query_argument("epoch", None)
        user = self.get_query_argument("user", None)
        if user and not policy.gate.may_use(self.identity, user):
            raise Failure.of(taken(user))
        handshake = Handshake(self.request.uri or "/", self.request.headers)
        if not handshake.accepted:
            raise Failure(
                handshake.response.status_code, "bad_handshake", "this is not a WebSocket handshake"
            )
        wire = Wire(self.detach(), handshake, buffer=hub.buffer, max_frame=hub.limits.frame)
        peer = Peer(
            hub,
            wire,
            room,
            address=self.request.remote_ip or "",
            identity=self.identity,
            level=policy.gate.level(self.identity, room),
            user=user[: hub.limits.user] if user else None,
            kind="kernel" if self.get_query_argument("kind", "") == "kernel" else "person",
            client=(self.get_query_argument("client", None) or "")[:MAX_CID] or None,
        )
        # A task of its own: the request and everything Tornado kept for it can go.
        hub.run(peer, after, epoch)

    async def show(self, room: str) -> None:
        log = self.service.hub.log
        session = self.denied is None
        if session:
            self.enter(room, Level.READ)
        bounds = await log.bounds(room)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Content-Security-Policy", CSP)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.reply(
            render(
                room=room,
                base=self.service.base,
                session=session,
                bodies=await log.messages(room, limit=FIRST, before=bounds.seq + 1) if session else [],
                epoch=log.epoch,
                seq=bounds.seq,
                oldest=bounds.oldest,
                user=self.identity.principal,
            )
        )


class Order(protocol.Struct, frozen=True):
    """What a moderator wants. ``minutes`` limits a mute; without it, it lasts until it is lifted."""

    do: Literal["close", "reopen", "mute", "unmute"]
    user: str | None = None
    minutes: float | None = None


class Moderate(Body):
    """Close a room and open it again, mute a member and lift that. Deleting is ``chat.delete``, as for one's own."""

    def post(self, room: str) -> None:
        self.enter(room, Level.MODERATE)
        hub, principal = self.service.hub, self.identity.principal or ""
        try:
            order = msgspec.json.decode(self.body(), type=Order)
        except protocol.NOT_JSON as error:
            raise Failure(400, "bad_json", f"the order is not understood: {error}") from None
        mutes = order.do in ("mute", "unmute")
        if mutes != bool(order.user) or (
            order.minutes is not None and (order.do != "mute" or order.minutes <= 0)
        ):
            raise Failure(
                400, "bad_field", "mute and unmute name a user, the others none; minutes is for mute alone"
            )
        state = hub.policy.moderation
        match order.do:
            case "close":
                state.close(room, principal)
                hub.review()
            case "reopen":
                state.reopen(room)
            case "mute":
                until = time.time() + order.minutes * 60 if order.minutes else None
                state.mute(Mute(room=room, user=order.user or "", by=principal, until=until))
            case "unmute":
                state.unmute(room, order.user or "")
        self.set_status(HTTPStatus.NO_CONTENT)


class NewInvite(protocol.Struct, frozen=True):
    """``myself``: for a browser of the asker's own, under the name of their token."""

    uses: int = 1
    minutes: float = 10
    myself: bool = False


class Invites(Body):
    """A token makes invites; a session can't, so what leaks from a page does not multiply."""

    def post(self) -> None:
        grant = self.identity.grant
        if not self.identity.program:
            raise Failure(403, "forbidden", "invites are made with a token")
        if grant is not None and grant.read_only:
            raise Failure(403, "read_only", "a read-only token makes no invites")
        try:
            wanted = msgspec.json.decode(self.body() or b"{}", type=NewInvite)
        except protocol.NOT_JSON as error:
            raise Failure(400, "bad_json", f"the invite is not understood: {error}") from None
        if not (1 <= wanted.uses <= INVITE_USES and 0 < wanted.minutes <= INVITE_MINUTES):
            raise Failure(
                400, "bad_field", f"uses must be 1 to {INVITE_USES}, minutes up to {INVITE_MINUTES:,}"
            )
        if wanted.myself and (grant is None or wanted.uses > 1):
            raise Failure(400, "bad_field", "myself is for a named token, and for one use")
        code = self.service.gate.invite(
            uses=wanted.uses, minutes=wanted.minutes, by=self.identity, myself=wanted.myself
        )
        expires = int((time.time() + wanted.minutes * 60) * 1000)
        self.reply(encode({"code": code, "uses": wanted.uses, "expires": expires}), HTTPStatus.CREATED)


class Redeem(protocol.Struct, frozen=True):
    invite: str


class Session(Body):
    """An invite is swapped for a cookie that no script can read and no other site can send."""

    public = True

    def post(self) -> None:
        try:
            code = msgspec.json.decode(self.body(), type=Redeem).invite
        except protocol.NOT_JSON as error:
            raise Failure(400, "bad_json", f"the invite is not understood: {error}") from None
        session = self.service.gate.redeem(code)
        if session is None:
            raise Failure(403, "bad_invite", "this invite was used or has expired: ask for a new one")
        self.set_signed_cookie(
            cookie_name(self.request),
            session,
            expires_days=COOKIE_DAYS,
            path=self.service.base,
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
        )
        self.set_status(HTTPStatus.NO_CONTENT)


class Static(Handler, StaticFileHandler):
    """The built view. It is the same for everyone and says nothing about any room."""

    public = True

    def initialize(self, service: Service, path: str) -> None:  # type: ignore[override]
        Handler.initialize(self, service)
        StaticFileHandler.initialize(self, path)

    def compute_etag(self) -> str | None:
        return StaticFileHandler.compute_etag(self)

    def set_extra_headers(self, path: str) -> None:
        del path
        self.set_header("Cache-Control", "no-cache")


def _draft(post: protocol.Post) -> protocol.Send:
    return protocol.Send(
        cid=post.cid or "",
        user=post.user,
        text=post.text,
        re=post.re,
        choice=post.choice,
        ask=post.ask,
        parts=post.parts,
    )


__all__ = ["NotFound", "routes"]
