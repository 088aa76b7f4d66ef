"""How far verified members have read: what is unread in their rooms, and ``POST /rooms/{room}/read``."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import msgspec

from bqserver.model import Role
from bqwidget import protocol
from bqwidget.protocol import Message, encode, mentions

from .body import BodyHandler
from .errors import ApiError
from .handler import Handler

MAX_COUNTED_MESSAGES = 200
"""Messages of a room that are counted as unread at most: one page of the log."""

_decode = msgspec.json.Decoder(Message).decode


class Unread(NamedTuple):
    """Messages of others that the member has not read, at most MAX_COUNTED_MESSAGES, and how many of them mention the member."""

    unread: int
    mentions: int


async def read_positions(handler: Handler, user: str) -> dict[str, int]:
    """The positions of a verified member, by room; ``handler`` reads them."""
    hub = handler.context.hub
    return await handler.read(hub.shares.reads, partial(hub.log.read_positions.all, user))


async def count_unread(handler: Handler, room: str, after: int, user: str) -> Unread:
    """What the verified ``user`` has not read of ``room``, whose messages up to ``after`` are read."""
    hub = handler.context.hub
    query = partial(hub.log.messages, room, limit=MAX_COUNTED_MESSAGES, after=after)
    messages = [_decode(body) for body in await handler.read(hub.shares.reads, query)]
    unread = [
        message
        for message in messages
        if not message.deleted and not message.live and not (message.verified and message.user == user)
    ]
    return Unread(len(unread), sum(mentions(message.text, user) for message in unread))


class ReadRequest(protocol.Struct, frozen=True):
    seq: int


class ReadHandler(BodyHandler):
    """``POST /rooms/{room}/read {"seq"}``: what ``chat.read`` does, answered when it is stored, with the position."""

    async def post(self, room: str) -> None:
        self.authorize(room, Role.READ)
        user, hub = self.identity.principal, self.context.hub
        if user is None:
            raise ApiError(403, "unverified", "how far you have read is kept for verified members: use a named token")
        try:
            seq = msgspec.json.decode(self.body(), type=ReadRequest).seq
        except protocol.NOT_JSON as error:
            raise ApiError(400, "bad_json", f"the body is not understood: {error}") from None
        bounds = await self.read(hub.shares.reads, partial(hub.log.bounds, room))
        position = {(user, room): min(seq, bounds.seq)}
        if position[user, room] > 0:
            await self.read(hub.shares.reads, partial(hub.log.read_positions.advance, position))
            hub.reading.tell(position)
        stored = await self.read(hub.shares.reads, partial(hub.log.read_positions.get, user, room))
        await self.finish_json(encode({"seq": stored}))
