"""What every handler does: check Host, Origin and identity first, and answer in JSON, errors too."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from http.client import responses
from typing import Any

from tornado.web import HTTPError

from bqserver.auth.gateway import Forwarded
from bqserver.auth.identity import UNVERIFIED, Denied, Identity
from bqserver.auth.origins import strip_port
from bqserver.errors import ServerError, ServerStopping
from bqserver.fairness.handler import FairHandler
from bqserver.model import Rejected, Role
from bqwidget.protocol import check_room, printable

from .context import AppContext
from .errors import ApiError, bad_request, error_body
from .requests import (
    JSON,
    apply_forwarded,
    cookie_name,
    is_json,
    is_upgrade,
    retry_header,
    server_address,
    session_cookie,
    whole_number,
)

_log = logging.getLogger("bqserver.http")

COOKIE_DAYS = 30
MAX_LOGGED_PATH = 200
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
HEADERS = (
    ("Content-Type", JSON),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class Handler(FairHandler):
    """The base of all handlers.

    ``public`` handlers answer without an identity too; ``denied`` says why there is none. ``room`` and ``error_code`` are
    for the audit log. ``cors_origin``: the origin of an allowed page, which may read the answer (CORS). ``forwarded``:
    what a gateway says of the request, if one has forwarded it.
    """

    public = False
    identity = UNVERIFIED
    denied: Denied | None = None
    room: str | None = None
    error_code: str | None = None
    cors_origin: str | None = None
    forwarded: Forwarded | None = None
    rate_counted = False
    """Whether the request has been counted towards the rate of its author."""

    def initialize(self, context: AppContext) -> None:
        self.context = context
        if context.behind_proxy:
            apply_forwarded(self.request)
        if context.gateway is not None and (forwarded := context.gateway.read(self.request.headers)) is not None:
            self.forwarded, self.request.remote_ip = forwarded, forwarded.address
            self.context = dataclasses.replace(context, base=forwarded.base)
            context.hub.note_activity()  # a side panel that asks for its rooms keeps the server

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS:
            self.set_header(name, value)
        if self.cors_origin is not None:  # on errors too: Tornado clears the headers before it writes an error
            self.set_header("Access-Control-Allow-Origin", self.cors_origin)
            self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
            self.set_header("Vary", "Origin")

    def prepare(self) -> Awaitable[None] | None:
        if self.forwarded is not None:  # its gateway has checked where it comes from
            self.accept_identity(self.forwarded.member.identity())
            return None
        self.check_source()
        self.check_throttle(self.request.headers.get("Authorization"))
        found = self.identify()
        if not isinstance(found, Identity | Denied):
            return self._accept_identity_later(found)
        self.accept_identity(found)
        return None

    async def _accept_identity_later(self, found: Awaitable[Identity | Denied]) -> None:
        self.accept_identity(await found)

    def check_throttle(self, key: str | None) -> None:
        """Raises ApiError if this address has tried too many wrong tokens or invites."""
        if key is not None and (locked := self.context.login_throttle.check(self.address, key)):
            raise ApiError.of(locked)

    @property
    def address(self) -> str:
        return self.request.remote_ip or ""

    def accept_identity(self, found: Identity | Denied) -> None:
        key = self.request.headers.get("Authorization")
        if isinstance(found, Identity):
            self.identity = found
            self.context.hub.policy.authenticator.reserve_name(found)
            if key is not None:
                self.context.login_throttle.record_success(self.address, key)
            return
        if key is not None:
            self.context.login_throttle.record_failure(self.address)
        self.denied = found
        if not self.public and self.request.method != "OPTIONS":
            self.require_identity()

    def require_identity(self) -> None:
        if self.denied is not None:
            raise ApiError(401, *self.denied)

    def authorize(self, room: str, role: Role) -> None:
        """Raises ApiError unless ``room`` is a room name and the sender has at least ``role`` there."""
        with bad_request():
            check_room(room)
        self.room = room
        self.require_identity()
        # Asked again here, for the body may have taken long to arrive.
        found = self.context.hub.policy.authorize(self.identity, room, role)
        if isinstance(found, Rejected):
            raise ApiError.of(found)
        self.identity = found

    def check_source(self) -> None:
        """Raises ApiError unless Host and Origin are allowed."""
        request, origins = self.request, self.context.origins
        if not origins.allows_host(request.host, server_address(request)):
            name = printable(strip_port(request.host))
            raise ApiError(403, "bad_host", f"Host {name} is not served here: allow it with --allow-host")
        origin = request.headers.get("Origin")
        if origin is None:
            self.check_no_origin()
        elif not origins.allows_origin(origin, request.host, request.protocol):
            raise ApiError(
                403, "bad_origin", f"Origin {printable(origin)} is not allowed: allow it with --allow-origin"
            )
        elif origins.allows_cors(origin):
            self.cors_origin = origin
            self.set_default_headers()

    def check_no_origin(self) -> None:
        """Browsers send Origin with every request that can change something; without it only a token is accepted."""
        safe = self.request.method in SAFE_METHODS and not is_upgrade(self.request)
        if not safe and "Cookie" in self.request.headers and "Authorization" not in self.request.headers:
            raise ApiError(403, "bad_origin", "Origin is missing: only a request with a bearer token may omit it")

    def identify(self) -> Identity | Denied | Awaitable[Identity | Denied]:
        authorization = self.request.headers.get("Authorization")
        session = None
        if authorization is None and not self.context.authenticator.is_open:
            value = session_cookie(self.request)
            session = self.get_signed_cookie(cookie_name(self.request), value, max_age_days=COOKIE_DAYS)
        return self.context.authenticator.identify(authorization, session)

    def reauthenticator(self) -> Callable[[], Awaitable[Identity | Denied]] | None:
        """A function that asks again who this is; None where the server itself follows every change."""
        return None

    def head(self, *args: str) -> Awaitable[None] | None:
        """The same as GET; Tornado omits the body."""
        if "GET" not in self.methods():
            raise HTTPError(405)
        answer: Awaitable[None] | None = self.get(*args)
        return answer

    @classmethod
    def methods(cls) -> list[str]:
        """The methods that this handler implements."""
        there = [
            name
            for name in ("GET", "POST", "PUT", "PATCH", "DELETE")
            if getattr(cls, name.lower()) is not cls._unimplemented_method
        ]
        return [*there, *(["HEAD"] if "GET" in there else []), "OPTIONS"]

    def options(self, *_: str) -> None:
        """Answer a preflight; only an allowed origin gets the header that permits the request."""
        self.set_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
        self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
        self.set_status(204)

    def check_json(self) -> None:
        """A form or image of another site can't send this type without a preflight. Raises ApiError (415)."""
        if not is_json(self.request.headers.get("Content-Type", "")):
            raise ApiError(415, "bad_type", f"the body must be {JSON}")

    def query_integer(self, name: str, low: int, high: int | None = None) -> int | None:
        """A whole number from the query string; None if it is absent. Raises ApiError (400)."""
        text = self.get_query_argument(name, None)
        if text is None:
            return None
        value = whole_number(text)
        if value is None or value < low or (high is not None and value > high):
            span = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"
            raise ApiError(400, f"bad_{name}", f"{name} is {printable(text)}; it must be a number, {span}")
        return value

    @property
    def member(self) -> str:
        """The verified name, else the address."""
        return self.identity.principal or self.address

    def overload(self, message: str) -> ApiError:
        return ApiError(503, "overload", message, retry_after=2)

    async def finish_json(self, body: bytes, status: int = 200) -> None:
        self.set_status(status)
        await self.finish_within(self.context.hub.shares.outgoing, body)

    def compute_etag(self) -> str | None:
        return None  # responses are not cached

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ServerStopping):
            failure = ApiError(503, "restart", str(error), retry_after=1)
            status_code, kwargs["exc_info"] = 503, (ApiError, failure, None)
        elif isinstance(error, ServerError):  # its message names files, so it goes to the server's log only
            failure = ApiError(503, "unavailable", "messages can't be read just now: try again", retry_after=5)
            status_code, kwargs["exc_info"] = 503, (ApiError, failure, None)
        elif (
            isinstance(error, ApiError)
            and self._counts_as_message(error)
            and (limited := self.context.hub.too_fast(self.member))
        ):
            failure = ApiError.of(limited)
            status_code, kwargs["exc_info"] = failure.status_code, (ApiError, failure, None)
        super().send_error(status_code, **kwargs)

    def _counts_as_message(self, error: ApiError) -> bool:
        """Whether a refused post counts towards the rate of its author. Wrong tokens have a limit of their own."""
        refused = HTTPStatus.BAD_REQUEST <= error.status_code < HTTPStatus.TOO_MANY_REQUESTS
        return self.request.method == "POST" and refused and self.denied is None and not self.rate_counted

    def log_exception(self, *exc_info: Any) -> None:
        if isinstance(exc_info[1], ServerStopping):
            return
        if isinstance(exc_info[1], ServerError):
            _log.error("%s %s: %s", self.request.method, self.request.path, exc_info[1])
            return
        if not isinstance(exc_info[1], HTTPError):  # a client's mistake is answered, not logged
            super().log_exception(*exc_info)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        phrase = responses.get(status_code, "Unknown")
        code, message, field = (
            phrase.lower().replace(" ", "_"),
            f"{self.request.method} {self.request.path}: {phrase}",
            None,
        )
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, ApiError):
            self.error_code = error.code
            self.context.hub.audit.counters.rejections[error.code] += 1
            code, message, field = error.code, error.message, error.field
            if error.retry_after is not None:
                self.set_header("Retry-After", retry_header(error.retry_after))
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.methods()))
        if status_code == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", "Bearer")
        self.finish(error_body(code, message, field))


def log_request(handler: Handler) -> None:
    """Called by Tornado for every finished request. The path is recorded without its query, which may hold a search."""
    request, audit = handler.request, handler.context.hub.audit
    audit.counters.requests[handler.get_status()] += 1
    if audit.enabled:
        status = handler.get_status()
        # Anyone may ask for what is public (health, the page's files), as often as for what does not exist.
        public = handler.public and handler.room is None and request.method in SAFE_METHODS
        audit.record(
            f"{request.method} {request.path[:MAX_LOGGED_PATH]}",
            handler.identity,
            room=handler.room,
            address=handler.address,
            repeated=f"{status} {handler.error_code}" if public or status >= HTTPStatus.BAD_REQUEST else None,
            status=status,
            code=handler.error_code,
            ms=round(request.request_time() * 1000, 1),
        )
