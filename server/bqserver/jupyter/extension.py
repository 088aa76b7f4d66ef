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

from bqserver.auth.admission import Door
from bqserver.auth.authenticator import Gate
from bqserver.auth.file_watcher import Access, Warden
from bqserver.auth.identity import Denied, Identity, short
from bqserver.auth.moderation import Moderation
from bqserver.auth.origins import Origins
from bqserver.auth.policy import Policy
from bqserver.config.limits import Limiting
from bqserver.config.paths import data_dir
from bqserver.errors import ServerError, SettingError, StorageError
from bqserver.hub.hub import Hub
from bqserver.hub.reauthentication import Reauthentication
from bqserver.model import Role
from bqserver.storage.interface import MessageLog
from bqserver.storage.memory import MemoryLog
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.web.handler import ApiError, AppContext, Handler, is_upgrade
from bqserver.web.routes import RoomPage, routes
from bqserver.web.sessions import Invites, NoInvites, Session

from .kernel_tokens import KernelGate, Kernels
from .logouts import Logouts
from .profiles import profile_of

NAME = "bqserver"
RESOURCE = "bqserver"
"""What Jupyter's authorizer is asked about, with ``read`` and ``write``."""
ANONYMOUS = re.compile(r"[0-9a-f]{32}")
"""The random user names that Jupyter gives to whoever came with its one token: they verify nobody."""
LOG_IN = Denied("unauthorized", "log in to this Jupyter server first, or send its token")
METHODS = ("get", "head", "post", "put", "patch", "delete")


class Inside(Handler):
    """A route of ours as one of Jupyter's: its Host and Origin rules, its users, its XSRF. Mixed in by ``mount``."""

    kernels: ClassVar[Kernels]
    logouts: ClassVar[Logouts]

    def check_source(self) -> None:
        """Only the Host, so far: whether the Origin matters is known when the credential is."""
        if not jupyter(self).check_host():
            raise ApiError(403, "bad_host", "this name is not served here: see ServerApp.allow_remote_access")

    def check_xsrf_cookie(self) -> None:
        """Tornado asks too early; ``identify`` does it."""

    def identify(self) -> Awaitable[Identity | Denied]:
        return self._identify()

    async def _identify(self) -> Identity | Denied:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (kernel := self.kernels.identify(token.strip())):
            return kernel
        handler = jupyter(self)
        CallContext.set(CallContext.JUPYTER_HANDLER, handler)
        user = await ensure_async(handler.identity_provider.get_user(handler))
        handler.current_user = handler._jupyter_current_user = user  # noqa: SLF001 - as JupyterHandler.prepare does
        if user is None or (not handler.token_authenticated and self.logouts.has_ended(handler)):
            return LOG_IN
        if not handler.token_authenticated:
            self.check_page(handler)
        most = await authorized(handler, user)
        return identity_of(user)._replace(program=handler.token_authenticated, most=most)

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

    def admit(self, found: Identity | Denied) -> None:
        super().admit(found)
        if not isinstance(self, RoomPage) or is_upgrade(self.request):
            return
        if self.denied is None:
            jupyter(self).xsrf_token  # noqa: B018 - asking for it sets its cookie, which the page's posts need
        else:
            login = self.get_login_url()  # which a Hub has replaced by its own
            again = {"next": self.request.uri or "/"}
            self.redirect(login if "?" in login else url_concat(login, again))


