"""Invites: codes that admit a few people for a while, made and redeemed by ``authenticator.py``.

Only the SHA-256 of a code is stored.
"""

from __future__ import annotations

from typing import Protocol

from bqwidget.protocol import Struct


class IssuedInvite(Struct, frozen=True):
    """``uses``: how often it can still be used. ``expires``: seconds since the epoch."""

    uses: int
    expires: float
    session: str
    """Value of the session cookie it is exchanged for: ``member``, ``guest:ID`` or ``self:ID`` of a grant."""


class InviteStore(Protocol):
    """The invites shared by the nodes of a cluster. ``digest``: SHA-256 of the code, in hexadecimal."""

    async def put(self, digest: str, invite: IssuedInvite) -> None:
        """Store durably: when this returns, every node accepts the invite, also after a node is lost. Raises StorageError."""

    async def redeem(self, digest: str) -> IssuedInvite | None:
        """Use the invite once and return what is left of it; None if it is unknown, expired or used up.

        Raises StorageError.
        """
