"""Dispatches the frames that a member sends: each is checked against its rights and its rate, and handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from bqserver.model import Outcome, Rejected, Role, Stored, Submission
from bqserver.websocket.framing import text_frame
from bqwidget.errors import ProtocolError
from bqwidget.protocol import (
    Append,
    Busy,
    Bye,
    Delete,
    Draft,
    Echo,
    Edit,
    End,
    Expire,
    Ping,
    React,
    Read,
    Resume,
    Send,
    SetCommands,
    SetStep,
    Stop,
    Typing,
    Vote,
    check_activity,
    check_commands,
    cid_of,
    decode_client,
    encode,
)

from .catch_up import start_resume
from .drafts import accept
from .frames import error_frame, synced_frame
from .hub import Hub
from .live import requests
from .peer import Peer
from .room import ActiveRoom

TYPING_TIMEOUT = 5.0
"""Seconds after the last ``chat.typing`` until a member counts as typing no more."""
OUTCOME_TIMEOUT = 5.0
"""Seconds that a connection which is to be closed waits for the acks of what it has sent."""
MAX_CONSECUTIVE_REJECTIONS = 20
"""Messages in a row that are rejected for their rate before the connection is closed (4029)."""


def dispatch(hub: Hub, room: ActiveRoom, peer: Peer, message: str) -> Awaitable[None] | None:
    """Act on one frame. Returns what has to be awaited before the next frame is dispatched, if anything."""
    try:
        frame = decode_client(message)
        match frame:
            case Send() | Edit() | Delete() | React() | Expire() | Vote():
                return submit(hub, peer, frame)
            case SetStep() | End():
                named = requests.as_author(hub, peer, frame)
                if isinstance(named, Rejected):
                    return _on_rejected(hub, peer, named, frame.cid)
                return submit(hub, peer, named)
            case Append():
                if rejected := requests.append(hub, peer, frame):
                    _reject(peer, rejected, None)
            case Stop():
                if rejected := requests.stop(hub, peer, frame):
                    return _on_rejected(hub, peer, rejected, None)
            case Echo():
                peer.write(text_frame(encode(frame)))
            case Ping():
                peer.write(synced_frame(room.seq))
            case Resume(after=after, epoch=epoch):
                start_resume(hub, room, peer, after, epoch)
            case Read(seq=seq):
                if rejected := hub.reading.mark(room, peer, seq):
                    return _on_rejected(hub, peer, rejected, None)
            case Busy(busy=busy):
                peer.busy = busy
                hub.presence.peer_changed(room, peer)
            case Typing(user=user) if peer.role >= Role.WRITE and _may_use(hub, peer, user):
                _set_typing(hub, room, peer, frame)
            case SetCommands(commands=commands):
                if peer.kind == "person":
                    return _on_rejected(hub, peer, _NO_COMMANDS, None)
                check_commands(commands)
                peer.commands = commands
                hub.presence.peer_changed(room, peer)
    except ProtocolError as error:
        return _on_rejected(hub, peer, Rejected.of(error), cid_of(message))
    return None


def submit(hub: Hub, peer: Peer, draft: Draft) -> Awaitable[None] | None:
    """Append a draft, or answer why not. Raises ProtocolError; returns what has to be awaited, if anything."""
    decision = accept(hub, peer, draft)
    if isinstance(decision, Submission):
        _append(hub, peer, decision)
    elif isinstance(decision, Rejected):
        return _on_rejected(hub, peer, decision, draft.cid)
    else:
        return _submit_later(hub, peer, decision, draft.cid)
    return None


async def close_for_rate(peer: Peer, reason: str, retry_after: float) -> None:
    """Close the connection (4029) once what it sent before is acknowledged. ``retry_after``: seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(peer.wait_for_outcomes(), OUTCOME_TIMEOUT)
    bye = Bye(code=4029, retry_ms=int(retry_after * 1000))
    peer.connection.write(peer.take_acks() + text_frame(encode(bye)))
    peer.connection.close(4029, reason, discard_input=True)


