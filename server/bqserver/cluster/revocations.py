"""Revoked tokens of a cluster: a token that one node's token file revokes ends on every node, permanently.

The operator distributes the token files, and an old copy may stay in use for long. So revocations, and no other
changes, are also published in the control state: they can't grant access. A revoked user gets a new token.
"""

from __future__ import annotations

import asyncio
import logging

from bqserver.auth.authenticator import Authenticator
from bqserver.errors import StorageError
from bqserver.jetstream.control_state import ControlState

POLL_INTERVAL = 1.0
"""Seconds between two reads of the known grants; the token file is polled as often."""
REVOKED_KEY_PREFIX = "revoked."
"""The key of a revocation, with the grant's id after it; its value is empty."""

_log = logging.getLogger("bqserver.nats")


async def publish_revocations(authenticator: Authenticator, control: ControlState) -> None:
    """Publish every revocation in this node's token file. Runs until cancelled."""
    while True:
        try:
            for grant in authenticator.grants.all:
                if grant.revoked is not None and grant.id not in authenticator.revoked_grants:
                    await control.put(f"{REVOKED_KEY_PREFIX}{grant.id}", b"")
                    authenticator.revoked_grants.add(grant.id)
        except StorageError as error:
            _log.warning("a revoked token could not be published to the other nodes, retrying: %s", error)
        await asyncio.sleep(POLL_INTERVAL)
