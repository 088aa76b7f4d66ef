"""Checks that NATS servers sync a message to disk before they acknowledge it, by their monitoring ports.

JetStream does not report this setting to its clients. By default it syncs every two minutes, so a power cut in all
machines of a cluster at once loses the acknowledged messages of that time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from tornado.httpclient import AsyncHTTPClient

from bqserver.errors import ClusterError

HTTP_TIMEOUT = 5.0


async def check_sync(monitors: Sequence[str]) -> None:
    """``monitors``: ``http://host:8222`` each. Raises ClusterError if a server does not sync, or does not answer."""
    await asyncio.gather(*[_check(monitor) for monitor in monitors])


async def _check(monitor: str) -> None:
    url = f"{monitor.rstrip('/')}/varz"
    try:
        response = await AsyncHTTPClient().fetch(url, connect_timeout=HTTP_TIMEOUT, request_timeout=HTTP_TIMEOUT)
        status = json.loads(response.body)
        name, config = status.get("server_name", monitor), status["jetstream"]["config"]
    except KeyError:
        raise ClusterError(
            f"{url}: JetStream is off on this NATS server: add jetstream {{ }} to its configuration"
        ) from None
    except Exception as error:  # Tornado raises what its sockets raise
        raise ClusterError(
            f"{url} does not answer ({error}): check the NATS server, or correct --nats-monitor"
        ) from error
    if not config.get("sync_always"):
        seconds = config.get("sync_interval", 0) / 1_000_000_000
        raise ClusterError(
            f"the NATS server {name} syncs every {seconds:g} s, so a power cut loses acknowledged messages: "
            "add jetstream { sync_interval: always } to its configuration"
        )
