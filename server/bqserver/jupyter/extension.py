"""The Jupyter Server extension: chat rooms below ``{base_url}bqserver/``, with Jupyter's logins and user names.

It is the front door of the user's local server, which has the rooms: so a room name means the same room in all
notebooks of all Jupyter servers of the user, and in scripts. Kernels come in by this door too, under the names of their
users; they find it through their environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from jupyter_server import CallContext
from jupyter_server.auth import User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import WILDCARD_IPS, ServerApp
from jupyter_server.utils import url_path_join
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec
from tornado.web import Application
from traitlets import Unicode

from bqserver.auth.identity import Identity
from bqserver.config.limits import LimitSettings, max_sockets
from bqserver.config.paths import DataFile
from bqserver.errors import SettingError
from bqserver.files import user_path
from bqserver.hub.reauthentication import Reauthentication
from bqserver.web.fastpath.server import FastPathServer
from bqserver.web.requests import MAX_UNUSED_BODY_BYTES
from bqwidget.errors import BqwidgetError

from .forwarding import Route
from .handlers import FrontDoorHandler, KernelHandler, identity_from_user
from .kernel_tokens import KernelTokens
from .logouts import LogoutTracker
from .relay import Relays
from .upstream import LocalUpstream, RemoteUpstream, Upstream

NAME = "bqserver"
FOLDER_VARIABLE = "BQWIDGET_NOTEBOOK_FOLDER"
"""The folder that a kernel's Jupyter server shows: the paths of notebooks are relative to it."""


