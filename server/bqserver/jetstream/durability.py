"""Whether NATS servers have a message on disk before they acknowledge it: their monitoring ports say so.

JetStream does not tell its clients. By default it syncs every two minutes, so a power cut in all machines of a
cluster at once would take what was acknowledged since.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from tornado.httpclient import AsyncHTTPClient

from bqserver.errors import ClusterError

REQUEST_TIMEOUT = 5.0


async def check_sync(monitors: Sequence[str]) -> None:
    """``monitors``: ``http://host:8222`` each. Raises ClusterError where one does not sync, or does not answer."""
    await asyncio.gather(*[_check(monitor) for monitor in monitors])


async def _check(monitor: str) -> None:
    url = f"{monitor.rstrip('/')}/varz"
    try:
        answer = await AsyncHTTPClient().fetch(
            url, connect_timeout=REQUEST_TIMEOUT, request_timeout=REQUEST_TIMEOUT
        )
        told = json.loads(answer.body)
        name, config = told.get("server_name", monitor), told["jetstream"]["config"]
    except KeyError:
        raise ClusterError(f"{url}: this NATS server has no JetStream: give it jetstream {{ }}") from None
    except Exception as error:  # Tornado raises what its sockets raise
        raise ClusterError(
            f"{url} says nothing ({error}): see to the server, or to --nats-monitor"
        ) from error
    if not config.get("sync_always"):
        seconds = config.get("sync_interval", 0) / 1_000_000_000
        raise ClusterError(
            f"the NATS server {name} syncs every {seconds:g} s, so a power cut loses acknowledged messages: "
            "give it jetstream { sync_interval: always }"
        )
