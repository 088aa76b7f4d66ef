"""The Jupyter Server extension: chat rooms below ``{base_url}bqserver/``, with Jupyter's logins and user names.

Kernels that this Jupyter server starts find the rooms through their environment, so a room name means the same room
in all of its notebooks.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import WILDCARD_IPS, ServerApp
from jupyter_server.utils import url_path_join
from tornado.netutil import bind_sockets
from tornado.web import Application
from traitlets import Unicode

from bqserver.auth.admission import ConnectionLimiter, LoginThrottle
from bqserver.auth.authenticator import Authenticator
from bqserver.auth.file_watcher import CredentialFiles, CredentialWatcher
from bqserver.auth.identity import Identity
from bqserver.auth.moderation import Moderation, moderation_path
from bqserver.auth.origins import Origins
from bqserver.auth.policy import Policy
from bqserver.clock import steady_time
from bqserver.config.limits import LimitSettings, max_sockets
from bqserver.config.paths import DataFile, data_dir
from bqserver.errors import ServerError, SettingError, StorageError
from bqserver.hub.hub import Hub
from bqserver.hub.reauthentication import Reauthentication
from bqserver.storage.interface import MessageLog
from bqserver.storage.memory import MemoryLog
from bqserver.storage.retention import Rule, parse_rules
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.web.context import AppContext
from bqserver.web.fastpath.server import FastPathServer
from bqserver.web.requests import MAX_UNUSED_BODY_BYTES
from bqserver.web.routes import routes

from .handlers import identity_from_user, wrap_route
from .kernel_tokens import KernelAuthenticator, KernelTokens
from .logouts import LogoutTracker

NAME = "bqserver"


class BqserverExtension(LimitSettings, ExtensionApp):
    """Chat rooms for all users of this Jupyter server. Configured by ``c.BqserverExtension.NAME``."""

    name = NAME

    log_url = Unicode(
        help="Where messages are stored: sqlite:PATH or memory. Default: a file in your data folder."
    ).tag(config=True)
    rights = DataFile("rights.toml", help="File of rights in rooms. Default: rights.toml in your data folder.").tag(
        config=True
    )

    serverapp: ServerApp
    hub: Hub | None = None
    opened: contextlib.AsyncExitStack
    kernel_server_url = ""

    def initialize_handlers(self) -> None:
        self.opened = contextlib.AsyncExitStack()
        # The pages of JupyterLab and Notebook 7 show the rooms (server/labextension) if their configuration has this.
        self.serverapp.web_app.settings.setdefault("page_config_data", {})[NAME] = "true"
        self.serverapp.io_loop.add_callback(self.open_hub)  # the loop is not running yet

    async def open_hub(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as opened:
                await self._open_hub(opened)
                self.opened = opened.pop_all()
        except (ServerError, OSError) as error:
            self.log.error("bqserver: chat rooms unavailable: %s", error)

    async def _open_hub(self, opened: contextlib.AsyncExitStack) -> None:
        """Open all that the rooms need. What must be closed, in whatever step this fails, is entered into ``opened``:
        a thread that is left would keep Jupyter from stopping.
        """
        names_rights = self.rights != str(data_dir() / "rights.toml")
        files = CredentialFiles(None, Path(self.rights), names_rights=names_rights, spare_folder=data_dir())
        log = self.make_log()
        async with contextlib.AsyncExitStack() as unowned:
            unowned.push_async_callback(log.close)
            moderation = Moderation(moderation_path(log.path) if isinstance(log, SqliteLog) else None, steady_time)
            authenticator = Authenticator(token=None, is_open=False, clock=time.time, permissions=files.permissions)
            hub = Hub(
                log,
                attachments=log.attachments,
                limits=self.limits(),
                heartbeat=self.heartbeat,
                buffer=self.buffer,
                policy=Policy(authenticator, moderation),
            )
            unowned.pop_all()
        opened.push_async_callback(hub.close)  # closes the log too
        await hub.resume_live()
        opened.callback(CredentialWatcher(files, authenticator, hub.review).close)
        self.kernel_tokens = KernelTokens(self.serverapp.kernel_manager.__contains__)
        base = url_path_join(self.serverapp.base_url, NAME, "/")
        connections, logins = self.connection_limiter(), self.login_throttle()
        context = AppContext(hub, authenticator, Origins(), base, connections, logins)
        rechecks = Reauthentication(hub, self.recheck)
        opened.callback(rechecks.close)
        if self.serverapp.certfile or self.serverapp.sock:
            opened.callback(self.start_kernel_server(hub, connections, logins).stop)
        logouts = LogoutTracker(self.serverapp.identity_provider, rechecks.soon)
        table = [wrap_route(spec, self.kernel_tokens, logouts) for spec in routes(context, with_invites=False)]
        self.serverapp.web_app.add_handlers(".*$", table)  # type: ignore[no-untyped-call]
        self.issue_kernel_tokens()
        self.hub = hub

    def start_kernel_server(self, hub: Hub, connections: ConnectionLimiter, logins: LoginThrottle) -> FastPathServer:
        """Serve kernels, which run on this machine, over plain HTTP on loopback; it accepts only their tokens.

        For a Jupyter server with a TLS certificate (issued for another name than loopback) or on a Unix socket.
        """
        authenticator = KernelAuthenticator(self.kernel_tokens)
        context = AppContext(hub, authenticator, Origins(), "/", connections, logins)
        server = FastPathServer(
            Application(routes(context), cookie_secret=authenticator.cookie_secret, log_function=lambda _: None),
            max_open=max_sockets(),
            max_body_size=MAX_UNUSED_BODY_BYTES,
        )
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        self.kernel_server_url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        return server

    def issue_kernel_tokens(self) -> None:
        """Pass the address and a token of its own to every kernel started from now on."""
        manager = self.serverapp.kernel_manager
        start = manager.start_kernel

        async def start_kernel(*args: Any, env: Mapping[str, str] | None = None, **kwargs: Any) -> str:
            environment = self.kernel_tokens.make_environment(self.url(), kernel_requester(), env)
            kernel: str = await start(*args, env=environment, **kwargs)
            self.kernel_tokens.bind(environment, kernel)
            return kernel

        # For the tools that jupyter-server-mcp runs inside this process (bqwidget.mcp.jupyter).
        self.serverapp.web_app.settings["bqserver_agent_environment"] = self.agent_environment
        manager.start_kernel = start_kernel  # type: ignore[method-assign]  # Jupyter has no hook for it

    def agent_environment(self, name: str) -> dict[str, str]:
        """The address, and a token by which an agent inside this process is the member ``name``."""
        return self.kernel_tokens.make_environment(self.url(), Identity(name), {})

    def url(self) -> str:
        """The address for kernels, which run on this machine."""
        if self.kernel_server_url:
            return self.kernel_server_url
        app = self.serverapp
        # The host name that browsers use, if there is one: Jupyter's cookie is bound to it.
        base = urlsplit(app.local_url if app.ip in ("", *WILDCARD_IPS) else app.connection_url)
        return f"{base.scheme}://{base.netloc}{url_path_join(app.base_url, NAME)}"

    def is_exposed(self) -> bool:
        """False: users of this Jupyter server can run any code on this machine anyway."""
        return False

    def make_log(self) -> MessageLog:
        rules = parse_rules(self.retain)
        if self.log_url == "memory":
            if rules:
                raise SettingError("retain: for rooms that are stored, and log_url is memory; remove one of them")
            return MemoryLog()
        if self.log_url.startswith(("nats:", "tls:")):
            raise SettingError(
                "log_url: the rooms of a cluster are not served inside Jupyter; run bqserver --log=nats://..."
            )
        if self.log_url:
            return SqliteLog(self.log_url.removeprefix("sqlite:"), retain=rules)
        return open_default_log(f"{self.serverapp.root_dir} {self.serverapp.base_url}", rules)

    async def stop_extension(self) -> None:
        await self.opened.aclose()


def kernel_requester() -> Identity:
    """The user whose request starts a kernel; the kernel's Room writes under their name."""
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    user = handler.current_user if isinstance(handler, JupyterHandler) else None
    return identity_from_user(user) if isinstance(user, User) else Identity()


def open_default_log(server: str, retain: Sequence[Rule] = ()) -> SqliteLog:
    """The history of the Jupyter server named ``server``; more of that name at the same time get files of their own.

    Raises StorageError.
    """
    stem = f"jupyter-{hashlib.sha256(server.encode()).hexdigest()[:12]}"
    for number in range(1, 9):
        with contextlib.suppress(StorageError):
            path = data_dir() / (f"{stem}.sqlite" if number == 1 else f"{stem}-{number}.sqlite")
            return SqliteLog(path, retain=retain)
    return SqliteLog(data_dir() / f"{stem}.sqlite", retain=retain)  # raises the error of the first one


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "bqserver.extension", "app": BqserverExtension}]
