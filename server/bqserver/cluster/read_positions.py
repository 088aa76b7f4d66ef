"""Read positions of a cluster: a bucket with one value for each member and room, which any node reads and raises.

Every node gets a new value as it is stored, and passes it on to the member's windows there.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping

from nats.aio.msg import Msg

from bqserver.errors import ClusterError
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS
from bqserver.jetstream.kv import KeyValue, Value, retry_startup
from bqserver.storage.read_positions import Reader

BUCKET = "reads"


class NatsReadPositions:
    """``epoch``: of the log; positions in another one are ignored. ``on_advance`` gets those that any node stores."""

    def __init__(
        self, client: NatsClient, replicas: int, epoch: str, on_advance: Callable[[Mapping[Reader, int]], None]
    ) -> None:
        self._client = client
        self._epoch = epoch
        self._on_advance = on_advance
        self._updates = f"{client.address.stream}.reads."
        self._values = KeyValue(client, BUCKET, replicas, republish_to=f"{self._updates}>")

    async def open(self) -> None:
        """Create the bucket if it does not exist, and follow it. Raises ClusterError."""
        await retry_startup(self._values.create, BUCKET)
        await self._client.subscribe(f"{self._updates}>", self._on_update)

    async def get(self, user: str, room: str) -> int:
        self._check_connected()
        try:
            value = await self._values.get_direct(_key(user, room))
        except CONNECTION_ERRORS as error:
            raise _unavailable(error) from error
        return 0 if value is None else self._seq(value.value)

    async def all(self, user: str) -> dict[str, int]:
        self._check_connected()
        found: list[Value] = []
        more = True
        try:
            while more:
                values, more = await self._values.get_after(found[-1].seq if found else 0, f"{_encode(user)}.*")
                found += values
        except CONNECTION_ERRORS as error:
            raise _unavailable(error) from error
        return {value.key.partition(".")[2]: self._seq(value.value) for value in found}

    async def advance(self, positions: Mapping[Reader, int]) -> None:
        self._check_connected()
        await asyncio.gather(*[self._raise(_key(*reader), seq) for reader, seq in positions.items()])

    async def _raise(self, key: str, seq: int) -> None:
        """Replace the value, unless it is as high, until no other node has replaced it meanwhile."""
        stored = False
        while not stored:
            found = await self._values.get(key)
            if found is not None and self._seq(found.value) >= seq:
                return
            last = 0 if found is None else found.seq
            stored = bool(await self._values.put(key, f"{self._epoch} {seq}".encode(), last=last))

    def _on_update(self, msg: Msg) -> None:
        user, _, room = msg.subject.removeprefix(self._updates).partition(".")
        self._on_advance({(urlsafe_b64decode(user).decode(), room): self._seq(msg.data)})

    def _seq(self, value: bytes) -> int:
        epoch, _, seq = value.decode().partition(" ")
        return int(seq) if epoch == self._epoch else 0

    def _check_connected(self) -> None:
        if not self._client.connected.is_set():
            raise ClusterError("how far members have read is unknown: the cluster can't be reached")


def _unavailable(error: Exception) -> ClusterError:
    return ClusterError(f"how far members have read is unknown: {error!r}")


def _key(user: str, room: str) -> str:
    return f"{_encode(user)}.{room}"


def _encode(user: str) -> str:
    """Any name as one word of a subject."""
    return urlsafe_b64encode(user.encode()).decode()
