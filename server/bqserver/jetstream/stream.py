"""The stream that holds every room: where it is, what it must be set to, and how it is made or checked.

One stream, a subject per room, republished as it is stored. What is checked here is what the promise rests on:
an acknowledged message is on the disks of a quorum, and nothing takes it away again.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import nats.errors

from bqserver.errors import ClusterError, SettingError

DEFAULT_PORT = 4222
DEFAULT_STREAM = "bqwidget"
REPLICAS = 3
DUPLICATE_WINDOW_SECONDS = 120
"""Seconds for which JetStream knows a message's id: a send is tried again for 10, so that it is stored once."""
MIN_DUPLICATE_WINDOW_SECONDS = 60
STREAM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

STARTUP_TIMEOUT = 15.0
"""Seconds for JetStream's first answer."""
RETRY_INTERVAL = 0.25
COPY_KEY = "copying"
"""In a stream's metadata: what is being copied into it, which no node may serve yet."""
STREAM_NOT_FOUND, STREAM_NAME_IN_USE, REPLICAS_NOT_SUPPORTED = 10059, 10058, 10074
"""JetStream's error codes."""


class StreamAddress(NamedTuple):
    """``servers``: one URL each; ``stream``: its name, and the first word of its subjects."""

    servers: list[str]
    stream: str

    def subject(self, room: str) -> str:
        return f"{self.stream}.room.{room}"

    def live_subject(self, room: str) -> str:
        """Where a room's messages are heard as they are stored."""
        return f"{self.stream}.live.{room}"

    def room(self, subject: str) -> str:
        return subject.rpartition(".")[2]


class ApiClient(Protocol):
    """A connection, as far as the stream needs one: ``ask`` gives JetStream's answer, errors and all."""

    async def request(self, subject: str, question: dict[str, Any] | None = None) -> dict[str, Any]: ...


def parse_address(url: str) -> StreamAddress:
    """``nats://[user:password@]host[:port][,host[:port]...][/stream]``, or ``tls://``. Raises ClusterError."""
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
            raise SettingError(f"--log={scheme}://{hosts}: {host or 'nothing'} is no host:port")
        name = f"[{server.hostname}]" if ":" in server.hostname else server.hostname
        servers.append(f"{scheme}://{login}{at}{name}:{port}")
    if not STREAM_NAME.fullmatch(stream):
        raise SettingError(f"--log: {stream} can't be a stream's name: up to 64 of A-Z a-z 0-9 _ -")
    return StreamAddress(servers, stream)


def stream_settings(address: StreamAddress, *, replicas: int, epoch: str) -> dict[str, Any]:
    """A stream's, as JetStream's API takes them."""
    return {
        "name": address.stream,
        "description": "Rooms of bqwidget: who may publish here may write in every room",
        "subjects": [address.subject("*")],
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "discard": "new",  # a full stream refuses the newest, and never lets an old one go
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_consumers": -1,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS * 1_000_000_000,
        "allow_direct": True,
        "republish": {"src": address.subject("*"), "dest": address.live_subject("{{wildcard(1)}}")},
        "metadata": {"epoch": epoch},
    }


def setting_problems(config: dict[str, Any], address: StreamAddress, *, single: bool) -> list[str]:
    """In what a stream's settings would break a promise; each says what to do."""
    wrong = []
    replicas = config.get("num_replicas", 1)
    window = config.get("duplicate_window", 0) / 1_000_000_000
    if config.get("storage") != "file":
        wrong.append("it is kept in memory, and would be lost with its servers: set its storage to file")
    if replicas < REPLICAS and not single:
        wrong.append(
            f"it has {replicas} replica{'s'[: replicas - 1]}, so one lost disk loses messages: "
            f"set num_replicas to {REPLICAS}, or say --single if that is meant"
        )
    if window < MIN_DUPLICATE_WINDOW_SECONDS:
        wrong.append(
            f"it knows message ids for {window:g} s, so a send tried again may be stored twice: "
            f"set duplicate_window to {DUPLICATE_WINDOW_SECONDS} s"
        )
    if config.get("subjects") != [address.subject("*")]:
        wrong.append(f"its subjects are not {address.subject('*')}: it is another program's, name another")
    if config.get("retention", "limits") != "limits":
        wrong.append("what is read is taken away: set its retention to limits")
    limits = ("max_msgs", "max_bytes", "max_age", "max_msgs_per_subject")
    limited = [name for name in limits if config.get(name, 0) > 0]
    if limited == ["max_bytes"] and config.get("discard") == "new":
        limited = []  # it refuses, and loses nothing
    if limited:
        wrong.append(f"{' and '.join(limited)} would let messages go behind our back: set no such limit")
    if config.get("no_ack"):
        wrong.append("it does not acknowledge: turn no_ack off")
    if config.get("persist_mode") == "async":
        wrong.append("it acknowledges before it is on disk: set persist_mode to default")
    if config.get("sealed"):
        wrong.append("it is sealed: nothing can be written to it")
    if not config.get("allow_direct"):
        wrong.append("it can't be read directly: set allow_direct")
    republish = config.get("republish") or {}
    if (republish.get("src"), republish.get("headers_only", False)) != (address.subject("*"), False) or (
        republish.get("dest") != address.live_subject("{{wildcard(1)}}")
    ):
        wrong.append(
            f"it does not republish to {address.live_subject('*')}: set republish as the README says"
        )
    if (config.get("metadata") or {}).get(COPY_KEY):
        wrong.append("a copy into it has not come to its end: run bqserver copy again")
    if not (config.get("metadata") or {}).get("epoch"):
        wrong.append("it has no epoch: put one, any word, into its metadata")
    return wrong


async def ensure_stream(client: ApiClient, address: StreamAddress, *, single: bool = False) -> str:
    """Make the stream where there is none, and check it. Raises ClusterError.

    A cluster that has just been started needs some seconds until it has elected who answers.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STARTUP_TIMEOUT
    while True:
        try:
            found = await _get_or_create(client, address, single=single)
        except (TimeoutError, nats.errors.Error) as error:
            found = {
                "error": {"description": f"JetStream does not answer ({str(error) or type(error).__name__})"}
            }
        config = found.get("config")
        if config is not None:
            break
        refused = found.get("error", {})
        if loop.time() > deadline or error_code(found) == REPLICAS_NOT_SUPPORTED:
            hint = (
                "" if single else f"; {REPLICAS} servers with JetStream are needed, or say --single for one"
            )
            raise ClusterError(
                f"the stream {address.stream} can't be used: {refused.get('description')}{hint}"
            )
        await asyncio.sleep(RETRY_INTERVAL)
    if wrong := setting_problems(config, address, single=single):
        raise ClusterError(f"the stream {address.stream} would break a promise: " + "; and ".join(wrong))
    return str(config["metadata"]["epoch"])


async def _get_or_create(client: ApiClient, address: StreamAddress, *, single: bool) -> dict[str, Any]:
    name = address.stream
    found = await client.request(f"STREAM.INFO.{name}")
    if error_code(found) == STREAM_NOT_FOUND:
        made = stream_settings(address, replicas=1 if single else REPLICAS, epoch=secrets.token_hex(8))
        found = await client.request(f"STREAM.CREATE.{name}", made)
        if error_code(found) == STREAM_NAME_IN_USE:  # another node was quicker
            found = await client.request(f"STREAM.INFO.{name}")
    return found


def error_code(answer: dict[str, Any]) -> int:
    error = answer.get("error") or {}
    return int(error.get("err_code", 0))
