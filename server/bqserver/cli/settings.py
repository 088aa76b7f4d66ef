"""The settings of the ``bqserver`` command: traits, their command-line flags, and defaults."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from traitlets import Bool, Dict, Int, List, Unicode, default

from bqserver.auth.authenticator import Authenticator
from bqserver.auth.file_watcher import CredentialFiles
from bqserver.auth.moderation import moderation_path
from bqserver.auth.origins import is_host, is_loopback, is_origin, strip_port
from bqserver.auth.token_file import read_or_create_token, read_token
from bqserver.config.limits import LimitSettings, Seconds
from bqserver.config.paths import DataFile, data_dir, has_traces, local_history, runtime_file
from bqserver.errors import SettingError, StartError
from bqserver.files import user_path
from bqserver.storage.retention import parse_rules

from .application import Command
from .history import check_is_first

MAX_PORT = 65_535
WILDCARD_IPS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
CLUSTER_SCHEMES = ("nats://", "tls://")
FLAG_TRAITS = [
    "ip", "port", "base_url", "view", "nats_creds", "nats_ca", "nats_monitor", "retain", "token_file", "named_tokens",
    "rights", "certfile", "keyfile", "allow_origin", "allow_host", "rate_limit", "audit_log", "heartbeat", "buffer",
    "idle_timeout", "runtime_file",
]  # fmt: skip
"""Traits with a command-line flag of the same name."""
SWITCHES = {
    "open": "Accept everyone who can connect, without a token. Loopback only.",
    "open_network": "Allow --open on other addresses than loopback.",
    "jupyterhub": "Run as a service of the JupyterHub that started this process.",
    "behind_proxy": "Trust the X-Forwarded headers of a reverse proxy; only the proxy may reach the port.",
    "single": "With nats: accept one replica; losing its disk loses messages. For trying out.",
}
"""Boolean traits with a flag that takes no value, and their help."""


CLUSTER_FLAGS = "view", "single", "nats_creds", "nats_ca", "nats_monitor"
"""Traits that only a log in a cluster uses."""
HUB_FLAGS = "ip", "port", "base_url", "open", "open_network", "token_file", "named_tokens"
"""Traits that a service of JupyterHub does not use: the Hub says where it listens, and who comes in."""


class ServerSettings(LimitSettings, Command):
    """The traits of ``ChatServer``; configuration files set them as ``c.ChatServer.NAME``."""

    ip = Unicode("127.0.0.1", help="Address to listen on.").tag(config=True)
    port = Int(8765, min=0, max=MAX_PORT, help="Port to listen on; 0 takes a free one. Default: $PORT, else 8765.").tag(
        config=True
    )
    base_url = Unicode(
        "/", help="Path before all routes, such as /chat/, behind a proxy that serves other paths too."
    ).tag(config=True)
    log_url = DataFile(
        "history.sqlite",
        scheme="sqlite:",
        help="Where messages are stored: sqlite:PATH, nats://HOST[,HOST...][/STREAM] or memory. "
        "Default: sqlite in your data folder; on loopback, unless that exists, the history of your local server.",
    ).tag(config=True)
    view = Unicode(
        "",
        help="With nats: this node's copy of the stream, a file it serves from. Default: in your data folder.",
    ).tag(config=True)
    nats_creds = Unicode("", help="With nats: file with this node's credentials (.creds).").tag(config=True)
    nats_ca = Unicode(
        "", help="With nats over TLS: CA certificate (PEM) of the NATS servers. Default: the system's."
    ).tag(config=True)
    nats_monitor = List(
        Unicode(),
        help="With nats: a server's monitoring URL, such as http://host:8222, to check sync_interval. Repeatable.",
    ).tag(config=True)
    single = Bool(False, help=SWITCHES["single"]).tag(config=True)
    open = Bool(False, help=SWITCHES["open"]).tag(config=True)
    open_network = Bool(False, help=SWITCHES["open_network"]).tag(config=True)
    token_file = Unicode(
        "", help="File (mode 0600) with the token. Default: $BQSERVER_TOKEN, else one created for you."
    ).tag(config=True)
    named_tokens = DataFile("tokens.json", help="File of named tokens. Default: tokens.json in your data folder.").tag(
        config=True
    )
    rights = DataFile("rights.toml", help="File of rights in rooms. Default: rights.toml in your data folder.").tag(
        config=True
    )
    certfile = Unicode("", help="TLS certificate (PEM).").tag(config=True)
    keyfile = Unicode("", help="TLS private key (PEM).").tag(config=True)
    allow_origin = List(
        Unicode(), help="Origin of another site's page that may connect: scheme://host[:port]. Repeatable."
    ).tag(config=True)
    allow_host = List(Unicode(), help="A host name of this server (Host header). Repeatable.").tag(config=True)
    jupyterhub = Bool(False, help=SWITCHES["jupyterhub"]).tag(config=True)
    behind_proxy = Bool(False, help=SWITCHES["behind_proxy"]).tag(config=True)
    audit_log = Unicode(
        "",
        help="File for the audit log: who did what in which room, one JSON line each; - is standard error.",
    ).tag(config=True)
    idle_timeout = Seconds(
        0.0, min=0.0, help="Exit after this many seconds without a connection or a message; 0: never."
    ).tag(config=True)
    runtime_file = Unicode("", help="Write url, pid and token here (JSON, mode 0600) while running.").tag(config=True)

    token: str | None = None
    """The shared token; None without one."""
    url = ""
    """The address, once the server listens."""
    base = "/"
    """The path before all routes."""

    aliases = Dict(
        {name.replace("_", "-"): f"ChatServer.{name}" for name in FLAG_TRAITS}
        | {
            "log": "ChatServer.log_url",
            "config": "ChatServer.config_file",
            "log-level": "Application.log_level",
        }
    )
    flags = Dict({name.replace("_", "-"): ({"ChatServer": {name: True}}, text) for name, text in SWITCHES.items()})

    @default("port")
    def _default_port(self) -> int:
        port = os.environ.get("PORT") or "8765"
        if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
            self.exit_with_usage_error(
                f"the environment variable PORT is {port}; a port is a number from 0 to {MAX_PORT:,}"
            )
        return int(port)

    def be_local_server(self) -> None:
        """Be the server that notebooks and scripts join, with its history, if nothing is set that speaks against it.

        A history that an earlier server has kept under the default name is served as before. Raises StartError if that server runs already.
        """
        given = self.config.get("ChatServer", {})
        if self.is_exposed() or self.open or self.jupyterhub or self.certfile or {"log_url", "runtime_file"} & {*given}:
            return
        if has_traces(former := Path(self.log_url.removeprefix("sqlite:"))):
            text = "%s: the rooms of %s, as before; notebooks and scripts join those of your local server instead"
            self.log.warning(text, self.name, former)
            return
        check_is_first(runtime_file())
        self.runtime_file = str(runtime_file())
        self.log_url = f"sqlite:{local_history()}"

    def is_exposed(self) -> bool:
        return not is_loopback(self.ip) or self.behind_proxy

    def find_token(self) -> str:
        """The shared token: from the file, the environment, or created in the data folder. Raises AccessFileError."""
        if self.token_file:
            return read_token(Path(self.token_file))
        return os.environ.get("BQSERVER_TOKEN") or read_or_create_token(data_dir() / "token")

    def open_authenticator(self) -> tuple[CredentialFiles, Authenticator]:
        """Raises AccessFileError."""
        self.token = None if self.open or self.jupyterhub else self.find_token()
        tokens = None if self.jupyterhub else Path(self.named_tokens)
        names_rights = self.rights != str(data_dir() / "rights.toml")
        files = CredentialFiles(tokens, Path(self.rights), names_rights=names_rights, spare_folder=data_dir())
        authenticator = Authenticator(
            token=self.token, is_open=self.open, clock=time.time, is_local=bool(self.runtime_file)
        )
        authenticator.grants, authenticator.permissions = files.grants, files.permissions
        return files, authenticator

    def view_file(self, port: int) -> Path:
        """A node's copy of the stream. ``port`` distinguishes the nodes of one machine."""
        return user_path(self.view) if self.view else data_dir() / f"view-{port}.sqlite"

    def moderation_file(self) -> Path | None:
        """The file for mutes and closed rooms; None for a log that is not in a file."""
        kind, _, path = self.log_url.partition(":")
        return moderation_path(user_path(path)) if kind == "sqlite" and path else None

    def address(self, port: int) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{'https' if self.certfile else 'http'}://{host}:{port}{self.base.rstrip('/')}"

    def page_address(self) -> str:
        """``url`` as a browser opens it: 0.0.0.0 is no address to connect to."""
        if self.ip not in WILDCARD_IPS:
            return self.url
        host = self.allow_host[0] if self.allow_host else "127.0.0.1"
        parts = urlsplit(self.url)
        return parts._replace(netloc=host if strip_port(host) != host else f"{host}:{parts.port}").geturl()

    def _check_applicable(self) -> None:
        """Raises SettingError for a setting that has no effect together with the others."""
        if not self.log_url.startswith(CLUSTER_SCHEMES):
            for name in CLUSTER_FLAGS:
                if getattr(self, name):
                    raise SettingError(
                        f"{_flag(name)} is for a cluster, and --log={self.log_url} is none: "
                        "remove it, or give --log=nats://HOST[,HOST...]"
                    )
        if self.log_url == "memory" and self.retain:
            raise SettingError(
                "--retain is for a log that is stored, and --log=memory is none: remove it, or give --log=sqlite:PATH"
            )
        parse_rules(self.retain)
        if self.open and self.token_file:
            raise SettingError("--open asks for no token, so --token-file can't apply: remove one of them")
        if self.open_network and not self.open:
            raise SettingError("--open-network only extends --open: give both, or remove it")
        for name in HUB_FLAGS if self.jupyterhub else ():
            if name in self.config.get("ChatServer", {}):
                raise SettingError(
                    f"{_flag(name)} can't apply with --jupyterhub, where the Hub says who comes in and where: remove it"
                )

    def check(self) -> None:
        """Raises SettingError for an invalid value or one that can't apply, StartError for an insecure combination."""
        self._check_applicable()
        if not self.ip:
            raise SettingError(
                "--ip is empty: give an address; 0.0.0.0 is every IPv4 address, :: also every IPv6 address"
            )
        if self.open and not is_loopback(self.ip) and not self.open_network:
            raise StartError(
                f"--open on {self.ip} would admit the whole network without a token: "
                "remove --open, or add --open-network if that is intended"
            )
        if bool(self.certfile) != bool(self.keyfile):
            raise SettingError("--certfile and --keyfile belong together: give both")
        for origin in self.allow_origin:
            if not is_origin(origin):
                raise SettingError(
                    f"--allow-origin={origin} is not an origin: give scheme://host[:port], such as https://chat.example.org"
                )
        for host in self.allow_host:
            if not is_host(host):
                raise SettingError(
                    f"--allow-host={host} is not a host: give a name or name:port, such as chat.example.org"
                )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def normalize_base_path(url: str) -> str:
    """``/chat/`` for ``chat``, ``/chat`` and ``/chat/``. Raises SettingError."""
    path = url.strip("/")
    if not re.fullmatch(r"[\w.~/-]*", path, re.ASCII):
        raise SettingError(f"--base-url={url} is not a path: give one such as /chat/")
    return f"/{path}/" if path else "/"
