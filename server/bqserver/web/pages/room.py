"""A room's address: a browser gets the page, a WebSocket joins."""

from __future__ import annotations

import sys
from functools import partial
from http import HTTPStatus

from tornado.web import HTTPError

from bqserver.auth.identity import is_agent
from bqserver.auth.policy import name_taken
from bqserver.errors import ServerError
from bqserver.hub import session
from bqserver.hub.peer import Peer
from bqserver.model import Role
from bqserver.web.errors import ApiError, bad_request
from bqserver.web.handler import Handler
from bqserver.web.requests import is_upgrade
from bqserver.websocket.connection import Handshake, WebSocketConnection
from bqwidget.protocol import MAX_CID, check_room

from .page import PageHandler
from .template import (
    DEFAULT_PAGE_MESSAGES,
    PageState,
    render_failure,
    render_invite,
    render_messages,
    render_start,
)

KINDS = ("person", "kernel", "agent")


class RoomPageHandler(PageHandler):
    """``GET /rooms/{room}``."""

    async def get(self, room: str) -> None:
        with bad_request():
            check_room(room)
        if is_upgrade(self.request):
            await self.join(room)
        else:
            await self.show(room)

    async def join(self, room: str) -> None:
        self.authorize(room, Role.READ)
        hub, policy = self.context.hub, self.context.hub.policy
        after = self.query_integer("after", 0)
        epoch = self.get_query_argument("epoch", None)
        user, kind = requested_name(self), self.get_query_argument("kind", "")
        handshake = Handshake(self.request.uri or "/", self.request.headers)
        if not handshake.accepted:
            raise ApiError(handshake.response.status_code, "bad_handshake", "this is not a WebSocket handshake")
        check_join(self, user)
        connection = WebSocketConnection(
            self.detach(), handshake, buffer=hub.buffer, max_frame=hub.limits.frame, turns=hub.turns
        )
        peer = Peer(
            connection,
            room,
            address=self.address,
            buffer=hub.buffer,
            audit=hub.audit,
            identity=self.identity,
            role=policy.authenticator.role(self.identity, room),
            user=user,
            kind="agent" if is_agent(self.identity) else next((each for each in KINDS if each == kind), "person"),
            client=self.get_query_argument("client", "")[:MAX_CID] or None,
            member=self.get_query_argument("member", "")[:MAX_CID] or None,
            follows_live=self.get_query_argument("live", "") == "1",
            reauthenticate=self.reauthenticator(),
            forwarded_as=None if self.forwarded is None else self.forwarded.connection,
        )
        # On a task of its own, so that the request and everything that Tornado keeps for it can be freed.
        session.start(hub, peer, after, epoch)

    async def show(self, room: str) -> None:
        if self.denied is not None:
            await self.finish_page(render_start(room, self.context.base, session=False) + render_invite())
            return
        self.authorize(room, Role.READ)
        await self.start_page(render_start(room, self.context.base, session=True))
        hub, user = self.context.hub, self.identity.principal
        try:
            view = partial(hub.log.room_view, room, limit=DEFAULT_PAGE_MESSAGES)
            bounds, bodies = await self.read(hub.shares.reads, view)
            read = await hub.reading.position(user, room, bounds.seq)
        except (HTTPError, ServerError):  # too late for another status: the view asks again
            self.error_code = "unavailable"
            self.log_exception(*sys.exc_info())
            await self.finish_page(render_failure())
            return
        state = PageState(epoch=hub.log.epoch, seq=bounds.seq, oldest=bounds.oldest, user=user, read=read)
        await self.finish_page(render_messages(room, self.context.base, hub.live.newest(room, bodies), state))


class JoinCheckHandler(Handler):
    """``GET /rooms/{room}/join``: whether a WebSocket may join now. A browser does not show scripts why a handshake failed."""

    def get(self, room: str) -> None:
        self.authorize(room, Role.READ)
        check_join(self, requested_name(self))
        self.set_status(HTTPStatus.NO_CONTENT)


def requested_name(handler: Handler) -> str | None:
    """The name in the join query, cut to the longest name allowed; None if there is none."""
    return handler.get_query_argument("user", "")[: handler.context.hub.limits.user] or None


def check_join(handler: Handler, user: str | None) -> None:
    """Raises ApiError if the name is taken by another member, or if there are too many connections."""
    service, identity = handler.context, handler.identity
    if user and not service.hub.policy.authenticator.may_use_name(identity, user):
        raise ApiError.of(name_taken(user))
    who = identity.principal or handler.address
    if crowded := service.connection_limiter.check(who, handler.address, service.hub.addresses):
        raise ApiError.of(crowded)
