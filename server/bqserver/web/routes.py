"""The table of routes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable

from tornado.routing import URLSpec
from tornado.web import StaticFileHandler

from bqserver.fairness.pace import hold_unsent
from bqwidget.protocol import printable

from .attachments import DownloadHandler, UploadHandler
from .context import AppContext
from .errors import ApiError
from .gateway.reports import ReportHandler
from .handler import Handler
from .messages import MessagesHandler, RawLogHandler, SearchHandler
from .metrics import MetricsHandler
from .moderation import ModerationHandler
from .pages.index import IndexHandler
from .pages.room import JoinCheckHandler, RoomPageHandler
from .pages.template import STATIC_FOLDER
from .reading import ReadHandler
from .rooms import RoomsHandler
from .sessions import InvitesHandler, NoInvitesHandler, SessionHandler

FILE_CHUNK_BYTES = 64 * 1024
"""Bytes that Tornado reads and writes of a file at once."""


def routes(context: AppContext, *, with_invites: bool = True) -> list[URLSpec]:
    """Every route below ``context.base``; a service of JupyterHub has the same ones, without invites."""
    base, kwargs = re.escape(context.base), {"context": context}
    table: list[tuple[str, type]] = [
        (r"", IndexHandler),
        (r"health", HealthHandler),
        (r"metrics", MetricsHandler),
        (r"messages", MessagesHandler),
        (r"rooms", RoomsHandler),
        (r"rooms/([^/]*)", RoomPageHandler),
        (r"rooms/([^/]*)/messages", MessagesHandler),
        (r"rooms/([^/]*)/join", JoinCheckHandler),
        (r"rooms/([^/]*)/log", RawLogHandler),
        (r"rooms/([^/]*)/search", SearchHandler),
        (r"rooms/([^/]*)/moderation", ModerationHandler),
        (r"rooms/([^/]*)/read", ReadHandler),
        (r"rooms/([^/]*)/parts", UploadHandler),
        (r"rooms/([^/]*)/parts/([^/]*)", DownloadHandler),
        (r"invites", InvitesHandler if with_invites else NoInvitesHandler),
        (r"session", SessionHandler if with_invites else NoInvitesHandler),
    ]
    if context.gateway is not None:
        table.append((r"gateway", ReportHandler))
    specs = [URLSpec(f"{base}{path}", handler, kwargs) for path, handler in table]
    return [*specs, URLSpec(f"{base}static/([a-z.]+)", StaticHandler, {"path": str(STATIC_FOLDER), **kwargs})]


class NotFoundHandler(Handler):
    """Answers every path that is not a route."""

    public = True

    def prepare(self) -> None:
        super().prepare()
        raise ApiError(404, "not_found", f"there is nothing at {printable(self.request.path)}")


class HealthHandler(Handler):
    public = True

    async def get(self) -> None:
        if not self.context.hub.log.healthy():
            raise ApiError(503, "unavailable", "the log can't be written", retry_after=5)
        await self.finish_json(b'{"ok":true}')


class StaticHandler(Handler, StaticFileHandler):
    """The built view, which is public: it holds nothing about any room."""

    public = True

    def initialize(self, context: AppContext, path: str) -> None:  # type: ignore[override]
        Handler.initialize(self, context)
        StaticFileHandler.initialize(self, path)

    def head(self, *args: str) -> Awaitable[None]:
        return StaticFileHandler.head(self, *args)

    def compute_etag(self) -> str | None:
        return StaticFileHandler.compute_etag(self)

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:  # noqa: FBT001, FBT002 - Tornado's
        written = super().flush(include_footers)
        hold_unsent(self.client_stream, written, self.context.hub.shares.outgoing, self.member, FILE_CHUNK_BYTES)
        return written

    def set_extra_headers(self, path: str) -> None:
        del path
        self.set_header("Cache-Control", "no-cache")
