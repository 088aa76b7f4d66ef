"""The ``bqserver`` command: reads the settings, assembles the server, and runs it until a signal."""

from __future__ import annotations

import asyncio
import atexit
import logging
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import tornado.web
from traitlets import Dict

from bqserver.auth.authenticator import Authenticator
from bqserver.auth.file_watcher import CredentialWatcher
from bqserver.auth.gateway import Gateway
from bqserver.auth.moderation import ModerationState
from bqserver.auth.origins import Origins
from bqserver.auth.policy import Policy
from bqserver.cli.certificates import CertificateWatcher, tls_context
from bqserver.cli.history import open_local_log
from bqserver.cli.listener import bind, published_runtime_file
from bqserver.cli.settings import CLUSTER_SCHEMES, ServerSettings, normalize_base_path
from bqserver.cli.streams import open_standard_streams, print_line
from bqserver.clock import steady_time
from bqserver.config.limits import max_sockets
from bqserver.files import user_path
from bqserver.hub.hub import Hub
from bqserver.hub.reauthentication import Reauthentication
from bqserver.storage.interface import MessageLog
from bqserver.storage.memory import MemoryLog
from bqserver.storage.retention import parse_rules
from bqserver.storage.sqlite.log import SqliteLog
from bqserver.web.context import AppContext
from bqserver.web.fastpath.server import FastPathServer
from bqserver.web.handler import log_request
from bqserver.web.messages import LOBBY
from bqserver.web.requests import MAX_UNUSED_BODY_BYTES
from bqserver.web.routes import NotFoundHandler, routes

from .audit import AuditLog
from .errors import SettingError, StartError, StorageError
from .repeats import RepeatFilter

HTTP_IDLE_TIMEOUT = 120.0
"""Seconds that a client may be silent between two requests, or take for the body of one."""
THREAD_SWITCH_INTERVAL = 0.0005
"""Seconds until a waiting thread gets the interpreter lock: Python's 5 ms would delay every commit by as much."""

Join = Callable[[Hub], Awaitable[None]]
"""Joins a hub to the other nodes of a cluster. Raises StorageError."""


