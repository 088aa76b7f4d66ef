"""Who a request or a connection belongs to: the authenticated identity, or why there is none."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from bqserver.model import Role
from bqwidget.protocol import Limits, Profile

from .tokens import Grant


class Identity(NamedTuple):
    """``principal``: the verified name, or None if names are self-asserted. ``is_program``: it sent a token.

    ``grant``: the named token that this identity depends on: the principal's own, or that of the member who
    invited this guest. ``max_role``: upper bound on the role, set by an external authorizer. ``profile``: display
    name and picture of the principal. ``owns_server``: it is the user whose local server this is.
    """

    principal: str | None = None
    is_program: bool = False
    grant: Grant | None = None
    max_role: Role = Role.MODERATE
    profile: Profile | None = None
    owns_server: bool = False


UNVERIFIED = Identity()
"""Admitted under a self-asserted name."""


def is_agent(identity: Identity) -> bool:
    """Whether the identity's own token is one for agents; a guest's is that of the member who invited them."""
    grant = identity.grant
    return grant is not None and grant.kind == "agent" and grant.name == identity.principal


class Denied(NamedTuple):
    """Why authentication failed: the error's code and message on the wire."""

    code: str
    message: str


def shorten_name(name: str) -> str:
    """The principal for an external user name: a name over the limit ends with ``~`` and 16 hex digits of its hash."""
    limit = Limits().user
    if len(name) <= limit:
        return name
    return f"{name[: limit - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
