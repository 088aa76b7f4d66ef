"""Routes as Jupyter handlers: Jupyter's Host and Origin rules, users, authorization and XSRF tokens."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado.httputil import url_concat
from tornado.routing import URLSpec
from tornado.web import HTTPError, RequestHandler, stream_request_body

from bqserver.auth.identity import Denied, Identity, shorten_name
from bqserver.model import Role
from bqserver.web.errors import ApiError
from bqserver.web.handler import SAFE_METHODS, Handler
from bqserver.web.pages.page import PageHandler
from bqserver.web.requests import MAX_UNUSED_BODY_BYTES, is_upgrade

from .kernel_tokens import KernelTokens
from .logouts import LogoutTracker
from .profiles import make_profile

AUTHORIZER_RESOURCE = "bqserver"
"""What Jupyter's authorizer is asked about, with ``read`` and ``write``."""

ANONYMOUS_NAME = re.compile(r"[0-9a-f]{32}")
"""The random user names that Jupyter gives to clients with its shared token; such a name is not verified."""

LOGIN_REQUIRED = Denied("unauthorized", "log in to this Jupyter server first, or send its token")

HTTP_METHODS = ("get", "head", "post", "put", "patch", "delete")


class JupyterHandlerMixin(Handler):
    """Replaces bqserver's authentication by Jupyter's. Mixed in by ``wrap_route``."""

    kernel_tokens: ClassVar[KernelTokens]
    logouts: ClassVar[LogoutTracker]
    unused_bytes = 0

    def check_source(self) -> None:
        """Check the Host only: ``check_page`` checks the Origin if the credential is a cookie."""
        if not as_jupyter_handler(self).check_host():
            raise ApiError(403, "bad_host", "this host name is not allowed: see ServerApp.allow_remote_access")

    def check_xsrf_cookie(self) -> None:
        """Do nothing: Tornado calls this before the user is known; ``check_page`` checks the token."""

    async def identify(self) -> Identity | Denied:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (kernel := self.kernel_tokens.identify(token.strip())):
            return kernel
        handler = as_jupyter_handler(self)
        CallContext.set(CallContext.JUPYTER_HANDLER, handler)
        user = await ensure_async(handler.identity_provider.get_user(handler))
        handler.current_user = handler._jupyter_current_user = user  # noqa: SLF001 - as JupyterHandler.prepare does
        if user is None or (not handler.token_authenticated and self.logouts.has_ended(handler)):
            return LOGIN_REQUIRED
        if not handler.token_authenticated:
            self.check_page(handler)
        max_role = await authorized_role(handler, user)
        return identity_from_user(user)._replace(is_program=handler.token_authenticated, max_role=max_role)

    def reauthenticator(self) -> Callable[[], Awaitable[Identity | Denied]]:
        return self._reauthenticate

    async def _reauthenticate(self) -> Identity | Denied:
        for cached in ("_jupyter_current_user", "_cached_hub_user"):  # else it returns the first answer
            self.__dict__.pop(cached, None)
        return await self.identify()

    def check_page(self, handler: JupyterHandler) -> None:
        """Browsers send the cookie with requests of every page, so the page must be Jupyter's or an allowed one.

        Raises ApiError.
        """
        origin = self.request.headers.get("Origin")
        is_safe = self.request.method in SAFE_METHODS and not is_upgrade(self.request)
        if (origin is None and not is_safe) or not handler.check_origin():
            raise ApiError(403, "bad_origin", "this page is not allowed: see ServerApp.allow_origin")
        if self.request.method not in SAFE_METHODS:
            try:
                JupyterHandler.check_xsrf_cookie(handler)
            except HTTPError:
                raise ApiError(403, "bad_xsrf", "send the _xsrf cookie's value as X-XSRFToken") from None

    def accept_identity(self, found: Identity | Denied) -> None:
        super().accept_identity(found)
        if not isinstance(self, PageHandler) or is_upgrade(self.request):
            return
        if self.denied is None:
            as_jupyter_handler(self).xsrf_token  # noqa: B018 - sets the cookie that the page's posts need
        else:
            login = self.get_login_url()
            has_query = "?" in login  # the login page of a Hub, which knows where to return to
            self.redirect(login if has_query else url_concat(login, {"next": self.request.uri or "/"}))


def _drop_body(self: JupyterHandlerMixin, chunk: bytes) -> None:
    """Take a part of a body that no handler needs; too long a body ends the connection."""
    self.unused_bytes += len(chunk)
    if self.unused_bytes > MAX_UNUSED_BODY_BYTES:
        self.client_stream.close()


def wrap_route(spec: URLSpec, kernel_tokens: KernelTokens, logouts: LogoutTracker) -> URLSpec:
    """The route with a handler that is a ``JupyterHandler`` too."""
    base = spec.handler_class
    methods = {name: getattr(base, name) for name in HTTP_METHODS}
    # Handler.prepare authenticates; without the decorator Jupyter would warn that a method does not.
    members: dict[str, Any] = {
        name: allow_unauthenticated(method)
        for name, method in methods.items()
        if method is not RequestHandler._unimplemented_method  # noqa: SLF001 - the only way to find out
    }
    members |= {"kernel_tokens": kernel_tokens, "logouts": logouts}
    needs_body = base.data_received is not RequestHandler.data_received
    if not needs_body:
        members["data_received"] = _drop_body
    handler = type(f"Jupyter{base.__name__}", (JupyterHandlerMixin, base, JupyterHandler), members)
    if (
        not needs_body
    ):  # else Tornado would keep a body of 500 MB, as Jupyter lets it, before anyone is asked for a token
        handler = stream_request_body(handler)
    return URLSpec(spec.regex.pattern, handler, spec.kwargs)


def as_jupyter_handler(handler: Handler) -> JupyterHandler:
    assert isinstance(handler, JupyterHandler)
    return handler


async def authorized_role(handler: JupyterHandler, user: User) -> Role:
    """The role that Jupyter's authorizer grants. The default authorizer grants everything."""
    ask = handler.authorizer.is_authorized
    if not await ensure_async(ask(handler, user, "read", AUTHORIZER_RESOURCE)):
        return Role.NONE
    return Role.MODERATE if await ensure_async(ask(handler, user, "write", AUTHORIZER_RESOURCE)) else Role.READ


def identity_from_user(user: User) -> Identity:
    """The identity of a Jupyter user; unverified if the user is anonymous."""
    if ANONYMOUS_NAME.fullmatch(user.username):
        return Identity()
    name = user.display_name or user.name
    profile = make_profile(
        None if name == user.username else name, user.initials, user.color, getattr(user, "avatar_url", None)
    )
    return Identity(shorten_name(user.username), profile=profile)
