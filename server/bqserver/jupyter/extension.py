"""The same routes inside a Jupyter server, below ``{base_url}bqserver/``, with its logins and its users' names.

Jupyter says who is asking, from which page, and whether they are authorized; kernels started by this server
find it through their environment, so that one room name is one room in all of its notebooks.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import WILDCARD_IPS, ServerApp
from jupyter_server.utils import ensure_async, url_path_join
from tornado.httpserver import HTTPServer
from tornado.httputil import url_concat
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec
from tornado.web import Application, HTTPError, RequestHandler
from traitlets import Unicode, default

from bqserver.auth.admission import ConnectionLimiter, LoginThrottle
from bqserver.auth.authenticator import Authenticator
from bqserver.auth.file_watcher import CredentialFiles, CredentialWatcher
from bqserver.auth.identity import Denied, Identity, shorten_name
from bqserver.auth.moderation import Moderation
from bqserver.auth.origins import Origins
from bqserver.auth.policy import Policy
from bqserver.config.limits import LimitSettings
from bqserver.config.paths import data_dir
from bqserver.errors import ServerError, SettingError, StorageError
from bqserver.hub.hub import Hub
from bqserver.hub.reauthentication import Reauthentication
from bqserver.model import Role
from bqserver.storage.interface import MessageLog
from bqserver.storage.memory import MemoryLog
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.web.context import AppContext
from bqserver.web.errors import ApiError
from bqserver.web.handler import Handler, is_upgrade
from bqserver.web.room_page import RoomPageHandler
from bqserver.web.routes import routes
from bqserver.web.sessions import InvitesHandler, NoInvitesHandler, SessionHandler

from .kernel_tokens import KernelAuthenticator, KernelTokens
from .logouts import Logouts
from .profiles import profile_of

NAME = "bqserver"
AUTHORIZER_RESOURCE = "bqserver"
"""What Jupyter's authorizer is asked about, with ``read`` and ``write``."""
ANONYMOUS_NAME = re.compile(r"[0-9a-f]{32}")
"""The random user names that Jupyter gives to whoever came with its one token: they verify nobody."""
LOGIN_REQUIRED = Denied("unauthorized", "log in to this Jupyter server first, or send its token")
HTTP_METHODS = ("get", "head", "post", "put", "patch", "delete")


class JupyterHandlerMixin(Handler):
    """A route of ours as one of Jupyter's: its Host and Origin rules, its users, its XSRF. Mixed in by ``mount``."""

    kernels: ClassVar[KernelTokens]
    logouts: ClassVar[Logouts]

    def check_source(self) -> None:
        """Only the Host, so far: whether the Origin matters is known when the credential is."""
        if not as_jupyter_handler(self).check_host():
            raise ApiError(403, "bad_host", "this name is not served here: see ServerApp.allow_remote_access")

    def check_xsrf_cookie(self) -> None:
        """Tornado asks too early; ``identify`` does it."""

    def identify(self) -> Awaitable[Identity | Denied]:
        return self._identify()

    async def _identify(self) -> Identity | Denied:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (kernel := self.kernels.identify(token.strip())):
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
        return identity_of(user)._replace(is_program=handler.token_authenticated, max_role=max_role)

    def reauthenticator(self) -> Callable[[], Awaitable[Identity | Denied]]:
        return self._reauthenticate

    async def _reauthenticate(self) -> Identity | Denied:
        for known in ("_jupyter_current_user", "_cached_hub_user"):  # else the answer would be the first one
            self.__dict__.pop(known, None)
        return await self._identify()

    def check_page(self, handler: JupyterHandler) -> None:
        """A cookie comes with every request of the browser's; the page behind it must be Jupyter's or allowed."""
        origin = self.request.headers.get("Origin")
        safe = self.request.method in ("GET", "HEAD", "OPTIONS") and not is_upgrade(self.request)
        if (origin is None and not safe) or not handler.check_origin():
            raise ApiError(403, "bad_origin", "this page may not come: see ServerApp.allow_origin")
        if self.request.method not in ("GET", "HEAD", "OPTIONS"):
            try:
                JupyterHandler.check_xsrf_cookie(handler)
            except HTTPError:
                raise ApiError(403, "bad_xsrf", "send the _xsrf cookie's value as X-XSRFToken") from None

    def accept_identity(self, found: Identity | Denied) -> None:
        super().accept_identity(found)
        if not isinstance(self, RoomPageHandler) or is_upgrade(self.request):
            return
        if self.denied is None:
            as_jupyter_handler(self).xsrf_token  # noqa: B018 - asking for it sets its cookie, which the page's posts need
        else:
            login = self.get_login_url()  # which a Hub has replaced by its own
            again = {"next": self.request.uri or "/"}
            self.redirect(login if "?" in login else url_concat(login, again))