class ChatServer(ServerSettings):
    """A chat server: rooms over REST and WebSocket, every acknowledged message on disk."""

    name = "bqserver"
    examples = """
    bqserver                                  rooms for this machine; prints an invite link
    bqserver --port=0 --log=memory --open     no token, nothing stored: for trying things out
    bqserver --ip=0.0.0.0 --token-file=F --certfile=C --keyfile=K --allow-host=chat.example.org
    bqserver backup FILE                      copies the history, also while the server runs
    """

    subcommands = Dict(
        {
            "token": ("bqserver.cli.tokens.Token", "Named tokens: add, list, revoke."),
            "invite": ("bqserver.cli.invite.Invite", "Print a link that lets people into a room."),
            "rights": ("bqserver.cli.access.Rights", "Rights in rooms: accept."),
            "moderation": ("bqserver.cli.access.Moderation", "Closed rooms and mutes: accept."),
            "backup": ("bqserver.cli.maintenance.Backup", "Copy the log to a file; the server may run."),
            "restore": ("bqserver.cli.maintenance.Restore", "Replace the log by a backup; stop the server."),
            "check": ("bqserver.cli.maintenance.Check", "Verify the log; the server may run."),
            "purge": ("bqserver.cli.maintenance.Purge", "Delete a message and remove it from the files at once."),
            "copy": ("bqserver.cli.copy.Copy", "Copy a log from a file into a cluster, or back."),
        }
    )

    # ---- the command

    def start(self) -> None:
        super().start()
        if self.subapp is not None:
            return
        sys.setswitchinterval(THREAD_SWITCH_INTERVAL)
        if (handler := logging.lastResort) is not None:  # what no configured logger takes, such as Tornado's warnings
            handler.addFilter(repeats := RepeatFilter(handler))
            atexit.register(repeats.close)
        with self.reported_errors(), asyncio.Runner(loop_factory=loop_factory()) as runner:
            self.be_local_server()
            runner.run(self.serve(self.announce, signals=True))

    # ---- the server

    async def serve(self, ready: Callable[[Authenticator], None], *, signals: bool = False) -> None:
        """Run until ``stop``, a signal (if ``signals``) or the idle timeout. ``ready`` is called when the server listens.

        Raises ServerError if the server can't start.
        """
        loop = asyncio.get_running_loop()
        self._loop, self._stopped = loop, asyncio.Event()
        if signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._on_signal, asyncio.current_task())
        try:
            async with AsyncExitStack() as opened:
                await self._serve(opened, ready, signals=signals)
        except (asyncio.CancelledError, StorageError):  # NATS may turn the one into the other
            if not self._stopped.is_set():
                raise

    async def _serve(self, opened: AsyncExitStack, ready: Callable[[Authenticator], None], *, signals: bool) -> None:
        """As ``serve``. All that must be closed, in whatever step the start fails, is entered into ``opened``."""
        self.base = normalize_base_path(self.base_url)
        if self.jupyterhub:
            self.use_hub_address()
        self.check()
        tls = tls_context(self.certfile, self.keyfile) if self.certfile else None
        files, authenticator = self.open_authenticator()
        audit = AuditLog(self.audit_log or None)
        opened.callback(audit.close)
        sockets = bind(self.ip, self.port)
        for one in sockets:
            opened.callback(one.close)
        last = await opened.enter_async_context(AsyncExitStack())  # what is closed after the hub
        hub = await self.open_hub(authenticator, audit, sockets[0].getsockname()[1])
        opened.push_async_callback(hub.close)
        watcher = CredentialWatcher(files, authenticator, hub.review)
        opened.callback(watcher.close)
        if self.jupyterhub:
            opened.callback(Reauthentication(hub, self.recheck).close)
        connections, logins = self.connection_limiter(), self.login_throttle()
        if hub.membership is not None:
            hub.membership.share_limit("joins", connections.joins)
            hub.membership.share_limit("failures", logins.failures)
        origins = Origins(hosts=self.allow_host, origins=self.allow_origin)
        gateway = Gateway() if self.runtime_file else None
        context = AppContext(hub, authenticator, origins, self.base, connections, logins, self.behind_proxy, gateway)
        server = self.make_http_server(context, tls)
        last.push_async_callback(server.close_all_connections)
        opened.callback(server.stop)
        server.add_sockets(sockets)
        certificate = CertificateWatcher(self.certfile, self.keyfile, server.set_tls) if self.certfile else None
        if certificate is not None:
            opened.callback(certificate.close)
        if signals and hasattr(signal, "SIGHUP"):
            self._loop.add_signal_handler(signal.SIGHUP, self.reload, watcher, certificate, audit)
        self.url = self.address(sockets[0].getsockname()[1])
        opened.enter_context(published_runtime_file(self, gateway, server.add_handovers))
        ready(authenticator)
        await self.until_stopped(hub)

    def _on_signal(self, serving: asyncio.Task[Any] | None) -> None:
        self._stopped.set()
        if serving is not None and not self.url:  # still starting, and perhaps waiting for a cluster
            serving.cancel()

    def make_http_server(self, context: AppContext, tls: ssl.SSLContext | None) -> FastPathServer:
        table = routes(context)
        if self.jupyterhub:
            from bqserver.jupyter.jupyterhub import hub_routes  # noqa: PLC0415 - the extra "hub"

            table = hub_routes(context, recheck=self.recheck)
        application = tornado.web.Application(
            table,
            default_handler_class=NotFoundHandler,
            default_handler_args={"context": context},
            cookie_secret=context.authenticator.cookie_secret,
            log_function=log_request,
        )
        return FastPathServer(
            application,
            context=None if self.jupyterhub else context,  # the fast path can't ask the Hub
            ssl_options=tls,
            idle_connection_timeout=HTTP_IDLE_TIMEOUT,
            body_timeout=HTTP_IDLE_TIMEOUT,
            max_open=max_sockets(),
            max_per_address=0 if self.behind_proxy or context.gateway else self.max_sockets_per_address(),
            max_body_size=MAX_UNUSED_BODY_BYTES,  # BodyHandler raises it
        )

    async def open_hub(self, authenticator: Authenticator, audit: AuditLog, port: int) -> Hub:
        """Open the log, and join the other nodes of a cluster. ``port``: see ``open_log``. Raises ServerError."""
        policy = Policy(authenticator, ModerationState(self.moderation_file(), steady_time))
        log, join = await self.open_log(port)
        async with AsyncExitStack() as opened:
            opened.push_async_callback(log.close)
            hub = Hub(
                log,
                attachments=log.attachments,
                limits=self.limits(),
                heartbeat=self.heartbeat,
                buffer=self.buffer,
                policy=policy,
                audit=audit,
            )
            opened.pop_all()
            opened.push_async_callback(hub.close)  # closes the log too
            await hub.resume_live()
            if join is not None:
                await join(hub)
            opened.pop_all()
        return hub

    def reload(self, watcher: CredentialWatcher, certificate: CertificateWatcher | None, audit: AuditLog) -> None:
        """On SIGHUP: read tokens, rights and the certificate, and reopen a rotated audit log."""
        watcher.reload()
        if certificate is not None:
            certificate.reload()
        audit.reopen()

    def stop(self) -> None:
        """End ``serve``. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def until_stopped(self, hub: Hub) -> None:
        while not self._stopped.is_set():
            interval = min(self.idle_timeout, 30.0) / 2 or None
            try:
                await asyncio.wait_for(self._stopped.wait(), interval)
            except TimeoutError:
                if not hub.peers and self._loop.time() - hub.last_active_at > self.idle_timeout:
                    return

    def use_hub_address(self) -> None:
        """Listen where the Hub says; only its proxy connects there. Raises StartError."""
        try:
            from bqserver.jupyter.jupyterhub import service_address  # noqa: PLC0415 - the extra "hub"
        except ImportError:
            raise StartError("--jupyterhub needs a package: pip install jupyterhub") from None
        address = service_address()
        if address is None:
            raise StartError("--jupyterhub: no Hub has started this process; add it to c.JupyterHub.services")
        self.ip, self.port, self.base, hosts = address
        self.allow_host = [*self.allow_host, *hosts]
        self.behind_proxy = True

    async def open_log(self, port: int) -> tuple[MessageLog, Join | None]:
        """The log, and in a cluster how to join it. ``port`` distinguishes the nodes of one machine.

        Raises SettingError and StorageError.
        """
        if self.log_url.startswith(CLUSTER_SCHEMES):
            return await self.open_cluster(port)
        if self.runtime_file:
            return await open_local_log(self.log_url, self.make_log), None
        return self.make_log(), None

    def make_log(self) -> MessageLog:
        kind, _, rest = self.log_url.partition(":")
        if self.log_url == "memory":
            return MemoryLog()
        if kind == "sqlite" and rest:
            return SqliteLog(user_path(rest), retain=parse_rules(self.retain))
        raise SettingError(f"--log={self.log_url} is not understood: use sqlite:PATH, nats://HOST[,HOST...] or memory")

    async def open_cluster(self, port: int) -> tuple[MessageLog, Join]:
        try:
            from bqserver.cluster.node import join  # noqa: PLC0415 - the extra "cluster"
            from bqserver.storage.nats.log import open_log  # noqa: PLC0415 - the extra "cluster"
        except ImportError:
            raise SettingError("--log=nats://... needs a package: pip install nats-py[nkeys]") from None
        log = await open_log(
            self.log_url,
            self.view_file(port),
            single=self.single,
            credentials=self.nats_creds,
            ca=self.nats_ca,
            monitors=self.nats_monitor,
            retain=self.retain,
        )
        return log, partial(join, log)

    def announce(self, authenticator: Authenticator) -> None:
        print_line(f"{self.name} listening on {self.url}")
        if not self.open and sys.stdout.isatty():
            code = authenticator.create_local_invite(uses=1, minutes=60)
            print_line(f"Invite link (single use, valid 1 h): {self.page_address()}/rooms/{LOBBY}#invite={code}")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, if it is installed (the extra ``fast``)."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main(argv: list[str] | None = None, **kwargs: Any) -> None:
    open_standard_streams()
    ChatServer.launch_instance(argv, **kwargs)
