"""What members ask for about live messages: pieces, steps and the end by the author, a stop by anyone who may write."""

from __future__ import annotations

from msgspec.structs import replace

from bqserver.hub.hub import Hub
from bqserver.hub.peer import Peer
from bqserver.model import Rejected
from bqwidget.errors import ProtocolError
from bqwidget.protocol import Append, End, SetStep, Stop, StopFrame, check, is_visible

from . import quota
from .message import LiveMessage


def reserve(hub: Hub, peer: Peer) -> Rejected | None:
    """Why ``peer`` may not open one more live message; None if it may, and the message is counted now."""
    if hub.orphans.count_live(peer.author) >= quota.MAX_LIVE_MESSAGES:
        message = f"you write {quota.MAX_LIVE_MESSAGES} messages at once: end one first"
        return Rejected("too_many_live", message, 409)
    if not hub.live.quota.reserve(peer.member):
        return Rejected("too_many_live", "too many messages are being written at once: end one of yours first", 409)
    return None


def append(hub: Hub, peer: Peer, piece: Append) -> Rejected | None:
    """Pass on and keep a piece by ``peer``. Returns why not, if it can't be."""
    target = piece.target
    live = hub.live.find(peer.room_name, target)
    if live is None:
        return _not_live(target)
    if rejected := _check_author(peer, live):
        return rejected
    try:
        check(piece, hub.limits)
    except ProtocolError as error:
        return Rejected.of(error, target)
    if rejected := hub.policy.check_can_write(peer.identity, peer.role, peer.room_name, live.message.user):
        return rejected._replace(target=target)
    length, limit = len(live.newest.text), hub.limits.text
    if piece.offset > length:
        message = f"message {target} has {length:,} characters: send what follows them"
        return Rejected("behind", message, 409, target=target, offset=length)
    if piece.offset + len(piece.text) > limit:
        message = f"text has more than {limit:,} characters, which is the limit"
        return Rejected("too_long", message, 400, field="text", target=target)
    peer.appended += 1
    hub.live.append(live, piece)
    return None


def as_author(hub: Hub, peer: Peer, draft: SetStep | End) -> SetStep | End | Rejected:
    """``draft`` in the name of the message's author, if that is ``peer``; else why not.

    A message that is not live may have ended by this very draft, whose acknowledgement was lost: the log knows.
    """
    if isinstance(draft, End) and draft.end == "lost":
        message = "end: done, stopped or failed; the server says when the author is lost"
        return Rejected("bad_field", message, 400, field="end", target=draft.target)
    live = hub.live.find(peer.room_name, draft.target)
    if live is None:
        return replace(draft, user=peer.principal or draft.user or peer.user or "")
    return _check_author(peer, live) or replace(draft, user=live.message.user)


def stop(hub: Hub, peer: Peer, request: Stop) -> Rejected | None:
    """Tell the members that follow live messages that one should stop. Returns why not, if ``peer`` may not."""
    target, user = request.target, peer.principal or request.user
    if not is_visible(user) or len(user) > hub.limits.user:
        return Rejected(
            "bad_field", f"user: a name of 1 to {hub.limits.user} characters", 400, field="user", target=target
        )
    if rejected := hub.policy.check_can_write(peer.identity, peer.role, peer.room_name, user):
        return rejected._replace(target=target)
    if hub.live.find(peer.room_name, target) is None:
        return _not_live(target)
    if rejected := hub.too_fast(peer.member):
        return rejected._replace(target=target)
    hub.live.stop(peer.room_name, StopFrame(target=target, user=user))
    return None


def _check_author(peer: Peer, live: LiveMessage) -> Rejected | None:
    if live.author == peer.author:
        return None
    seq = live.message.seq
    return Rejected("forbidden", f"only its author may write on message {seq}", 403, target=seq)


def _not_live(target: int) -> Rejected:
    return Rejected("not_live", f"message {target} is not being written", 409, target=target)
