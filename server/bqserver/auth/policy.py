"""Policy: may they do this, here, now? What tokens, rights and moderators say, put together into one answer."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from bqserver.model import Rejected, Role
from bqwidget.protocol import printable

from .authenticator import Authenticator
from .identity import Denied, Identity
from .moderation import Moderation


class Policy:
    """Asked by every route and every frame that is to be stored; it only reads."""

    def __init__(self, authenticator: Authenticator, moderation: Moderation) -> None:
        self.authenticator = authenticator
        self.moderation = moderation

    def check_role(self, identity: Identity, room: str, level: Role) -> Rejected | None:
        """Why ``identity`` may not do this much in ``room``; None where it may."""
        has = self.authenticator.role(identity, room)
        if self.is_closed(room, has):
            return Rejected("room_closed", f"room {room} was closed by a moderator", 403)
        if has >= level:
            return None
        if level is Role.MODERATE:
            return Rejected("forbidden", f"you are no moderator of room {room}", 403)
        if has is Role.READ:
            return _READ_ONLY
        return Rejected("forbidden", f"you may not enter room {room}", 403)

    def authorize(self, identity: Identity, room: str, level: Role) -> Identity | Rejected:
        """Who ``identity`` is by now, where they may do this much in ``room``; else why not."""
        current = self.authenticator.revalidate(identity)
        if isinstance(current, Denied):
            return Rejected(current.code, current.message, 401)
        return self.check_role(current, room, level) or current

    def is_closed(self, room: str, level: Role) -> bool:
        """A closed room is there for its moderators alone."""
        return level < Role.MODERATE and self.moderation.is_closed(room)

    def check_can_write(self, identity: Identity, level: Role, room: str, user: str) -> Rejected | None:
        """Why somebody of this ``level`` in ``room`` may not write under the name ``user``."""
        if level < Role.WRITE:
            return _READ_ONLY
        if not self.authenticator.may_use_name(identity, user):
            return name_taken(user)
        mute = self.moderation.find_mute(room, user)
        if mute is not None:
            until = "until a moderator lifts it"
            if mute.until is not None:
                until = f"until {datetime.fromtimestamp(mute.until, UTC):%Y-%m-%d %H:%M:%S} UTC"
            return Rejected("muted", f"a moderator has muted {printable(user)} in room {room} {until}", 403)
        return None

    def current_access(self, identity: Identity, room: str) -> tuple[Identity, Role] | tuple[int, str]:
        """What has become of a member: who they are and may do by now, or the close code and why."""
        current = self.authenticator.revalidate(identity)
        if isinstance(current, Denied):
            return 4401, current.message
        level = self.authenticator.role(current, room)
        if level < Role.READ:
            return 4403, "you may not be in this room any more"
        if self.is_closed(room, level):
            return 4404, "a moderator has closed this room"
        return current, level


def name_taken(user: str) -> Rejected:
    message = f"{printable(user)} is the name of a member whom this server knows: come in as them, or use another name"
    return Rejected("name_taken", message, 403)


def open_policy() -> Policy:
    """Everyone may read and write everywhere: a hub of its own, without a server around it."""
    return Policy(Authenticator(token=None, is_open=True, clock=time.time), Moderation(None, time.time))


_READ_ONLY = Rejected("read_only", "you may read here, but not write", 403)
