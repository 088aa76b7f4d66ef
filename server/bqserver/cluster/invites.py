"""Invites in a cluster: a bucket whose values go when they expire, so that any node takes what another has given.

A use is a value with one less, stored only where nobody has stored another meanwhile: two people with one code of
one use, at two nodes at once, are one person let in.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bqserver.auth.invites import Invite
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.kv import KeyValue, until_answered
from bqwidget.protocol import encode

_decode = msgspec.json.Decoder(Invite).decode


class NatsInvites:
    """``clock`` gives seconds since the epoch."""

    def __init__(self, client: JetStreamClient, replicas: int, clock: Callable[[], float]) -> None:
        self._values = KeyValue(client, "invites", replicas, expiring=True)
        self._clock = clock

    async def open(self) -> None:
        """Make the bucket where there is none. Raises StorageError."""
        await until_answered(self._values.create, "invites")

    async def put(self, digest: str, invite: Invite) -> None:
        await self._values.put(digest, encode(invite), last=0, ttl=invite.expires - self._clock())

    async def redeem(self, digest: str) -> Invite | None:
        while found := await self._values.get(digest):
            invite = _decode(found.value)
            left = invite.expires - self._clock()
            if invite.uses < 1 or left <= 0:
                return None
            used = msgspec.structs.replace(invite, uses=invite.uses - 1)
            # What is used up stays for as long as it would have been good: a try of ours that comes late finds it.
            if await self._values.put(digest, encode(used), last=found.seq, ttl=left):
                return used
        return None
