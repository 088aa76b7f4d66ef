"""Authorization: combines roles, token validity, closed rooms and mutes into one answer."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from bqserver.model import Rejected, Role
from bqwidget.protocol import printable

from .authenticator import Authenticator
from .identity import Denied, Identity
from .moderation import ModerationState


class Policy:
    """Checked by every route, and for every frame that is stored. It changes nothing."""

    def __init__(self, authenticator: Authenticator, moderation: ModerationState) -> None:
        self.authenticator = authenticator
        self.moderation = moderation

    def check_role(self, identity: Identity, room: str, role: Role) -> Rejected | None:
        """Why ``identity`` lacks ``role`` in ``room``; None if it has it."""
        has = self.authenticator.role(identity, room)
        if self.is_closed(room, has):
            return Rejected("room_closed", f"room {room} was closed by a moderator", 403)
        if has >= role:
            return None
        if role is Role.MODERATE:
            return Rejected("forbidden", f"you are not a moderator of room {room}", 403)
        if has is Role.READ:
            return _READ_ONLY
        return Rejected("forbidden", f"you may not enter room {room}", 403)

    def authorize(self, identity: Identity, room: str, role: Role) -> Identity | Rejected:
        """``identity`` with its current grant if it has ``role`` in ``room``; else why not."""
        current = self.authenticator.revalidate(identity)
        if isinstance(current, Denied):
            return Rejected(current.code, current.message, 401)
        return self.check_role(current, room, role) or current

    def is_closed(self, room: str, role: Role) -> bool:
        """Whether ``room`` is closed for a member with ``role``: only moderators may enter a closed room."""
        return role < Role.MODERATE and self.moderation.is_closed(room)

    def check_can_write(self, identity: Identity, role: Role, room: str, user: str) -> Rejected | None:
        """Why a member with ``role`` in ``room`` may not write there under the name ``user``; None if it may."""
        if role < Role.WRITE:
            return _READ_ONLY
        if not self.authenticator.may_use_name(identity, user):
            return name_taken(user)
        mute = self.moderation.find_mute(room, user)
        if mute is not None:
            until = "until a moderator lifts it"
            if mute.until is not None:
                with suppress(ValueError, OverflowError, OSError):  # beyond the year 9999
                    until = f"until {datetime.fromtimestamp(mute.until, UTC):%Y-%m-%d %H:%M:%S} UTC"
            return Rejected("muted", f"a moderator has muted {printable(user)} in room {room} {until}", 403)
        return None

    def current_access(self, identity: Identity, room: str) -> tuple[Identity, Role] | tuple[int, str]:
        """A connected member's current identity and role in ``room``; else the close code and the reason."""
        current = self.authenticator.revalidate(identity)
        if isinstance(current, Denied):
            return 4401, current.message
        role = self.authenticator.role(current, room)
        if role < Role.READ:
            return 4403, "your access to this room was revoked"
        if self.is_closed(room, role):
            return 4404, "a moderator has closed this room"
        return current, role


def name_taken(user: str) -> Rejected:
    message = f"{printable(user)} is the name of a verified member: log in as that member, or use another name"
    return Rejected("name_taken", message, 403, field="user")


def open_policy() -> Policy:
    """Everyone may read and write in every room: for a hub without a server around it."""
    return Policy(Authenticator(token=None, is_open=True, clock=time.time), ModerationState(None, time.time))


_READ_ONLY = Rejected("read_only", "you may read this room, but not write in it", 403)
