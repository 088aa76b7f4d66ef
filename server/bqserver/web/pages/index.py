"""The address of the server itself: the rooms that a browser may read, or a box for an invite."""

from __future__ import annotations

from bqserver.web.rooms import readable_rooms

from .page import PageHandler
from .template import render_invite, render_rooms, render_start


class IndexHandler(PageHandler):
    """``GET /``."""

    async def get(self) -> None:
        has_session = self.denied is None
        rooms = await readable_rooms(self, self.identity) if has_session else []
        base = self.context.base
        start = render_start("", base, session=has_session)
        await self.finish_page(start + (render_rooms(rooms, base) if has_session else render_invite()))
