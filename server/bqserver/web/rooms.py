"""The list of rooms: all that a member may read."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from bqserver.auth.identity import Identity
from bqserver.hub.hub import Hub
from bqserver.model import Role
from bqwidget.protocol import encode

from .handler import Handler
from .reading import Unread, count_unread, read_positions

ROOMS_PER_TURN = 500
"""Rooms that are listed in one turn of the event loop: others' work goes on between them."""


class ListedRoom(NamedTuple):
    """``seq``: of its newest entry. ``members``: connections now, on all nodes. ``unread``: of a verified member."""

    name: str
    seq: int
    members: int
    unread: Unread | None = None

    def fields(self) -> dict[str, object]:
        unread = {} if self.unread is None else self.unread._asdict()
        return {"name": self.name, "seq": self.seq, "members": self.members, **unread}


async def readable_rooms(handler: Handler, identity: Identity) -> list[ListedRoom]:
    """The rooms that ``identity`` may read, by name; ``handler`` reads them from the log."""
    hub: Hub = handler.context.hub
    known = {row.name: row.seq for row in await handler.read(hub.shares.reads, hub.log.rooms)}
    remote = {} if hub.membership is None else await hub.membership.remote_peer_counts()
    everywhere = sorted({*known, *hub.rooms, *remote})
    found: list[ListedRoom] = []
    for start in range(0, len(everywhere), ROOMS_PER_TURN):
        if start:
            await asyncio.sleep(0)
        for name in everywhere[start : start + ROOMS_PER_TURN]:
            if not hub.policy.check_role(identity, name, Role.READ):
                here = len(hub.rooms[name].peers) if name in hub.rooms else 0
                found.append(ListedRoom(name, known.get(name, 0), remote.get(name, 0) + here))
    return found if identity.principal is None else await _with_unread(handler, identity.principal, found)


async def _with_unread(handler: Handler, user: str, rooms: list[ListedRoom]) -> list[ListedRoom]:
    positions = await read_positions(handler, user)
    found = []
    for room in rooms:
        read = positions.get(room.name, 0)
        unread = await count_unread(handler, room.name, read, user) if read < room.seq else Unread(0, 0)
        found.append(room._replace(unread=unread))
    return found


class RoomsHandler(Handler):
    """``GET /rooms``."""

    async def get(self) -> None:
        rooms = await readable_rooms(self, self.identity)
        await self.finish_json(b"[%b]" % b",".join([encode(room.fields()) for room in rooms]))
