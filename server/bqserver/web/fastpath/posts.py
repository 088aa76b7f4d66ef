"""Decides which posts take the fast path, while they are still in the socket, and makes their responses.

Tornado's HTTP and a RequestHandler cost more than all other work for a post. So a plain post bypasses them; **if in
doubt, Tornado**: any request that is not a complete, plain post about to be appended stays in the socket, and Tornado
reads the same bytes and answers. So nothing is rejected here, except by the log itself.
"""

from __future__ import annotations

import time
from functools import lru_cache, partial

from msgspec import Struct

from bqserver.auth.identity import Identity
from bqserver.hub.drafts import Poster, accept
from bqserver.model import Outcome, Role, Stored, Submission
from bqserver.web.context import AppContext
from bqserver.web.errors import error_body
from bqserver.web.messages import LOBBY
from bqwidget.errors import ProtocolError
from bqwidget.protocol import decode_post

from .parser import HEAD_END, post_path, read_head, response

MAX_REQUEST_BYTES = 64 * 1024
"""Bytes of the longest request taken here; Tornado handles longer ones."""
MAX_HEAD_BYTES = 2048
HEAD_CACHE_SIZE = 1000
"""Parsed heads that are kept: a client sends the same head again and again."""


class FoundPost(Struct, frozen=True, gc=False):
    """A post in a socket: its bytes, and what to append; None while its body has not arrived completely."""

    size: int
    submission: Submission | None


class FastPath:
    """Every check is made for every post; only parsed heads and allowed hosts are cached."""

    def __init__(self, context: AppContext) -> None:
        self.hub = context.hub
        self._context = context
        self._read = lru_cache(HEAD_CACHE_SIZE)(partial(read_head, post_path(context.base)))
        self._allows_host = lru_cache(HEAD_CACHE_SIZE)(context.origins.allows_host)

    def find(self, data: bytes, address: str, connected_to: str) -> FoundPost | None:
        """The post that ``data`` begins with; None if Tornado is to handle it. ``address``: the client's.

        A complete post has been counted against its author's rate, so the caller must submit it.
        """
        context, hub = self._context, self.hub
        start = data.find(HEAD_END, 0, MAX_HEAD_BYTES) + len(HEAD_END)
        head = self._read(data[:start]) if data.startswith(b"POST ") else None
        if head is None or head.length > min(MAX_REQUEST_BYTES - start, hub.limits.frame):
            return None
        if hub.audit.enabled or not self._allows_host(head.host, connected_to):
            return None  # the handlers write the audit log
        key, room, size = head.authorization, head.room or LOBBY, start + head.length
        if key is not None and context.login_throttle.check(address, key):
            return None
        found = context.authenticator.identify(key, None)
        if not isinstance(found, Identity):
            return None
        identity = hub.policy.authorize(found, room, Role.WRITE)
        if not isinstance(identity, Identity):
            return None
        if len(data) < size:
            return FoundPost(size, None)
        try:
            post = decode_post(data[start:size])
            # A post with attachments has to wait for them: Tornado handles it.
            decision = None if post.parts else accept(hub, Poster(identity, room, address), post)
        except ProtocolError:
            return None
        if not isinstance(decision, Submission):
            return None
        hub.policy.authenticator.reserve_name(found)
        if key is not None:
            context.login_throttle.record_success(address, key)
        return FoundPost(size, decision)

    def response(self, outcome: Outcome) -> bytes:
        """The response's bytes; counts it."""
        now, audit = int(time.time()), self.hub.audit
        if isinstance(outcome, Stored):
            status = 200 if outcome.dup else 201
            data = response(status, outcome.body, now)
        else:
            status = outcome.status
            body = error_body(outcome.code, outcome.message, outcome.field)
            data = response(status, body, now, retry_after=outcome.retry_after)
            audit.counters.rejections[outcome.code] += 1
        audit.counters.requests[status] += 1
        return data
