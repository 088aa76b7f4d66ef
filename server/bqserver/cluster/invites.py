"""Invites of a cluster: a bucket whose values expire with the invite, so any node can redeem another node's invite.

Redeeming replaces the value by one with a use less, if no other node has replaced it meanwhile. So of two people who
redeem the last use on two nodes at the same time, one is let in.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bqserver.auth.invites import IssuedInvite
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.kv import KeyValue, retry_startup
from bqwidget.protocol import encode

BUCKET = "invites"

_decode = msgspec.json.Decoder(IssuedInvite).decode


class NatsInvites:
    """``clock`` gives seconds since the epoch."""

    def __init__(self, client: NatsClient, replicas: int, clock: Callable[[], float]) -> None:
        self._values = KeyValue(client, BUCKET, replicas, expiring=True)
        self._clock = clock

    async def open(self) -> None:
        """Create the bucket if it does not exist. Raises StorageError."""
        await retry_startup(self._values.create, BUCKET)

    async def put(self, digest: str, invite: IssuedInvite) -> None:
        await self._values.put(digest, encode(invite), last=0, ttl=invite.expires - self._clock())

    async def redeem(self, digest: str) -> IssuedInvite | None:
        while found := await self._values.get(digest):
            invite = _decode(found.value)
            left = invite.expires - self._clock()
            if invite.uses < 1 or left <= 0:
                return None
            used = msgspec.structs.replace(invite, uses=invite.uses - 1)
            # A used up invite is kept until it expires: a late repetition of an earlier put then conflicts with it.
            if await self._values.put(digest, encode(used), last=found.seq, ttl=left):
                return used
        return None