def _set_typing(hub: Hub, room: ActiveRoom, peer: Peer, typing: Typing) -> None:
    if typing.text is not None:
        check_activity(typing.text)
    loop = asyncio.get_running_loop()
    peer.typing_until = loop.time() + TYPING_TIMEOUT if typing.on else 0.0
    peer.activity = typing.text
    renamed = typing.user if peer.kind == "person" else None  # a kernel types for the people at its window
    peer.user = peer.principal or renamed or peer.user or typing.user
    hub.presence.peer_changed(room, peer)
    if typing.on:
        loop.call_at(peer.typing_until, hub.presence.peer_changed, room, peer)  # to announce the end


def _may_use(hub: Hub, peer: Peer, user: str | None) -> bool:
    return user is None or (len(user) <= hub.limits.user and hub.policy.authenticator.may_use_name(peer.identity, user))


async def _submit_later(hub: Hub, peer: Peer, pending: Awaitable[Submission | Rejected], cid: str) -> None:
    decision = await pending
    if isinstance(decision, Rejected):
        _reject(peer, decision, cid)
    else:
        _append(hub, peer, decision)


def _append(hub: Hub, peer: Peer, submission: Submission) -> None:
    draft = submission.draft
    if isinstance(draft, Send) and draft.live:
        if rejected := requests.reserve(hub, peer):
            _reject(peer, rejected, draft.cid)
            return
        submission = replace(submission, author=peer.author)
    peer.rejections = 0
    peer.accepted += 1
    if peer.typing_until and isinstance(draft, Send) and (room := hub.peers.get(peer)) is not None:
        peer.typing_until = 0.0
        hub.presence.peer_changed(room, peer)
    on_outcome = partial(_on_outcome, hub, peer, submission)
    live = hub.live.find(submission.room, draft.target) if type(draft) is End else None
    if live is not None:
        hub.live.finish(live, submission, on_outcome)
    else:
        hub.submit(submission, on_outcome)


def _on_outcome(hub: Hub, peer: Peer, submission: Submission, outcome: Outcome) -> None:
    draft = submission.draft
    what = type(draft).__name__.lower()
    if isinstance(draft, Send) and draft.live:
        hub.live.quota.opened(peer.member, submission.room, outcome)
    if isinstance(outcome, Stored):
        if isinstance(draft, Send):
            if draft.ask is not None:
                hub.orphans.asked(peer, submission, outcome.seq)
            if draft.will is not None:
                hub.orphans.willed(peer, submission, outcome.seq, draft.will)
        elif isinstance(draft, Edit):
            hub.orphans.willed(peer, submission, draft.target, draft.will)
        peer.record(what, claimed_name=draft.user, seq=outcome.seq)
        peer.unstored += outcome.dup
    else:
        peer.audit.counters.rejections[outcome.code] += 1
        peer.record(what, claimed_name=draft.user, code=outcome.code)
        peer.unstored += 1
    hub.acknowledge(peer, draft.cid, outcome)
    peer.on_outcome()


def _on_rejected(hub: Hub, peer: Peer, rejected: Rejected, cid: str | None) -> Awaitable[None] | None:
    """Answer; a refused frame counts as a message, whatever the reason."""
    if rejected.code != "rate":
        rejected = hub.too_fast(peer.member) or rejected
    if rejected.code == "rate":
        peer.rejections += 1
        if peer.rejections > MAX_CONSECUTIVE_REJECTIONS:
            return close_for_rate(peer, "too many messages", rejected.retry_after or 0)
    _reject(peer, rejected, cid)
    return None


def _reject(peer: Peer, rejected: Rejected, cid: str | None) -> None:
    peer.audit.counters.rejections[rejected.code] += 1
    peer.record("refused", code=rejected.code)
    peer.write(error_frame(rejected, cid))


_NO_COMMANDS = Rejected(
    "forbidden", "only a kernel or an agent offers commands: join with kind=kernel or kind=agent", 403
)
