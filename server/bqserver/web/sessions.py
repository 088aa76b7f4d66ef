"""The routes by which people come in and go: invites, sessions, and what moderators order."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Literal

import msgspec

from bqserver.auth.moderation import Mute
from bqserver.model import Role
from bqwidget import protocol
from bqwidget.protocol import encode

from .body import JSONHandler
from .handler import COOKIE_DAYS, ApiError, Handler, cookie_name

INVITE_USES, INVITE_MINUTES = 100, 7 * 24 * 60


class Order(protocol.Struct, frozen=True):
    """What a moderator wants. ``minutes`` limits a mute; without it, it lasts until it is lifted."""

    do: Literal["close", "reopen", "mute", "unmute"]
    user: str | None = None
    minutes: float | None = None


class Moderate(JSONHandler):
    """Close a room and open it again, mute a member and lift that. Deleting is ``chat.delete``, as for one's own."""

    async def post(self, room: str) -> None:
        self.enter(room, Role.MODERATE)
        hub, principal = self.service.hub, self.identity.principal or ""
        try:
            order = msgspec.json.decode(self.body(), type=Order)
        except protocol.NOT_JSON as error:
            raise ApiError(400, "bad_json", f"the order is not understood: {error}") from None
        mutes = order.do in ("mute", "unmute")
        if mutes != bool(order.user) or (
            order.minutes is not None and (order.do != "mute" or order.minutes <= 0)
        ):
            raise ApiError(
                400, "bad_field", "mute and unmute name a user, the others none; minutes is for mute alone"
            )
        state = hub.policy.moderation
        hub.audit.record(
            f"moderate {order.do}", self.identity, room=room, address=self.address, user=order.user
        )
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
        await state.flush()
        self.set_status(HTTPStatus.NO_CONTENT)


class NewInvite(protocol.Struct, frozen=True):
    """``myself``: for a browser of the asker's own, under the name of their token."""

    uses: int = 1
    minutes: float = 10
    myself: bool = False


class Invites(JSONHandler):
    """A token makes invites; a session can't, so what leaks from a page does not multiply."""

    async def post(self) -> None:
        grant = self.identity.grant
        if not self.identity.is_program:
            raise ApiError(403, "forbidden", "invites are made with a token")
        if grant is not None and grant.read_only:
            raise ApiError(403, "read_only", "a read-only token makes no invites")
        try:
            wanted = msgspec.json.decode(self.body() or b"{}", type=NewInvite)
        except protocol.NOT_JSON as error:
            raise ApiError(400, "bad_json", f"the invite is not understood: {error}") from None
        if not (1 <= wanted.uses <= INVITE_USES and 0 < wanted.minutes <= INVITE_MINUTES):
            raise ApiError(
                400, "bad_field", f"uses must be 1 to {INVITE_USES}, minutes up to {INVITE_MINUTES:,}"
            )
        if wanted.myself and (grant is None or wanted.uses > 1):
            raise ApiError(400, "bad_field", "myself is for a named token, and for one use")
        code = await self.service.authenticator.create_invite(
            uses=wanted.uses, minutes=wanted.minutes, by=self.identity, myself=wanted.myself
        )
        expires = int((time.time() + wanted.minutes * 60) * 1000)
        self.service.hub.audit.record(
            "invite", self.identity, address=self.address, uses=wanted.uses, minutes=wanted.minutes
        )
        self.reply(encode({"code": code, "uses": wanted.uses, "expires": expires}), HTTPStatus.CREATED)


class Redeem(protocol.Struct, frozen=True):
    invite: str


class Session(JSONHandler):
    """An invite is swapped for a cookie that no script can read and no other site can send."""

    public = True

    async def post(self) -> None:
        try:
            code = msgspec.json.decode(self.body(), type=Redeem).invite
        except protocol.NOT_JSON as error:
            raise ApiError(400, "bad_json", f"the invite is not understood: {error}") from None
        self.check_lock(code)
        session = await self.service.authenticator.redeem_invite(code)
        if session is None:
            self.service.login_throttle.record_failure(self.address)
            raise ApiError(403, "bad_invite", "this invite was used or has expired: ask for a new one")
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


class NoInvites(Handler):
    """Where somebody else does the logging in, a one-time code would lead past it."""

    def post(self) -> None:
        raise ApiError(403, "no_invites", "who may log in here is in: share the page's address")