class BqserverExtension(LimitSettings, ExtensionApp):
    """Rooms for everyone on this Jupyter server: ``c.BqserverExtension.rate_limit = 20`` and so on."""

    name = NAME

    log_url = Unicode(help="Where messages are kept: sqlite:PATH or memory. Default: your data folder.").tag(
        config=True
    )
    rights = Unicode(help="File of rights in rooms. Default: rights.toml in your data folder.").tag(
        config=True
    )

    serverapp: ServerApp
    hub: Hub | None = None
    kernel_server: HTTPServer | None = None
    kernel_server_url = ""

    @default("rights")
    def _default_rights(self) -> str:
        return str(data_dir() / "rights.toml")

    def initialize_handlers(self) -> None:
        self.serverapp.io_loop.add_callback(self.open_hub)  # the loop doesn't run yet

    async def open_hub(self) -> None:
        try:
            log = self.make_log()
        except ServerError as error:
            self.log.error("bqserver has no rooms for you: %s", error)
            return
        files = CredentialFiles(None, Path(self.rights))
        authenticator = Authenticator(
            token=None, is_open=False, clock=time.time, permissions=files.permissions
        )
        moderation = Moderation(
            log.path.with_suffix(".moderation.json") if isinstance(log, SqliteLog) else None, time.time
        )
        self.hub = Hub(
            log,
            attachments=log.attachments,
            limits=self.limits(),
            heartbeat=self.heartbeat,
            buffer=self.buffer,
            policy=Policy(authenticator, moderation),
        )
        self.watcher = CredentialWatcher(files, authenticator, self.hub.review)
        self.kernel_tokens = KernelTokens(self.serverapp.kernel_manager.__contains__)
        base = url_path_join(self.serverapp.base_url, NAME, "/")
        connections, logins = self.connection_limiter(), self.login_throttle()
        context = AppContext(
            self.hub,
            authenticator,
            Origins(),
            base=base,
            connection_limiter=connections,
            login_throttle=logins,
        )
        self.rechecks = Reauthentication(self.hub, self.recheck)
        logouts = Logouts(self.serverapp.identity_provider, self.rechecks.soon)
        table = [wrap_route(spec, self.kernel_tokens, logouts) for spec in routes(context)]
        self.serverapp.web_app.add_handlers(".*$", table)  # type: ignore[no-untyped-call]
        if self.serverapp.certfile or self.serverapp.sock:
            self.start_kernel_server(connections, logins)
        self.issue_kernel_tokens()

    def start_kernel_server(self, connections: ConnectionLimiter, logins: LoginThrottle) -> None:
        """Where Jupyter's own address has a certificate for another name, or none at all, its kernels, which are
        on this machine, get a plain one over loopback that takes their keys alone.
        """
        assert self.hub is not None
        context = AppContext(
            self.hub,
            KernelAuthenticator(self.kernel_tokens),
            Origins(),
            connection_limiter=connections,
            login_throttle=logins,
        )
        self.kernel_server = HTTPServer(
            Application(
                routes(context),
                cookie_secret=context.authenticator.cookie_secret,
                log_function=lambda _: None,
            )
        )
        sockets = bind_sockets(0, "127.0.0.1")
        self.kernel_server.add_sockets(sockets)
        self.kernel_server_url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    def issue_kernel_tokens(self) -> None:
        """Every kernel that is started from now on knows where we are, and has a key of its own."""
        manager = self.serverapp.kernel_manager
        start = manager.start_kernel

        async def start_kernel(*args: Any, env: Mapping[str, str] | None = None, **kwargs: Any) -> str:
            environment = self.kernel_tokens.environment(self.url(), kernel_requester(), env)
            kernel: str = await start(*args, env=environment, **kwargs)
            self.kernel_tokens.bind(environment, kernel)
            return kernel

        manager.start_kernel = start_kernel  # type: ignore[method-assign]  # there is no hook for it

    def url(self) -> str:
        """Where kernels reach us: they run on this machine."""
        if self.kernel_server_url:
            return self.kernel_server_url
        app = self.serverapp
        # The name that people's browsers use where there is one: Jupyter's cookie knows no other.
        base = urlsplit(app.local_url if app.ip in ("", *WILDCARD_IPS) else app.connection_url)
        return f"{base.scheme}://{base.netloc}{url_path_join(app.base_url, NAME)}"

    def is_exposed(self) -> bool:
        """Who is in here runs whatever code they like on this machine."""
        return False

    def make_log(self) -> MessageLog:
        if self.log_url == "memory":
            return MemoryLog()
        if self.log_url.startswith(("nats:", "tls:")):
            raise SettingError(
                "a cluster's rooms are served by bqserver --log=nats://..., not inside Jupyter"
            )
        if self.log_url:
            return SqliteLog(self.log_url.removeprefix("sqlite:"))
        return open_default_log(f"{self.serverapp.root_dir} {self.serverapp.base_url}")

    async def stop_extension(self) -> None:
        if self.kernel_server is not None:
            self.kernel_server.stop()
        if self.hub is not None:
            self.watcher.close()
            self.rechecks.close()
            await self.hub.close()


