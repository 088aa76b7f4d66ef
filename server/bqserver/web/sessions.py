"""Invites, and the sessions that they are exchanged for."""

from __future__ import annotations

import time
from http import HTTPStatus

from bqserver.errors import TooManyInvites
from bqwidget import protocol
from bqwidget.protocol import MAX_INVITE_MINUTES, MAX_INVITE_USES, encode

from .body import BodyHandler
from .errors import ApiError
from .handler import COOKIE_DAYS, Handler
from .requests import cookie_name


class InviteRequest(protocol.Struct, frozen=True):
    """The body. ``myself``: for the sender's own browser, under the name of their token."""

    uses: int = 1
    minutes: float = 10
    myself: bool = False


class InvitesHandler(BodyHandler):
    """``POST /invites``, with a token. A session can't make invites, so a leaked session does not multiply."""

    async def post(self) -> None:
        refuse_invites(self)
        grant = self.identity.grant
        if not self.identity.is_program:
            raise ApiError(403, "forbidden", "making an invite needs a token")
        if grant is not None and grant.read_only:
            raise ApiError(403, "read_only", "a read-only token can't make invites")
        wanted = self.decoded_body(InviteRequest)
        if not (1 <= wanted.uses <= MAX_INVITE_USES and 0 < wanted.minutes <= MAX_INVITE_MINUTES):
            raise ApiError(
                400, "bad_field", f"uses must be 1 to {MAX_INVITE_USES}, minutes up to {MAX_INVITE_MINUTES:,}"
            )
        if wanted.myself and (grant is None or wanted.uses > 1):
            raise ApiError(400, "bad_field", "myself is for a named token, and for one use")
        try:
            code = await self.context.authenticator.create_invite(
                uses=wanted.uses, minutes=wanted.minutes, by=self.identity, myself=wanted.myself
            )
        except TooManyInvites as error:
            raise ApiError(429, "too_many_invites", str(error), retry_after=error.retry_after) from None
        expires = int((time.time() + wanted.minutes * 60) * 1000)
        self.context.hub.audit.record(
            "invite", self.identity, address=self.address, uses=wanted.uses, minutes=wanted.minutes
        )
        await self.finish_json(encode({"code": code, "uses": wanted.uses, "expires": expires}), HTTPStatus.CREATED)


class RedeemRequest(protocol.Struct, frozen=True):
    invite: str


class SessionHandler(BodyHandler):
    """``POST /session``: exchange an invite for a cookie that no script can read and no other site can send."""

    public = True

    async def post(self) -> None:
        refuse_invites(self)
        code = self.decoded_body(RedeemRequest).invite
        self.check_throttle(code)
        session = await self.context.authenticator.redeem_invite(code)
        if session is None:
            self.context.login_throttle.record_failure(self.address)
            raise ApiError(403, "bad_invite", "this invite was used or has expired: ask for a new one")
        self.set_signed_cookie(
            cookie_name(self.request),
            session,
            expires_days=COOKIE_DAYS,
            path=self.context.base,
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
        )
        self.set_status(HTTPStatus.NO_CONTENT)


class NoInvitesHandler(Handler):
    """As a service of JupyterHub, which has logins of its own: an invite would bypass them."""

    def post(self) -> None:
        raise no_invites()


def refuse_invites(handler: Handler) -> None:
    """Raises ApiError behind a gateway, which has logins of its own."""
    if handler.forwarded is not None:
        raise no_invites()


def no_invites() -> ApiError:
    return ApiError(403, "no_invites", "invites are not used here, logins are: share the page's address")
