"""An invite: a code that lets some people in for a while, known by its digest alone, and who keeps it for all nodes."""

from __future__ import annotations

from typing import Protocol

from bqwidget.protocol import Struct


class Invite(Struct, frozen=True):
    """``uses`` that are left; ``expires`` in seconds since the epoch."""

    uses: int
    expires: float
    session: str
    """What the cookie of whoever redeems it says: ``member``, ``guest:ID`` or ``self:ID`` of a grant."""


class InviteStore(Protocol):
    """Where the nodes of a cluster keep theirs, by the SHA-256 of the code (hexadecimal). Both raise StorageError."""

    async def put(self, digest: str, invite: Invite) -> None:
        """Every node honours it when this returns, and after any of them is lost."""

    async def redeem(self, digest: str) -> Invite | None:
        """The invite, which has one use less now; None: it is not there, or was used up."""