def wrap_route(spec: URLSpec, kernels: KernelTokens, logouts: Logouts) -> URLSpec:
    """One of our routes with Jupyter's ways: its handler, which is one of Jupyter's as well."""
    ours: type = (
        NoInvitesHandler if spec.handler_class in (InvitesHandler, SessionHandler) else spec.handler_class
    )
    methods = {name: getattr(ours, name) for name in HTTP_METHODS}
    # Handler.prepare asks for an identity; Jupyter would warn of what it has not decorated itself.
    known = {
        name: allow_unauthenticated(method)
        for name, method in methods.items()
        if method is not RequestHandler._unimplemented_method  # noqa: SLF001 - there is no other way to tell
    }
    ours_too = {"kernels": kernels, "logouts": logouts}
    handler = type(
        f"Jupyter{ours.__name__}", (JupyterHandlerMixin, ours, JupyterHandler), {**known, **ours_too}
    )
    return URLSpec(spec.regex.pattern, handler, spec.kwargs)


def as_jupyter_handler(handler: Handler) -> JupyterHandler:
    assert isinstance(handler, JupyterHandler)
    return handler


async def authorized_role(handler: JupyterHandler, user: User) -> Role:
    """What Jupyter's authorizer allows; the default one allows everything."""
    ask = handler.authorizer.is_authorized
    if not await ensure_async(ask(handler, user, "read", AUTHORIZER_RESOURCE)):
        return Role.NONE
    return (
        Role.MODERATE if await ensure_async(ask(handler, user, "write", AUTHORIZER_RESOURCE)) else Role.READ
    )


def identity_of(user: User) -> Identity:
    """Jupyter's user as ours; the random name of an anonymous one is no name to rely on."""
    if ANONYMOUS_NAME.fullmatch(user.username):
        return Identity()
    name = user.display_name or user.name
    looks = profile_of(
        None if name == user.username else name, user.initials, user.color, getattr(user, "avatar_url", None)
    )
    return Identity(shorten_name(user.username), profile=looks)


def kernel_requester() -> Identity:
    """Who asks for the kernel that is being started: its Room writes under their name."""
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    user = handler.current_user if isinstance(handler, JupyterHandler) else None
    return identity_of(user) if isinstance(user, User) else Identity()


def open_default_log(place: str) -> SqliteLog:
    """The history of the Jupyter server at that folder; a second one there at the same time gets another."""
    stem = f"jupyter-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    for number in range(1, 9):
        with contextlib.suppress(StorageError):
            return SqliteLog(data_dir() / (f"{stem}.sqlite" if number == 1 else f"{stem}-{number}.sqlite"))
    return SqliteLog(data_dir() / f"{stem}.sqlite")  # which says what is wrong


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "bqserver.extension", "app": BqserverExtension}]
