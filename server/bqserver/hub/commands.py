"""What a member says: each frame checked against its rights and its rate, and given to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bqserver.model import Outcome, Rejected, Role, Stored, Submission
from bqserver.storage.attachments import resolve_attachments
from bqserver.websocket.connection import text_frame
from bqwidget.errors import ProtocolError
from bqwidget.protocol import (
    Busy,
    Bye,
    Delete,
    Draft,
    Echo,
    Edit,
    Expire,
    Ping,
    React,
    Resume,
    Send,
    Typing,
    check,
    cid_of,
    decode_client,
    encode,
)

from .catch_up import resume
from .frames import refusal, synced

if TYPE_CHECKING:
    from .peer import Peer

TYPING = 5.0
STRIKES = 20
"""Rejected for their rate in a row before the connection is closed (4029)."""


def hear(peer: Peer, message: str) -> Awaitable[None] | None:
    """What has to be waited for before the next is heard, if anything."""
    try:
        frame = decode_client(message)
        match frame:
            case Send() | Edit() | Delete() | React() | Expire():
                return submit(peer, frame)
            case Echo():
                peer.write(text_frame(encode(frame)))
            case Ping():
                peer.write(synced(peer.room.seq))
            case Resume(after=after, epoch=epoch):
                if peer.live:
                    peer.stand_by()
                    peer.start(partial(resume, peer, after, epoch))
            case Busy(busy=busy):
                peer.busy = busy
                peer.hub.presence.changed(peer.room, peer)
            case Typing(user=user) if peer.level >= Role.WRITE and _is_free(peer, user):
                peer.typing_until = asyncio.get_running_loop().time() + TYPING
                peer.user = peer.principal or peer.user or user
                peer.hub.presence.changed(peer.room, peer)
    except ProtocolError as error:
        _refuse(peer, Rejected(error.code, str(error), 400), cid_of(message))
    return None


def submit(peer: Peer, draft: Draft) -> Awaitable[None] | None:
    """Refuse it, or give it to the log: at once, or once its parts are found. Raises ProtocolError."""
    hub, principal = peer.hub, peer.principal
    if principal is not None:
        draft = msgspec.structs.replace(draft, user=principal)
    check(draft, hub.limits)
    if refused := hub.policy.no_writer(peer.identity, peer.level, peer.room_name, draft.user):
        _refuse(peer, refused, draft.cid)
        return None
    if refused := hub.too_fast(principal or peer.address):
        peer.strikes += 1
        if peer.strikes > STRIKES:
            retry_ms = int((refused.retry_after or 0) * 1000)
            peer.wire.write(text_frame(encode(Bye(code=4029, retry_ms=retry_ms))))
            peer.wire.close(4029, "too many messages")
            return None
        _refuse(peer, refused, draft.cid)
        return None
    peer.strikes = 0
    if isinstance(draft, Send) and draft.parts:
        return _submit_with_parts(peer, draft)
    _append(peer, draft)
    return None


def _is_free(peer: Peer, user: str | None) -> bool:
    hub = peer.hub
    return user is None or (len(user) <= hub.limits.user and hub.policy.gate.may_use(peer.identity, user))


async def _submit_with_parts(peer: Peer, draft: Send) -> None:
    hub = peer.hub
    checked = await resolve_attachments(hub.parts, peer.room_name, draft)
    if not isinstance(checked, Rejected):  # what it may do here may have changed meanwhile
        checked = hub.policy.no_writer(peer.identity, peer.level, peer.room_name, draft.user) or checked
    if isinstance(checked, Rejected):
        _refuse(peer, checked, draft.cid)
    else:
        _append(peer, checked)


def _append(peer: Peer, draft: Draft) -> None:
    principal = peer.principal
    submission = Submission(
        peer.room_name,
        principal or draft.user,
        draft,
        verified=principal is not None,
        moderator=peer.level is Role.MODERATE,
    )
    peer.hub.submit(submission, partial(_stored, peer, draft))


def _stored(peer: Peer, draft: Draft, outcome: Outcome) -> None:
    if isinstance(draft, Send) and draft.ask is not None and isinstance(outcome, Stored):
        peer.hub.questions.asked(peer, draft.user, outcome.seq)
    what = type(draft).__name__.lower()
    if isinstance(outcome, Rejected):
        peer.hub.journal.refused[outcome.code] += 1
        peer.note(what, says=draft.user, code=outcome.code)
    else:
        peer.note(what, says=draft.user, seq=outcome.seq)
    peer.hub.acknowledge(peer, draft.cid, outcome)


def _refuse(peer: Peer, refused: Rejected, cid: str | None) -> None:
    peer.hub.journal.refused[refused.code] += 1
    peer.note("refused", code=refused.code)
    peer.write(refusal(refused, cid))
