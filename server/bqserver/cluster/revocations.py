"""Revoked tokens in a cluster: what one node's file of tokens has revoked ends on every node.

The files are the operator's to distribute, and an old copy of one may lie about for long. So a revocation, and it
alone, is an order too: nobody gets in by that. It is for good: whoever was revoked gets a new token.
"""

from __future__ import annotations

import asyncio
import logging

from bqserver.auth.authenticator import Authenticator
from bqserver.errors import StorageError
from bqserver.jetstream.watched_kv import ControlState

POLL_INTERVAL = 1.0
"""Seconds between two looks at what the file says; it is followed as often."""
REVOKED_KEY_PREFIX = "revoked."
"""What an order says so under, with the grant's id behind it; its value is empty."""

_log = logging.getLogger("bqserver.nats")


async def publish_revocations(authenticator: Authenticator, orders: ControlState) -> None:
    """Order what ``authenticator`` finds in its file, for ever; what others order goes into ``authenticator.revoked_grants`` by ``orders``."""
    while True:
        try:
            for grant in authenticator.grants.all:
                if grant.revoked is not None and grant.id not in authenticator.revoked_grants:
                    await orders.put(f"{REVOKED_KEY_PREFIX}{grant.id}", b"")
                    authenticator.revoked_grants.add(grant.id)
        except StorageError as error:
            _log.warning("other nodes can't be told of a revoked token: %s; they will be, later", error)
        await asyncio.sleep(POLL_INTERVAL)