class BqserverExtension(Limiting, ExtensionApp):
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
    listener: HTTPServer | None = None
    loopback = ""

    @default("rights")
    def _default_rights(self) -> str:
        return str(data_dir() / "rights.toml")

    def initialize_handlers(self) -> None:
        self.serverapp.io_loop.add_callback(self.open)  # the loop doesn't run yet

    async def open(self) -> None:
        try:
            log = self.make_log()
        except ServerError as error:
            self.log.error("bqserver has no rooms for you: %s", error)
            return
        access = Access(None, Path(self.rights))
        gate = Gate(token=None, is_open=False, clock=time.time, rights=access.rights_now)
        moderation = Moderation(
            log.path.with_suffix(".moderation.json") if isinstance(log, SqliteLog) else None, time.time
        )
        self.hub = Hub(
            log,
            parts=log.attachments,
            limits=self.limits(),
            heartbeat=self.heartbeat,
            buffer=self.buffer,
            policy=Policy(gate, moderation),
        )
        self.warden = Warden(access, gate, self.hub.review)
        self.kernels = Kernels(self.serverapp.kernel_manager.__contains__)
        base = url_path_join(self.serverapp.base_url, NAME, "/")
        door = self.door()
        service = AppContext(self.hub, gate, Origins(), base=base, door=door)
        self.rechecks = Reauthentication(self.hub, self.recheck)
        logouts = Logouts(self.serverapp.identity_provider, self.rechecks.soon)
        table = [mount(spec, self.kernels, logouts) for spec in routes(service)]
        self.serverapp.web_app.add_handlers(".*$", table)  # type: ignore[no-untyped-call]
        if self.serverapp.certfile or self.serverapp.sock:
            self.listen_for_kernels(door)
        self.lend_keys()

    def listen_for_kernels(self, door: Door) -> None:
        """Where Jupyter's own address has a certificate for another name, or none at all, its kernels, which are
        on this machine, get a plain one over loopback that takes their keys alone.
        """
        assert self.hub is not None
        service = AppContext(self.hub, KernelGate(self.kernels), Origins(), door=door)
        self.listener = HTTPServer(
            Application(
                routes(service), cookie_secret=service.gate.cookie_secret, log_function=lambda _: None
            )
        )
        sockets = bind_sockets(0, "127.0.0.1")
        self.listener.add_sockets(sockets)
        self.loopback = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    def lend_keys(self) -> None:
        """Every kernel that is started from now on knows where we are, and has a key of its own."""
        manager = self.serverapp.kernel_manager
        start = manager.start_kernel

        async def start_kernel(*args: Any, env: Mapping[str, str] | None = None, **kwargs: Any) -> str:
            environment = self.kernels.environment(self.url(), starter(), env)
            kernel: str = await start(*args, env=environment, **kwargs)
            self.kernels.started(environment, kernel)
            return kernel

        manager.start_kernel = start_kernel  # type: ignore[method-assign]  # there is no hook for it

    def url(self) -> str:
        """Where kernels reach us: they run on this machine."""
        if self.loopback:
            return self.loopback
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
        return own_log(f"{self.serverapp.root_dir} {self.serverapp.base_url}")

    async def stop_extension(self) -> None:
        if self.listener is not None:
            self.listener.stop()
        if self.hub is not None:
            self.warden.close()
            self.rechecks.close()
            await self.hub.close()


def mount(spec: URLSpec, kernels: Kernels, logouts: Logouts) -> URLSpec:
    """One of our routes with Jupyter's ways: its handler, which is one of Jupyter's as well."""
    ours: type = NoInvites if spec.handler_class in (Invites, Session) else spec.handler_class
    methods = {name: getattr(ours, name) for name in METHODS}
    # Handler.prepare asks for an identity; Jupyter would warn of what it has not decorated itself.
    known = {
        name: allow_unauthenticated(method)
        for name, method in methods.items()
        if method is not RequestHandler._unimplemented_method  # noqa: SLF001 - there is no other way to tell
    }
    ours_too = {"kernels": kernels, "logouts": logouts}
    handler = type(f"Jupyter{ours.__name__}", (Inside, ours, JupyterHandler), {**known, **ours_too})
    return URLSpec(spec.regex.pattern, handler, spec.kwargs)


def jupyter(handler: Handler) -> JupyterHandler:
    assert isinstance(handler, JupyterHandler)
    return handler


async def authorized(handler: JupyterHandler, user: User) -> Role:
    """What Jupyter's authorizer allows; the default one allows everything."""
    ask = handler.authorizer.is_authorized
    if not await ensure_async(ask(handler, user, "read", RESOURCE)):
        return Role.NONE
    return Role.MODERATE if await ensure_async(ask(handler, user, "write", RESOURCE)) else Role.READ


def identity_of(user: User) -> Identity:
    """Jupyter's user as ours; the random name of an anonymous one is no name to rely on."""
    if ANONYMOUS.fullmatch(user.username):
        return Identity()
    name = user.display_name or user.name
    looks = profile_of(
        None if name == user.username else name, user.initials, user.color, getattr(user, "avatar_url", None)
    )
    return Identity(short(user.username), profile=looks)


def starter() -> Identity:
    """Who asks for the kernel that is being started: its Room writes under their name."""
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    user = handler.current_user if isinstance(handler, JupyterHandler) else None
    return identity_of(user) if isinstance(user, User) else Identity()


def own_log(place: str) -> SqliteLog:
    """The history of the Jupyter server at that folder; a second one there at the same time gets another."""
    stem = f"jupyter-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    for number in range(1, 9):
        with contextlib.suppress(StorageError):
            return SqliteLog(data_dir() / (f"{stem}.sqlite" if number == 1 else f"{stem}-{number}.sqlite"))
    return SqliteLog(data_dir() / f"{stem}.sqlite")  # which says what is wrong


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "bqserver.extension", "app": BqserverExtension}]
