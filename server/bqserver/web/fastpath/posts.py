"""The lean path for posts: which requests are taken, while they are still in the socket, and what is answered.

Tornado's HTTP and a RequestHandler cost more than all the rest of a post. So a plain one goes past them, and **in
doubt, Tornado**: whatever is not a whole, plain post that is going to be appended stays where it is, and Tornado
reads the same bytes and gives the one true answer. So nothing is refused here but by the log itself.
"""

from __future__ import annotations

import time
from functools import lru_cache, partial
from typing import NamedTuple

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
"""Bytes of a request; a longer one is Tornado's."""
MAX_HEAD_BYTES = 2048
HEAD_CACHE_SIZE = 1000
"""Heads that are known by heart: clients say the same words again and again."""


class FoundPost(NamedTuple):
    """A post in a socket: how many bytes to take, and what to append. None: they are still to come, and that is
    all there is to wait for.
    """

    size: int
    submission: Submission | None


class FastPath:
    """Whatever a post needs is asked anew each time; only how a head reads, and whether a Host is ours, is kept."""

    def __init__(self, service: AppContext) -> None:
        self.hub = service.hub
        self._service = service
        self._read = lru_cache(HEAD_CACHE_SIZE)(partial(read_head, post_path(service.base)))
        self._allows_host = lru_cache(HEAD_CACHE_SIZE)(service.origins.allows_host)

    def find(self, data: bytes, address: str, connected_to: str) -> FoundPost | None:
        """The post that ``data`` begins with; None: it is Tornado's. ``address``: the client's.

        A whole one has been counted against the rate of whoever sent it, and so is to be submitted.
        """
        service, hub = self._service, self.hub
        start = data.find(HEAD_END, 0, MAX_HEAD_BYTES) + len(HEAD_END)
        head = self._read(data[:start]) if data.startswith(b"POST ") else None
        if head is None or head.length > min(MAX_REQUEST_BYTES - start, hub.limits.frame):
            return None
        if hub.audit.enabled or not self._allows_host(head.host, connected_to):
            return None  # the audit log's line is Tornado's to write
        key, room, size = head.authorization, head.room or LOBBY, start + head.length
        if key is not None and service.login_throttle.check(address, key):
            return None
        found = service.authenticator.identify(key, None)
        if not isinstance(found, Identity):
            return None
        identity = hub.policy.authorize(found, room, Role.WRITE)
        if not isinstance(identity, Identity):
            return None
        if len(data) < size:
            return FoundPost(size, None)
        try:
            post = decode_post(data[start:size])
            # Attachments may have to be waited for: Tornado does that.
            decision = None if post.parts else accept(hub, Poster(identity, room, address), post)
        except ProtocolError:
            return None
        if not isinstance(decision, Submission):
            return None
        hub.policy.authenticator.reserve_name(found)
        if key is not None:
            service.login_throttle.record_success(address, key)
        return FoundPost(size, decision)

    def response(self, outcome: Outcome) -> bytes:
        """The answer's bytes; it is counted as given."""
        now, audit = int(time.time()), self.hub.audit
        if isinstance(outcome, Stored):
            status = 200 if outcome.dup else 201
            data = response(status, outcome.body, now)
        else:
            status = outcome.status
            body = error_body(outcome.code, outcome.message)
            data = response(status, body, now, retry_after=outcome.retry_after)
            audit.counters.rejections[outcome.code] += 1
        audit.counters.requests[status] += 1
        return data
