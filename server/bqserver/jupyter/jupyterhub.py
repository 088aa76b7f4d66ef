"""``bqserver --jupyterhub``: a service of JupyterHub, where everybody is who the Hub says they are.

People log in through the Hub's OAuth, programs (the kernels of users' servers) with their Hub tokens. The Hub
tells through the environment where to listen and below which path.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from tornado.routing import URLSpec

from bqserver.auth.identity import Denied, Identity, shorten_name
from bqserver.web.context import AppContext
from bqserver.web.handler import Handler, is_upgrade
from bqserver.web.room_page import RoomPageHandler
from bqserver.web.routes import routes
from bqserver.web.sessions import InvitesHandler, NoInvitesHandler, SessionHandler

LOGIN_REQUIRED = Denied(
    "unauthorized", "log in to the Hub first, or send a Hub token that may access this service"
)


class HubHandler(HubOAuthenticated, Handler):
    """A route of ours with the Hub's users. Mixed in by ``hub_routes``."""

    def check_xsrf_cookie(self) -> None:
        """Ours is the exact Origin, on every request that changes something and on every join."""

    def identify(self) -> Awaitable[Identity | Denied]:
        return self._identify()

    async def _identify(self) -> Identity | Denied:
        model = await self.hub_auth.get_user(self, sync=False)
        if not model or not self.hub_auth.check_scopes(self.hub_auth.access_scopes, model):
            return LOGIN_REQUIRED
        return identity_of(model, program=getattr(self, "_token_authenticated", False))

    def reauthenticator(self) -> Callable[[], Awaitable[Identity | Denied]]:
        return self._reauthenticate

    async def _reauthenticate(self) -> Identity | Denied:
        self.__dict__.pop("_cached_hub_user", None)  # else the answer would be the first one
        return await self._identify()

    def accept_identity(self, found: Identity | Denied) -> None:
        super().accept_identity(found)
        if self.denied is not None and isinstance(self, RoomPageHandler) and not is_upgrade(self.request):
            self.redirect(self.get_login_url())


def identity_of(model: dict[str, Any], *, program: bool) -> Identity:
    """A service of the Hub's must not pass for the user of the same name."""
    name = model["name"] if model.get("kind", "user") == "user" else f"{model['name']} (service)"
    return Identity(shorten_name(name), is_program=program)


def hub_routes(service: AppContext, *, recheck: float) -> list[URLSpec]:
    """Our routes with the Hub's users, and the one by which they come back from its login."""
    auth = HubOAuth.instance()
    # Else what the Hub said once would outlive the next question.
    auth.cache_max_age = min(auth.cache_max_age, max(1, int(recheck)))
    specs = []
    for spec in routes(service):
        ours: type = (
            NoInvitesHandler if spec.handler_class in (InvitesHandler, SessionHandler) else spec.handler_class
        )
        handler = type(f"Hub{ours.__name__}", (HubHandler, ours), {"_hub_auth": auth})
        specs.append(URLSpec(spec.regex.pattern, handler, spec.kwargs))
    return [*specs, URLSpec(f"{service.base}oauth_callback", HubOAuthCallbackHandler)]


class ServiceAddress(NamedTuple):
    """Where the Hub wants its service: what to listen on, the path before all routes, and the names it goes by."""

    ip: str
    port: int
    base: str
    hosts: list[str]


def service_address() -> ServiceAddress | None:
    """None: no Hub has started this."""
    url, prefix = os.environ.get("JUPYTERHUB_SERVICE_URL"), os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if not url or not prefix or not os.environ.get("JUPYTERHUB_API_TOKEN"):
        return None
    parts = urlsplit(url)
    public = urlsplit(os.environ.get("JUPYTERHUB_PUBLIC_URL", "")).hostname
    hosts = [public] if public else []
    return ServiceAddress(parts.hostname or "127.0.0.1", parts.port or 80, prefix.rstrip("/") + "/", hosts)
