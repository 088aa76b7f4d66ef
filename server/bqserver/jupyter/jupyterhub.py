"""``bqserver --jupyterhub``: the server as a service of JupyterHub, which authenticates all members.

People log in through the Hub's OAuth; programs, such as the kernels of users' servers, send their Hub tokens. The
Hub passes the address to listen on and the path before all routes in the environment.
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
from bqserver.web.handler import Handler
from bqserver.web.pages.page import PageHandler
from bqserver.web.requests import is_upgrade
from bqserver.web.routes import routes

LOGIN_REQUIRED = Denied("unauthorized", "log in to the Hub first, or send a Hub token that may access this service")


class HubHandler(HubOAuthenticated, Handler):
    """Replaces bqserver's authentication by the Hub's. Mixed in by ``hub_routes``."""

    def check_xsrf_cookie(self) -> None:
        """Do nothing: ``check_source`` requires the exact Origin for every change and every join."""

    async def identify(self) -> Identity | Denied:
        model = await self.hub_auth.get_user(self, sync=False)
        if not model or not self.hub_auth.check_scopes(self.hub_auth.access_scopes, model):
            return LOGIN_REQUIRED
        return identity_from_model(model, is_program=getattr(self, "_token_authenticated", False))

    def reauthenticator(self) -> Callable[[], Awaitable[Identity | Denied]]:
        return self._reauthenticate

    async def _reauthenticate(self) -> Identity | Denied:
        self.__dict__.pop("_cached_hub_user", None)  # else it would return the first answer
        return await self.identify()

    def accept_identity(self, found: Identity | Denied) -> None:
        super().accept_identity(found)
        if self.denied is not None and isinstance(self, PageHandler) and not is_upgrade(self.request):
            self.redirect(self.get_login_url())


def identity_from_model(model: dict[str, Any], *, is_program: bool) -> Identity:
    """The identity of a Hub user or service. A service's name gets a suffix, so that it can't be taken for a user's."""
    name = model["name"] if model.get("kind", "user") == "user" else f"{model['name']} (service)"
    return Identity(shorten_name(name), is_program=is_program)


def hub_routes(context: AppContext, *, recheck: float) -> list[URLSpec]:
    """The routes with the Hub's authentication, and the callback of its login."""
    auth = HubOAuth.instance()
    # A cached answer must not be older than the next check.
    auth.cache_max_age = min(auth.cache_max_age, max(1, int(recheck)))
    specs = []
    for spec in routes(context, with_invites=False):
        base = spec.handler_class
        handler = type(f"Hub{base.__name__}", (HubHandler, base), {"_hub_auth": auth})
        specs.append(URLSpec(spec.regex.pattern, handler, spec.kwargs))
    return [*specs, URLSpec(f"{context.base}oauth_callback", HubOAuthCallbackHandler)]


class ServiceAddress(NamedTuple):
    """The address the Hub assigns: ``base`` is the path before all routes, ``hosts`` are public host names."""

    ip: str
    port: int
    base: str
    hosts: list[str]


def service_address() -> ServiceAddress | None:
    """None if this process was not started by a Hub."""
    url, prefix = os.environ.get("JUPYTERHUB_SERVICE_URL"), os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if not url or not prefix or not os.environ.get("JUPYTERHUB_API_TOKEN"):
        return None
    parts = urlsplit(url)
    public = urlsplit(os.environ.get("JUPYTERHUB_PUBLIC_URL", "")).hostname
    hosts = [public] if public else []
    return ServiceAddress(parts.hostname or "127.0.0.1", parts.port or 80, prefix.rstrip("/") + "/", hosts)
