"""The routes: parse, call the hub, answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from http import HTTPStatus

from tornado.routing import URLSpec
from tornado.web import StaticFileHandler

from bqserver.auth.policy import name_taken
from bqserver.hub import session
from bqserver.hub.drafts import Poster, accept
from bqserver.hub.peer import Peer
from bqserver.model import Bounds, Rejected, Role, RoomView, Stored, Submission
from bqserver.web.sessions import Invites, Moderate, Session
from bqserver.websocket.connection import Connection, Handshake
from bqwidget.protocol import MAX_CID, check_room, decode_post, encode

from .attachments import Download, Upload
from .body import JSONHandler
from .handler import ApiError, AppContext, Handler, NotFound, bad_request, is_upgrade
from .metrics import Metrics
from .page_template import CSP, FIRST, STATIC, render

LOBBY = "lobby"
MOST = 200
NOTHING = RoomView(Bounds(0, 0), [])
MOST_WORDS = 200


def routes(service: AppContext) -> list[URLSpec]:
    """Every route below ``service.base``; the Jupyter extension mounts the same ones."""
    base, kwargs = re.escape(service.base), {"service": service}
    table: list[tuple[str, type]] = [
        (r"health", Health),
        (r"metrics", Metrics),
        (r"messages", Messages),
        (r"rooms", Rooms),
        (r"rooms/([^/]*)", RoomPage),
        (r"rooms/([^/]*)/messages", Messages),
        (r"rooms/([^/]*)/join", JoinCheck),
        (r"rooms/([^/]*)/log", RawLog),
        (r"rooms/([^/]*)/search", Search),
        (r"rooms/([^/]*)/moderation", Moderate),
        (r"rooms/([^/]*)/parts", Upload),
        (r"rooms/([^/]*)/parts/([^/]*)", Download),
        (r"invites", Invites),
        (r"session", Session),
    ]
    specs = [URLSpec(f"{base}{path}", handler, kwargs) for path, handler in table]
    return [*specs, URLSpec(f"{base}static/([a-z.]+)", Static, {"path": str(STATIC), **kwargs})]


class Health(Handler):
    public = True

    def get(self) -> None:
        if not self.service.hub.log.healthy():
            raise ApiError(503, "unavailable", "the log can't be written", retry_after=5)
        self.reply(b'{"ok":true}')


class Messages(JSONHandler):
    """List and post: the recipe's two routes, for any room."""

    async def get(self, room: str = LOBBY) -> None:
        self.enter(room, Role.READ)
        bodies = await self.service.hub.log.messages(
            room,
            limit=self.integer("limit", 1, MOST) or FIRST,
            before=self.integer("before", 0),
            after=self.integer("after", 0),
        )
        self.reply(b"[%b]" % b",".join(bodies))

    async def post(self, room: str = LOBBY) -> None:
        hub = self.service.hub
        self.enter(room, Role.WRITE)
        with bad_request():
            decision = accept(hub, Poster(self.identity, room, self.address), decode_post(self.body()))
        if not isinstance(decision, Submission | Rejected):
            decision = await decision
        if isinstance(decision, Rejected):
            raise ApiError.of(decision)
        outcome = await hub.append(decision)
        if not isinstance(outcome, Stored):
            raise ApiError.of(outcome)
        self.reply(outcome.body, HTTPStatus.OK if outcome.dup else HTTPStatus.CREATED)


class Rooms(Handler):
    async def get(self) -> None:
        hub = self.service.hub
        known = {row.name: row.seq for row in await hub.log.rooms()}
        refusal = hub.policy.check_role
        remote = {} if hub.membership is None else await hub.membership.remote_peer_counts()
        everywhere = sorted({*known, *hub.rooms, *remote})
        names = [name for name in everywhere if not refusal(self.identity, name, Role.READ)]
        self.reply(
            encode(
                [
                    {
                        "name": name,
                        "seq": known.get(name, 0),
                        "members": remote.get(name, 0)
                        + (len(hub.rooms[name].peers) if name in hub.rooms else 0),
                    }
                    for name in names
                ]
            )
        )


