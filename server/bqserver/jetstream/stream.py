"""The settings of the stream that holds every room: how it is created, and what is checked.

One stream with a subject per room, republished as it is stored. The checked settings are the base of the delivery
promise: an acknowledged message is on the disks of a quorum, and nothing removes it.
"""

from __future__ import annotations

import secrets
from typing import Any

from bqserver.errors import ClusterError

from .address import StreamAddress
from .client import NatsClient
from .retry import retry

REPLICAS = 3
DUPLICATE_WINDOW_SECONDS = 120
"""How long JetStream remembers a message's id. A send is retried for 10 s, so it is stored once."""
MIN_DUPLICATE_WINDOW_SECONDS = 60
STARTUP_TIMEOUT = 15.0
"""Seconds for JetStream's first answer."""
RETRY_INTERVAL = 0.25
COPY_KEY = "copying"
"""In a stream's metadata while a log is copied into it: no node may serve it yet."""
STREAM_NOT_FOUND_CODE, STREAM_NAME_IN_USE_CODE, REPLICAS_NOT_SUPPORTED_CODE = 10059, 10058, 10074
"""JetStream's error codes. A name is in use if a stream of that name has other settings."""


def stream_settings(address: StreamAddress, *, replicas: int, epoch: str) -> dict[str, Any]:
    """The configuration of the stream, as JetStream's API takes it."""
    return {
        "name": address.stream,
        "description": "Rooms of bqwidget: who may publish here may write in every room",
        "subjects": [address.subject("*")],
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "discard": "new",  # a full stream refuses new messages, and never removes old ones
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
    """The settings that would break the delivery promise, each with what to do."""
    problems = []
    replicas = config.get("num_replicas", 1)
    window = config.get("duplicate_window", 0) / 1_000_000_000
    if config.get("storage") != "file":
        problems.append("it is kept in memory, and is lost with its servers: set its storage to file")
    if replicas < REPLICAS and not single:
        problems.append(
            f"it has {replicas} replica{'s'[: replicas - 1]}, so one lost disk loses messages: "
            f"set num_replicas to {REPLICAS}, or pass --single to accept this"
        )
    if window < MIN_DUPLICATE_WINDOW_SECONDS:
        problems.append(
            f"it remembers message ids for {window:g} s, so a repeated send may be stored twice: "
            f"set duplicate_window to {DUPLICATE_WINDOW_SECONDS} s"
        )
    if config.get("subjects") != [address.subject("*")]:
        problems.append(
            f"its subjects are not {address.subject('*')}: it belongs to another program, name another stream"
        )
    if config.get("retention", "limits") != "limits":
        problems.append("it removes messages that were read: set its retention to limits")
    limits = ("max_msgs", "max_bytes", "max_age", "max_msgs_per_subject")
    limited = [name for name in limits if config.get(name, 0) > 0]
    if limited == ["max_bytes"] and config.get("discard") == "new":
        limited = []  # a full stream refuses new messages, and loses none
    if limited:
        problems.append(f"{' and '.join(limited)} would remove old messages: set no such limit")
    if config.get("no_ack"):
        problems.append("it does not acknowledge: turn no_ack off")
    if config.get("persist_mode") == "async":
        problems.append("it acknowledges before a message is on disk: set persist_mode to default")
    if config.get("sealed"):
        problems.append("it is sealed, so nothing can be written: name another stream")
    if not config.get("allow_direct"):
        problems.append("it can't be read directly: set allow_direct")
    republish = {"src": address.subject("*"), "dest": address.live_subject("{{wildcard(1)}}")}
    if {"headers_only": False, **(config.get("republish") or {})} != {"headers_only": False, **republish}:
        problems.append(f"it does not republish messages: set its republish to {republish}")
    if (config.get("metadata") or {}).get(COPY_KEY):
        problems.append("a copy into it is not complete: run bqserver copy again")
    if not (config.get("metadata") or {}).get("epoch"):
        problems.append("it has no epoch: put one, any word, into its metadata")
    return problems


def check_settings(config: dict[str, Any], address: StreamAddress, *, single: bool) -> None:
    """Raises ClusterError with all ``setting_problems``."""
    if problems := setting_problems(config, address, single=single):
        raise ClusterError(f"the stream {address.stream} has unsafe settings: " + "; and ".join(problems))


async def ensure_stream(client: NatsClient, address: StreamAddress, *, single: bool = False) -> str:
    """Create the stream if it does not exist, check its settings, and return its epoch. Raises ClusterError.

    A cluster that was just started needs some seconds to elect a leader that answers.
    """
    hint = "" if single else f"; {REPLICAS} servers with JetStream are needed, or pass --single for one"

    def failure(reason: str) -> ClusterError:
        return ClusterError(f"the stream {address.stream} can't be used: {reason}{hint}")

    async def get_or_create() -> dict[str, Any]:
        found = await _get_or_create(client, address, single=single)
        if "config" in found:
            return dict(found["config"])
        reason = str(found.get("error", {}).get("description"))
        if error_code(found) == REPLICAS_NOT_SUPPORTED_CODE:
            raise failure(reason)
        raise TimeoutError(reason)

    config = await retry(get_or_create, failure, interval=RETRY_INTERVAL, time_limit=STARTUP_TIMEOUT)
    check_settings(config, address, single=single)
    return str(config["metadata"]["epoch"])


async def _get_or_create(client: NatsClient, address: StreamAddress, *, single: bool) -> dict[str, Any]:
    name = address.stream
    found = await client.api_request(f"STREAM.INFO.{name}")
    if error_code(found) == STREAM_NOT_FOUND_CODE:
        config = stream_settings(address, replicas=1 if single else REPLICAS, epoch=secrets.token_hex(8))
        found = await client.api_request(f"STREAM.CREATE.{name}", config)
        if error_code(found) == STREAM_NAME_IN_USE_CODE:  # another node created it meanwhile
            found = await client.api_request(f"STREAM.INFO.{name}")
    return found


def error_code(answer: dict[str, Any]) -> int:
    error = answer.get("error") or {}
    return int(error.get("err_code", 0))
