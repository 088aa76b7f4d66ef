"""The address of a cluster: its NATS servers, and the stream that holds the rooms."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from bqserver.errors import SettingError

DEFAULT_PORT = 4222
DEFAULT_STREAM = "bqwidget"
STREAM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class StreamAddress(NamedTuple):
    """``servers``: one URL each; ``stream``: its name, which is also the first word of its subjects."""

    servers: list[str]
    stream: str

    def subject(self, room: str) -> str:
        return f"{self.stream}.room.{room}"

    def live_subject(self, room: str) -> str:
        """The subject to which the stream republishes a room's messages as it stores them."""
        return f"{self.stream}.live.{room}"

    def room(self, subject: str) -> str:
        return subject.rpartition(".")[2]


def parse_address(url: str) -> StreamAddress:
    """``nats://[user:password@]host[:port][,host[:port]...][/stream]``, or ``tls://``. Raises SettingError."""
    scheme, _, rest = url.partition("://")
    hosts, _, stream = rest.partition("/")
    stream = stream or DEFAULT_STREAM
    login, at, hosts = hosts.rpartition("@")
    servers = []
    for host in hosts.split(","):
        server = urlsplit(f"{scheme}://{login}{at}{host}")
        try:
            port = server.port or DEFAULT_PORT
        except ValueError:
            port = 0
        if not server.hostname or not port:
            raise SettingError(f"--log={scheme}://{hosts}: {host or 'an empty name'} is not host or host:port")
        name = f"[{server.hostname}]" if ":" in server.hostname else server.hostname
        servers.append(f"{scheme}://{login}{at}{name}:{port}")
    if not STREAM_NAME.fullmatch(stream):
        raise SettingError(f"--log: {stream} can't be a stream's name: use up to 64 of A-Z a-z 0-9 _ -")
    return StreamAddress(servers, stream)