class RawLog(Handler):
    """The entries as they were appended, changes among them."""

    async def get(self, room: str) -> None:
        self.enter(room, Role.READ)
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
        self.enter(room, Role.READ)
        words = self.get_query_argument("q", "")
        if not 0 < len(words.strip()) <= MOST_WORDS:
            raise ApiError(400, "bad_q", f"q must be the words to look for, up to {MOST_WORDS} characters")
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
        self.enter(room, Role.READ)
        hub, policy = self.service.hub, self.service.hub.policy
        after = self.integer("after", 0)
        epoch = self.get_query_argument("epoch", None)
        user = asked_name(self)
        handshake = Handshake(self.request.uri or "/", self.request.headers)
        if not handshake.accepted:
            raise ApiError(
                handshake.response.status_code, "bad_handshake", "this is not a WebSocket handshake"
            )
        let_in(self, user)
        connection = Connection(self.detach(), handshake, buffer=hub.buffer, max_frame=hub.limits.frame)
        peer = Peer(
            connection,
            room,
            address=self.address,
            buffer=hub.buffer,
            audit=hub.audit,
            identity=self.identity,
            role=policy.authenticator.role(self.identity, room),
            user=user,
            kind="kernel" if self.get_query_argument("kind", "") == "kernel" else "person",
            client=(self.get_query_argument("client", None) or "")[:MAX_CID] or None,
            reauthenticate=self.reauthenticator(),
        )
        # On a task of its own, so that the request and everything that Tornado keeps for it can be freed.
        session.start(hub, peer, after, epoch)

    async def show(self, room: str) -> None:
        log = self.service.hub.log
        has_session = self.denied is None
        if has_session:
            self.enter(room, Role.READ)
        bounds, bodies = await log.room_view(room, limit=FIRST) if has_session else NOTHING
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Content-Security-Policy", CSP)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.reply(
            render(
                room=room,
                base=self.service.base,
                session=has_session,
                bodies=bodies,
                epoch=log.epoch,
                seq=bounds.seq,
                oldest=bounds.oldest,
                user=self.identity.principal,
            )
        )


class JoinCheck(Handler):
    """Whether a WebSocket would be let in now: a browser is not told why its handshake was refused."""

    def get(self, room: str) -> None:
        self.enter(room, Role.READ)
        let_in(self, asked_name(self))
        self.set_status(HTTPStatus.NO_CONTENT)


def asked_name(handler: Handler) -> str | None:
    """The name under which somebody wants to join, no longer than a name."""
    return handler.get_query_argument("user", "")[: handler.service.hub.limits.user] or None


def let_in(handler: Handler, user: str | None) -> None:
    """Raise where one more connection is too many, or comes under somebody else's name."""
    service, identity = handler.service, handler.identity
    if user and not service.hub.policy.authenticator.may_use_name(identity, user):
        raise ApiError.of(name_taken(user))
    who = identity.principal or handler.address
    if rejected := service.connection_limiter.check(who, handler.address, service.hub.addresses):
        raise ApiError.of(rejected)


class Static(Handler, StaticFileHandler):
    """The built view. It is the same for everyone and says nothing about any room."""

    public = True

    def initialize(self, service: AppContext, path: str) -> None:  # type: ignore[override]
        Handler.initialize(self, service)
        StaticFileHandler.initialize(self, path)

    def head(self, *args: str) -> Awaitable[None]:
        return StaticFileHandler.head(self, *args)

    def compute_etag(self) -> str | None:
        return StaticFileHandler.compute_etag(self)

    def set_extra_headers(self, path: str) -> None:
        del path
        self.set_header("Cache-Control", "no-cache")


__all__ = ["NotFound", "routes"]
