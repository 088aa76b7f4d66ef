"""The one way in for a draft: what is sent by WebSocket, by POST and on the fast path is accepted or rejected here."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import msgspec

from bqserver.auth.identity import Identity, is_agent
from bqserver.clock import steady_time_ms
from bqserver.model import Rejected, Role, Submission
from bqserver.storage.attachments import resolve_attachments
from bqwidget.protocol import Draft, End, Post, Send, Vote, check, to_send

from .hub import Hub


class Author(Protocol):
    """Who sends a draft: a peer, or the ``Poster`` of a request.

    ``role``: what they may do in the room now. ``address``: what the rate of an unverified author is counted by.
    ``kind``: ``person``, ``kernel`` or ``agent``.
    """

    @property
    def identity(self) -> Identity: ...
    @property
    def role(self) -> Role: ...
    @property
    def room_name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def kind(self) -> str: ...


class Poster(msgspec.Struct, frozen=True, gc=False):
    """The author of one request, who has been let in to write in the room."""

    identity: Identity
    room_name: str
    address: str
    role: Role = Role.WRITE

    @property
    def kind(self) -> str:
        return "agent" if is_agent(self.identity) else "person"


Decision = Submission | Rejected


def accept(hub: Hub, author: Author, draft: Draft | Post) -> Decision | Awaitable[Decision]:
    """Decide whether ``draft`` may be appended, under the author's verified name where there is one.

    Returns what to append, or why not; awaitable where attachments have to be looked up first. An accepted draft
    has been counted against its author's rate. Raises ProtocolError, which names the field.
    """
    # Of a Struct, ``isinstance`` with another class takes 0.1 us, ``type(...) is`` a tenth of that.
    identity = author.identity
    if identity.principal is not None:
        draft = msgspec.structs.replace(draft, user=identity.principal)
    check(draft, hub.limits)
    ends = type(draft) is End and draft.text is None  # says nothing: the author may have been muted meanwhile
    if not ends and (rejected := hub.policy.check_can_write(identity, author.role, author.room_name, draft.user)):
        return rejected
    if rejected := hub.too_fast(identity.principal or author.address):
        return rejected
    if type(draft) is Post:
        draft = to_send(draft)
    if isinstance(draft, Send) and draft.parts:
        return _with_attachments(hub, author, draft)
    return _submission(author, identity, author.role, draft)


async def _with_attachments(hub: Hub, author: Author, draft: Send) -> Decision:
    """Look up the attachments, then ask for the rights again: they may have changed while this waited."""
    room = author.room_name
    checked = await resolve_attachments(hub.attachments, room, draft)
    if isinstance(checked, Rejected):
        return checked
    identity = hub.policy.authorize(author.identity, room, Role.WRITE)
    if isinstance(identity, Rejected):
        return identity
    role = hub.policy.authenticator.role(identity, room)
    rejected = hub.policy.check_can_write(identity, role, room, draft.user)
    return rejected or _submission(author, identity, role, checked)


def _submission(author: Author, identity: Identity, role: Role, draft: Draft) -> Submission:
    principal = identity.principal
    now = author_kind = None
    if isinstance(draft, Send):
        now = None if draft.re is None else steady_time_ms()
        author_kind = "agent" if author.kind == "agent" else None
    elif isinstance(draft, Vote):
        now = steady_time_ms()
    return Submission(
        author.room_name,
        principal or draft.user,
        draft,
        verified=principal is not None,
        moderator=role is Role.MODERATE,
        now=now,
        author_kind=author_kind,
    )
