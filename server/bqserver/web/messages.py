"""The routes of messages: list, post, search, the raw log, and the list of rooms."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from bqserver.hub.drafts import Poster, accept
from bqserver.model import Rejected, Role, Stored, Submission
from bqserver.storage.interface import messages_around, messages_at
from bqwidget.protocol import decode_post

from .body import BodyHandler
from .errors import ApiError, bad_request
from .handler import Handler
from .pages.template import DEFAULT_PAGE_MESSAGES

LOBBY = "lobby"

MAX_PAGE_MESSAGES = 200

MAX_QUERY_LENGTH = 200


class MessagesHandler(BodyHandler):
    """``GET`` and ``POST /rooms/{room}/messages``; ``/messages`` is the recipe's name for the room ``lobby``."""

    async def get(self, room: str = LOBBY) -> None:
        self.authorize(room, Role.READ)
        hub = self.context.hub
        limit = self.query_integer("limit", 1, MAX_PAGE_MESSAGES) or DEFAULT_PAGE_MESSAGES
        before, after, around, at = (self.query_integer(name, 0) for name in ("before", "after", "around", "at"))
        if around is None and at is None:
            pinned = self.query_integer("pinned", 0, 1) == 1
            query = partial(hub.log.messages, room, limit=limit, before=before, after=after, pinned=pinned)
        elif [before, after, around, at].count(None) < 3:  # noqa: PLR2004 - of the four, one is given
            name = "at" if around is None else "around"
            raise ApiError(400, f"bad_{name}", f"{name} can't be combined with another position: give one of them")
        elif at is not None:
            query = partial(messages_at, hub.log, room, at, limit)
        else:
            query = partial(messages_around, hub.log, room, around or 0, limit)
        # Not in a variable, which would keep the bodies as long as the answer.
        await self.finish_json(b"[%b]" % b",".join(hub.live.newest(room, await self.read(hub.shares.reads, query))))

    async def post(self, room: str = LOBBY) -> None:
        hub = self.context.hub
        self.authorize(room, Role.WRITE)
        with bad_request():
            decision = accept(hub, Poster(self.identity, room, self.address), decode_post(self.body()))
        self.rate_counted = not isinstance(decision, Rejected)
        if not isinstance(decision, Submission | Rejected):
            decision = await decision
        if isinstance(decision, Rejected):
            raise ApiError.of(decision)
        outcome = await hub.append(decision)
        if not isinstance(outcome, Stored):
            raise ApiError.of(outcome)
        await self.finish_json(outcome.body, HTTPStatus.OK if outcome.dup else HTTPStatus.CREATED)


class RawLogHandler(Handler):
    """``GET /rooms/{room}/log``: the entries as they were appended, changes too."""

    async def get(self, room: str) -> None:
        self.authorize(room, Role.READ)
        hub = self.context.hub
        query = partial(
            hub.log.entries,
            room,
            after=self.query_integer("after", 0) or 0,
            upto=(1 << 40) - 1,
            limit=self.query_integer("limit", 1, MAX_PAGE_MESSAGES) or DEFAULT_PAGE_MESSAGES,
        )
        await self.finish_json(b"[%b]" % b",".join([entry.body for entry in await self.read(hub.shares.reads, query)]))


class SearchHandler(Handler):
    """``GET /rooms/{room}/search?q=``: the newest messages that hold all the words, oldest first."""

    async def get(self, room: str) -> None:
        self.authorize(room, Role.READ)
        words = self.get_query_argument("q", "")
        if not 0 < len(words.strip()) <= MAX_QUERY_LENGTH:
            raise ApiError(400, "bad_q", f"q must be the words to look for, up to {MAX_QUERY_LENGTH} characters")
        limit = self.query_integer("limit", 1, MAX_PAGE_MESSAGES) or DEFAULT_PAGE_MESSAGES
        hub = self.context.hub
        query = partial(hub.log.search, room, words, limit=limit)
        await self.finish_json(b"[%b]" % b",".join(await self.read(hub.shares.searches, query)))