class BqserverExtension(LimitSettings, ExtensionApp):
    """Chat rooms for all users of this Jupyter server. Configured by ``c.BqserverExtension.NAME``."""

    name = NAME

    url = Unicode(
        "", help="Address of another bqserver for all rooms of this Jupyter server. Default: $BQWIDGET_URL, else none."
    ).tag(config=True)
    log_url = Unicode(
        "",
        help="Rooms apart from those of your local server, stored in sqlite:PATH, or in memory for as long as this "
        "Jupyter server runs and someone is in a room. Default: the rooms of your local server.",
    ).tag(config=True)
    rights = DataFile("rights.toml", help="File of rights in rooms. Default: rights.toml in your data folder.").tag(
        config=True
    )

    serverapp: ServerApp
    opened: contextlib.AsyncExitStack
    kernel_server_url = ""
    kernel_environment: Callable[[Identity, Mapping[str, str] | None], dict[str, str]] | None = None
    """The environment of a kernel that is started for a user; None: there are no rooms."""

    def initialize_handlers(self) -> None:
        self.opened = contextlib.AsyncExitStack()
        # The pages of JupyterLab and Notebook 7 show the rooms (server/labextension) if their configuration has this.
        self.serverapp.web_app.settings.setdefault("page_config_data", {})[NAME] = "true"
        self.serverapp.io_loop.add_callback(self.open_rooms)  # the loop is not running yet

    async def open_rooms(self) -> None:
        """Open the front door, and find or start the server. Until it answers, requests wait."""
        opening = asyncio.get_running_loop().create_future()
        try:
            async with contextlib.AsyncExitStack() as opened:
                upstream = self.make_upstream()
                opened.callback(upstream.close)
                await self._open_door(upstream, opening, opened)
                await upstream.open()
                self.opened = opened.pop_all()
        except (BqwidgetError, OSError) as error:
            self.kernel_environment = None
            self.log.error("bqserver: chat rooms unavailable: %s", error)
        finally:
            opening.set_result(self.kernel_environment is not None)

    async def _open_door(
        self, upstream: Upstream, opening: asyncio.Future[bool], opened: contextlib.AsyncExitStack
    ) -> None:
        """What must be closed is entered into ``opened``."""
        if upstream.page_url is not None:
            self.serverapp.web_app.settings["page_config_data"][f"{NAME}Pages"] = f"{upstream.page_url}/"
        relays = Relays(upstream)
        opened.push_async_callback(relays.close)
        rechecks = Reauthentication(relays, self.recheck)
        opened.callback(rechecks.close)
        kernel_tokens = KernelTokens(self.serverapp.kernel_manager.__contains__)
        logouts = LogoutTracker(self.serverapp.identity_provider, rechecks.soon)
        base = url_path_join(self.serverapp.base_url, NAME, "/")
        route = Route(upstream, relays, base, self.login_throttle(), opening)
        if self.serverapp.certfile or self.serverapp.sock:
            opened.callback(self.start_kernel_server(kernel_tokens, replace(route, base="/")).stop)
        members = {"kernel_tokens": kernel_tokens, "logouts": logouts}
        front_door = type("FrontDoorHandler", (FrontDoorHandler,), members)
        table = [URLSpec(f"{re.escape(base)}.*", front_door, {"route": route})]
        self.serverapp.web_app.add_handlers(".*$", table)  # type: ignore[no-untyped-call]
        self.issue_kernel_tokens(kernel_tokens, upstream.kernel_environment())

    def make_upstream(self) -> LocalUpstream | RemoteUpstream:
        """Raises StartError."""
        if url := self.url or os.environ.get("BQWIDGET_URL"):
            return RemoteUpstream(url)
        if self.log_url.startswith(("nats:", "tls:")):
            raise SettingError(
                "log_url: the rooms of a cluster are not served inside Jupyter; run bqserver --log=nats://... and set"
                " c.BqserverExtension.url to its address"
            )
        kind, _, path = self.log_url.partition(":")
        if kind == "sqlite":
            return LocalUpstream(f"sqlite:{user_path(path).absolute()}", self.given_settings())
        return LocalUpstream(self.log_url or None, self.given_settings())

    def given_settings(self) -> dict[str, object]:
        """What this Jupyter server's configuration sets, for a server that is started."""
        given = self.config.get(type(self).__name__, {})
        return {name: value for name, value in self.shared_settings().items() if name in given}

    def start_kernel_server(self, kernel_tokens: KernelTokens, route: Route) -> FastPathServer:
        """Serve kernels, which run on this machine, over plain HTTP on loopback; it accepts only their tokens.

        For a Jupyter server with a TLS certificate (issued for another name than loopback) or on a Unix socket.
        """
        handler = type("KernelHandler", (KernelHandler,), {"kernel_tokens": kernel_tokens})
        application = Application([URLSpec("/.*", handler, {"route": route})], log_function=lambda _: None)
        server = FastPathServer(application, max_open=max_sockets(), max_body_size=MAX_UNUSED_BODY_BYTES)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        self.kernel_server_url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        return server

    def issue_kernel_tokens(self, kernel_tokens: KernelTokens, elsewhere: Mapping[str, str] | None) -> None:
        """Pass the address and a token of its own to every kernel started from now on, or the address ``elsewhere``."""
        manager = self.serverapp.kernel_manager
        start = manager.start_kernel

        def make_environment(identity: Identity, given: Mapping[str, str] | None) -> dict[str, str]:
            environment = {**(os.environ if given is None else given), FOLDER_VARIABLE: self.serverapp.root_dir}
            if elsewhere is None:
                return kernel_tokens.make_environment(self.kernel_url(), identity, environment)
            environment |= elsewhere
            return {name: value for name, value in environment.items() if value or name not in elsewhere}

        async def start_kernel(*args: Any, env: Mapping[str, str] | None = None, **kwargs: Any) -> str:
            if self.kernel_environment is None:  # there are no rooms
                kernel: str = await start(*args, env=env, **kwargs)
                return kernel
            environment = self.kernel_environment(kernel_requester(), env)
            kernel = await start(*args, env=environment, **kwargs)
            kernel_tokens.bind(environment, kernel)
            return kernel

        self.kernel_environment = make_environment
        # For the tools that jupyter-server-mcp runs inside this process (bqwidget.mcp.jupyter).
        self.serverapp.web_app.settings["bqserver_agent_environment"] = lambda name: make_environment(
            Identity(name), {}
        )
        manager.start_kernel = start_kernel  # type: ignore[method-assign]  # Jupyter has no hook for it

    def kernel_url(self) -> str:
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

    async def stop_extension(self) -> None:
        await self.opened.aclose()


def kernel_requester() -> Identity:
    """The user whose request starts a kernel; the kernel's Room writes under their name."""
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    user = handler.current_user if isinstance(handler, JupyterHandler) else None
    return identity_from_user(user) if isinstance(user, User) else Identity()


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "bqserver.extension", "app": BqserverExtension}]
