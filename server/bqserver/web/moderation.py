"""``/rooms/{room}/moderation``: close and reopen a room, mute and unmute a member; what is in force."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from bqserver.auth.moderation import Mute
from bqserver.clock import steady_time
from bqserver.model import Role
from bqwidget import protocol
from bqwidget.protocol import MAX_MUTE_MINUTES, encode

from .body import BodyHandler
from .errors import ApiError


class ModerationRequest(protocol.Struct, frozen=True):
    """The body. ``minutes`` limits a mute; without it the mute lasts until ``unmute``."""

    do: Literal["close", "reopen", "mute", "unmute"]
    user: str | None = None
    minutes: float | None = None


class ModerationHandler(BodyHandler):
    """For moderators of the room. They delete messages with ``chat.delete``, like authors."""

    async def get(self, room: str) -> None:
        """Whether the room is closed, and who is muted; ``until`` in milliseconds since the epoch."""
        self.authorize(room, Role.MODERATE)
        state = self.context.hub.policy.moderation
        mutes = [
            {"user": one.user, "by": one.by} | ({} if one.until is None else {"until": int(one.until * 1000)})
            for one in state.mutes(room)
        ]
        await self.finish_json(encode({"closed": state.is_closed(room), "mutes": mutes}))

    async def post(self, room: str) -> None:
        self.authorize(room, Role.MODERATE)
        hub, principal = self.context.hub, self.identity.principal or ""
        order = self.decoded_body(ModerationRequest)
        mutes = order.do in ("mute", "unmute")
        if mutes != bool(order.user) or (order.minutes is not None and (order.do != "mute" or order.minutes <= 0)):
            raise ApiError(
                400,
                "bad_field",
                "mute and unmute need a user, close and reopen take none; only mute takes minutes",
            )
        if order.user is not None and len(order.user) > hub.limits.user:
            message = f"user has {len(order.user):,} characters; the limit is {hub.limits.user:,}"
            raise ApiError(400, "too_long", message)
        if order.minutes is not None and order.minutes > MAX_MUTE_MINUTES:
            raise ApiError(400, "bad_field", f"minutes: up to {MAX_MUTE_MINUTES:,}; without it a mute has no end")
        state = hub.policy.moderation
        if order.do in ("mute", "close") and (full := state.why_full(closing=order.do == "close")):
            raise ApiError(409, "too_many_orders", full)
        hub.audit.record(f"moderate {order.do}", self.identity, room=room, address=self.address, user=order.user)
        match order.do:
            case "close":
                state.close(room, principal)
                hub.review()
            case "reopen":
                state.reopen(room)
            case "mute":
                until = steady_time() + order.minutes * 60 if order.minutes else None
                state.mute(Mute(room=room, user=order.user or "", by=principal, until=until))
            case "unmute":
                state.unmute(room, order.user or "")
        await state.flush()
        self.set_status(HTTPStatus.NO_CONTENT)
