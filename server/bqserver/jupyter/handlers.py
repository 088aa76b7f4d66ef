"""The front door: Jupyter's Host and Origin rules, users, authorization and XSRF tokens before requests are forwarded."""

from __future__ import annotations

import re
from typing import ClassVar

from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado.httputil import url_concat
from tornado.web import HTTPError

from bqserver.auth.authenticator import WRONG_TOKEN
from bqserver.auth.identity import Denied, Identity, shorten_name
from bqserver.model import Role
from bqserver.web.errors import ApiError
from bqserver.web.handler import SAFE_METHODS
from bqserver.web.requests import is_upgrade

from .forwarding import ForwardingHandler
from .kernel_tokens import KernelTokens
from .logouts import LogoutTracker
from .profiles import make_profile

AUTHORIZER_RESOURCE = "bqserver"
"""What Jupyter's authorizer is asked about, with ``read`` and ``write``."""

ANONYMOUS_NAME = re.compile(r"[0-9a-f]{32}")
"""The random user names that Jupyter gives to clients with its shared token; such a name is not verified."""

LOGIN_REQUIRED = Denied("unauthorized", "log in to this Jupyter server first, or send its token")


class KernelHandler(ForwardingHandler):
    """For kernels alone, which have tokens of their own."""

    kernel_tokens: ClassVar[KernelTokens]

    async def identify(self) -> Identity | Denied:
        return self.find_kernel() or WRONG_TOKEN

    def find_kernel(self) -> Identity | Denied | None:
        """The kernel that sends the request; None if it sends no kernel's token."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return self.kernel_tokens.identify(token.strip()) if scheme.lower() == "bearer" else None


class FrontDoorHandler(KernelHandler, JupyterHandler):
    """For all people that Jupyter lets in, and for its kernels."""

    logouts: ClassVar[LogoutTracker]

    def check_xsrf_cookie(self) -> None:
        """Do nothing: Tornado calls this before the user is known; ``check_page`` checks the token."""

    async def prepare(self) -> None:  # type: ignore[override]
        if not self.check_host():
            raise ApiError(403, "bad_host", "this host name is not allowed: see ServerApp.allow_remote_access")
        await super().prepare()

    async def identify(self) -> Identity | Denied:
        if (kernel := self.find_kernel()) is not None:
            return kernel
        CallContext.set(CallContext.JUPYTER_HANDLER, self)
        user = await ensure_async(self.identity_provider.get_user(self))
        self.current_user = self._jupyter_current_user = user  # as JupyterHandler.prepare does
        if user is None or (not self.token_authenticated and self.logouts.has_ended(self)):
            return LOGIN_REQUIRED
        if not self.token_authenticated:
            self.check_page()
        max_role = await authorized_role(self, user)
        return identity_from_user(user)._replace(is_program=self.token_authenticated, max_role=max_role)

    get = head = post = put = patch = delete = options = allow_unauthenticated(ForwardingHandler.get)

    async def reidentify(self) -> Identity | Denied:
        for cached in ("_jupyter_current_user", "_cached_hub_user"):  # else it returns the first answer
            self.__dict__.pop(cached, None)
        return await self.identify()

    def check_page(self) -> None:
        """Browsers send the cookie with requests of every page, so the page must be Jupyter's or an allowed one.

        Raises ApiError.
        """
        origin = self.request.headers.get("Origin")
        is_safe = self.request.method in SAFE_METHODS and not is_upgrade(self.request)
        if (origin is None and not is_safe) or not self.check_origin():
            raise ApiError(403, "bad_origin", "this page is not allowed: see ServerApp.allow_origin")
        if self.request.method not in SAFE_METHODS:
            try:
                JupyterHandler.check_xsrf_cookie(self)
            except HTTPError:
                raise ApiError(403, "bad_xsrf", "send the _xsrf cookie's value as X-XSRFToken") from None

    def welcome(self, found: Identity | Denied) -> None:
        """Give a page the XSRF token that its posts need, or send its reader to Jupyter's login."""
        if not self.is_page:
            return
        if isinstance(found, Identity):
            self.xsrf_token  # noqa: B018 - sets the cookie
        else:
            login = self.get_login_url()
            has_query = "?" in login  # the login page of a Hub, which knows where to return to
            self.redirect(login if has_query else url_concat(login, {"next": self.request.uri or "/"}))


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
