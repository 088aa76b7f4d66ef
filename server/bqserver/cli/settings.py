"""Everything that can be set of a server: each a trait, a flag where it is needed often, and the default."""

from __future__ import annotations

import os
import re

from traitlets import Bool, Dict, Float, Int, List, Unicode, default

from bqserver.auth.origins import is_host, is_loopback, is_origin
from bqserver.config.limits import LimitSettings
from bqserver.config.paths import data_dir
from bqserver.errors import SettingError, StartError

from .application import Command

MAX_PORT = 65_535


class ServerSettings(LimitSettings, Command):
    """The traits of ChatServer, under which name configuration files know them."""

    ip = Unicode("127.0.0.1", help="Address to listen on.").tag(config=True)
    port = Int(
        8765,
        min=0,
        max=MAX_PORT,
        help="Port to listen on; 0 takes a free one. Default: $PORT, else 8765.",
    ).tag(config=True)
    base_url = Unicode(
        "/", help="Path before all routes, as /chat/, where a proxy gives it a part of a site."
    ).tag(config=True)
    log_url = Unicode(
        "",
        help="Where messages are kept: sqlite:PATH, nats://HOST[,HOST...][/STREAM] or memory. "
        "Default: sqlite in your data folder.",
    ).tag(config=True)
    view = Unicode(
        "",
        help="With nats: the file this node serves from, filled from the stream. Default: in your data folder.",
    ).tag(config=True)
    nats_creds = Unicode("", help="With nats: file with this node's credentials (.creds).").tag(config=True)
    nats_ca = Unicode(
        "", help="With nats, over TLS: the certificate (PEM) that signs its servers'. Default: the system's."
    ).tag(config=True)
    nats_monitor = List(
        Unicode(),
        help="With nats: a server's monitoring, as http://host:8222; checked for sync_interval. Repeatable.",
    ).tag(config=True)
    retain = List(
        Unicode(),
        help="With nats: let the oldest messages of some rooms go, by age or size or both, as 'class-*=30d', "
        "'logs-*=100MB' or '*=52w,1GB' (m, h, d, w; kB, MB, GB, TB). Repeatable, first fit.",
    ).tag(config=True)
    single = Bool(
        False, help="With nats: one replica will do, so one lost disk may lose messages. For trying out."
    ).tag(config=True)
    open = Bool(False, help="No token: everyone who can connect is in. Loopback only.").tag(config=True)
    open_network = Bool(False, help="Allow --open beyond loopback too.").tag(config=True)
    token_file = Unicode(
        "", help="File (mode 0600) with the token. Default: $BQSERVER_TOKEN, else one made for you."
    ).tag(config=True)
    named_tokens = Unicode(help="File of named tokens. Default: tokens.json in your data folder.").tag(
        config=True
    )
    rights = Unicode(help="File of rights in rooms. Default: rights.toml in your data folder.").tag(
        config=True
    )
    certfile = Unicode("", help="TLS certificate (PEM).").tag(config=True)
    keyfile = Unicode("", help="TLS private key (PEM).").tag(config=True)
    allow_origin = List(
        Unicode(), help="A foreign page that may come, as scheme://host[:port]. Repeatable."
    ).tag(config=True)
    allow_host = List(Unicode(), help="A name this server is reached by (Host header). Repeatable.").tag(
        config=True
    )
    jupyterhub = Bool(False, help="Be a service of the JupyterHub that started this.").tag(config=True)
    behind_proxy = Bool(
        False, help="Believe the X-Forwarded headers of a reverse proxy; it alone may reach the port."
    ).tag(config=True)
    audit_log = Unicode(
        "", help="Write who did what in which room here, one JSON line each; - is standard error."
    ).tag(config=True)
    idle_timeout = Float(
        0.0, min=0.0, help="Exit after this many seconds without a member or a message; 0: never."
    ).tag(config=True)
    runtime_file = Unicode("", help="Write url, pid and token here (JSON, mode 0600) while running.").tag(
        config=True
    )

    aliases = Dict(
        {
            "ip": "ChatServer.ip",
            "port": "ChatServer.port",
            "base-url": "ChatServer.base_url",
            "log": "ChatServer.log_url",
            "view": "ChatServer.view",
            "nats-creds": "ChatServer.nats_creds",
            "nats-ca": "ChatServer.nats_ca",
            "nats-monitor": "ChatServer.nats_monitor",
            "retain": "ChatServer.retain",
            "token-file": "ChatServer.token_file",
            "named-tokens": "ChatServer.named_tokens",
            "rights": "ChatServer.rights",
            "certfile": "ChatServer.certfile",
            "keyfile": "ChatServer.keyfile",
            "allow-origin": "ChatServer.allow_origin",
            "allow-host": "ChatServer.allow_host",
            "rate-limit": "ChatServer.rate_limit",
            "audit-log": "ChatServer.audit_log",
            "heartbeat": "ChatServer.heartbeat",
            "buffer": "ChatServer.buffer",
            "idle-timeout": "ChatServer.idle_timeout",
            "runtime-file": "ChatServer.runtime_file",
            "config": "ChatServer.config_file",
            "log-level": "Application.log_level",
        }
    )
    flags = Dict(
        {
            "open": (
                {"ChatServer": {"open": True}},
                "No token: everyone who can connect is in. Loopback only.",
            ),
            "jupyterhub": (
                {"ChatServer": {"jupyterhub": True}},
                "Be a service of the JupyterHub that started this.",
            ),
            "behind-proxy": (
                {"ChatServer": {"behind_proxy": True}},
                "Believe the X-Forwarded headers of a reverse proxy; it alone may reach the port.",
            ),
            "single": (
                {"ChatServer": {"single": True}},
                "With nats: one replica will do, so one lost disk may lose messages. For trying out.",
            ),
            "open-network": ({"ChatServer": {"open_network": True}}, "Allow --open beyond loopback too."),
        }
    )

    @default("port")
    def _default_port(self) -> int:
        port = os.environ.get("PORT") or "8765"
        if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
            self.exit_with_usage_error(
                f"PORT is {port} in the environment: a port is a number from 0 to {MAX_PORT:,}"
            )
        return int(port)

    @default("log_url")
    def _default_log(self) -> str:
        return f"sqlite:{data_dir() / 'history.sqlite'}"

    @default("named_tokens")
    def _default_named_tokens(self) -> str:
        return str(data_dir() / "tokens.json")

    @default("rights")
    def _default_rights(self) -> str:
        return str(data_dir() / "rights.toml")

    def is_exposed(self) -> bool:
        return not is_loopback(self.ip) or self.behind_proxy

    def check(self) -> None:
        """Raises StartError for what can't be meant, and SettingError for what is no setting at all."""
        if self.open and not is_loopback(self.ip) and not self.open_network:
            raise StartError(
                f"--open on {self.ip} would let the whole network in without a token: "
                "drop --open, or add --open-network if that is meant"
            )
        if bool(self.certfile) != bool(self.keyfile):
            raise SettingError("--certfile and --keyfile go together: give both")
        for origin in self.allow_origin:
            if not is_origin(origin):
                raise SettingError(
                    f"--allow-origin={origin} is no origin: give scheme://host[:port], as https://chat.example.org"
                )
        for host in self.allow_host:
            if not is_host(host):
                raise SettingError(
                    f"--allow-host={host} is no host: give a name or name:port, as chat.example.org"
                )


def normalize_base_path(url: str) -> str:
    """``/chat/`` for ``chat``, ``/chat`` and ``/chat/``."""
    path = url.strip("/")
    if not re.fullmatch(r"[\w.~/-]*", path, re.ASCII):
        raise SettingError(f"--base-url={url} is no path: give one as /chat/")
    return f"/{path}/" if path else "/"
