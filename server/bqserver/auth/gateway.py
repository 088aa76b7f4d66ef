"""Gateways: programs of the same user, such as Jupyter's extension, that authenticate members and forward their requests.

A gateway proves itself by a key that the server makes at its start and writes next to its runtime file (mode 0600). With
each request it names the member, so that rights, limits and the audit log are the member's and not the gateway's.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping

import msgspec

from bqserver.model import Role
from bqwidget.protocol import NOT_JSON, Profile, Struct, encode

from .identity import Denied, Identity

HEADER_NAME = "Bqserver-Forwarded"
"""The key, a space, and a ``Forwarded`` as base64 of JSON. Gateways remove what a client sends under this name."""


class ForwardedMember(Struct, frozen=True):
    """A client as its gateway has authenticated it. ``denied``: code and message, if the gateway has refused it."""

    principal: str | None = None
    is_program: bool = False
    max_role: int = Role.MODERATE
    profile: Profile | None = None
    denied: tuple[str, str] | None = None

    @classmethod
    def of(cls, found: Identity | Denied) -> ForwardedMember:
        if isinstance(found, Denied):
            return cls(denied=(found.code, found.message))
        return cls(found.principal, found.is_program, found.max_role, found.profile)

    def identity(self) -> Identity | Denied:
        if self.denied is not None:
            return Denied(*self.denied)
        return Identity(self.principal, self.is_program, None, Role(self.max_role), self.profile)


class Forwarded(Struct, frozen=True):
    """What a gateway says of one request.

    ``address``: the client's. ``base``: the path before all routes at the gateway. ``connection``: the gateway's name for
    a WebSocket, by which it reports changes. ``reports``: the request is such a report, of the gateway itself.
    """

    member: ForwardedMember = ForwardedMember()
    address: str = ""
    base: str = "/"
    connection: str | None = None
    reports: bool = False


class Gateway:
    """The server's end: ``key`` is new with each start of the server."""

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(32)

    def read(self, headers: Mapping[str, str]) -> Forwarded | None:
        """What a gateway says of the request; None if it does not come from one that knows the key."""
        key, _, text = headers.get(HEADER_NAME, "").partition(" ")
        if not hmac.compare_digest(key.encode(errors="replace"), self.key.encode()):
            return None
        try:
            return msgspec.json.decode(base64.b64decode(text), type=Forwarded)
        except (binascii.Error, *NOT_JSON):
            return None


def forwarded_header(key: str, forwarded: Forwarded) -> str:
    """The value of HEADER_NAME, in ASCII."""
    return f"{key} {base64.b64encode(encode(forwarded)).decode()}"
