"""Connects a hub to the other nodes of its cluster: members, live messages, moderation, revoked tokens, invites, rate limits and read positions."""

from __future__ import annotations

import time
from functools import partial

from bqserver.hub.frames import error_frame
from bqserver.hub.hub import Hub
from bqserver.model import Rejected
from bqserver.storage.nats.log import NatsLog
from bqserver.storage.nats.publisher import RETRY_AFTER_SECONDS

from .invites import NatsInvites
from .membership import NatsMembership
from .read_positions import NatsReadPositions
from .revocations import REVOKED_KEY_PREFIX, publish_revocations


async def join(log: NatsLog, hub: Hub) -> None:
    """Share between ``hub`` and the other nodes what is not in the log. Raises StorageError."""
    authenticator, moderation = hub.policy.authenticator, hub.policy.moderation

    def on_value(key: str, value: bytes) -> None:
        if key.startswith(REVOKED_KEY_PREFIX):
            authenticator.revoked_grants.add(key.removeprefix(REVOKED_KEY_PREFIX))
        else:
            moderation.apply(key, value)

    hub.membership = membership = NatsMembership(log.client, hub)
    await membership.open()
    control = await log.open_control(on_value, hub.review)
    invites = NatsInvites(log.client, log.replicas, time.time)
    await invites.open()
    authenticator.invite_store = invites
    log.read_positions = positions = NatsReadPositions(log.client, log.replicas, log.epoch, hub.reading.tell)
    await positions.open()
    moderation.store = control
    membership.share_limit("messages", hub.rate)
    log.health.on_unavailable = partial(_broadcast_unavailable, hub)
    log.consumers.has_peers = hub.rooms.__contains__
    log.run_until_closed(publish_revocations(authenticator, control))


def _broadcast_unavailable(hub: Hub) -> None:
    frame = error_frame(_UNAVAILABLE, None)
    for room in list(hub.rooms.values()):
        hub.broadcast(room, frame)


_UNAVAILABLE = Rejected(
    "unavailable",
    "this server has lost its cluster: you can read, and what you send waits",
    503,
    RETRY_AFTER_SECONDS,
)
