"""The address of the server itself: the rooms that a browser may read, or a box for an invite."""

from __future__ import annotations

from bqserver.web.rooms import readable_rooms

from .page import PageHandler
from .template import render_rooms


class IndexHandler(PageHandler):
    """``GET /``."""

    async def get(self) -> None:
        has_session = self.denied is None
        rooms = await readable_rooms(self, self.identity) if has_session else []
        await self.finish_page(render_rooms(rooms, base=self.context.base, session=has_session))
