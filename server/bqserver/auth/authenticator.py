"""Who is asking, and what may they do: tokens for programs, a one-time invite swapped for a signed cookie for pages."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec

from bqserver.model import Role

from .identity import Denied, Identity
from .invites import Invite, InviteStore
from .permissions import Permissions
from .tokens import Grant, Grants, normalize_name

NO_TOKEN = Denied("unauthorized", "a token is needed: send Authorization: Bearer TOKEN")
WRONG_TOKEN = Denied("unauthorized", "this token is not known here: send another one")
EXPIRED = Denied("token_expired", "this token has expired: ask for a new one")
REVOKED = Denied("token_revoked", "this token was revoked: ask for a new one")
SESSION_ENDED = Denied("session_over", "whoever let you in may not any more: ask for a new invite link")

MEMBER_SESSION = "member"


class Authenticator:
    """Decides who comes in. ``token`` None with ``is_open``: everyone does, without a name to rely on.

    ``token`` is the shared one; ``grants`` and ``rights`` may be replaced at any time. ``clock`` gives seconds
    since the epoch.
    """

    def __init__(
        self,
        *,
        token: str | None,
        is_open: bool,
        clock: Callable[[], float],
        grants: Grants | None = None,
        permissions: Permissions | None = None,
    ) -> None:
        self.is_open = is_open
        self.grants = grants or Grants()
        self.permissions = permissions or Permissions()
        self._token_digest = _digest(token) if token else None
        # The cookie's key comes from the token: sessions outlive a restart, and a new token ends them all.
        self.cookie_secret = _digest(f"cookie {token}").hex() if token else secrets.token_hex(32)
        self.invite_store: InviteStore | None = None
        """Where all nodes of a cluster find each other's invites."""
        self.revoked_grants: set[str] = set()
        """Grants that were revoked on some node of a cluster, whatever the files of this one say."""
        self._invites: dict[str, Invite] = {}
        self._reserved_names: set[str] = set()
        self._clock = clock

    # ---- who

    def identify(self, authorization: str | None, session: bytes | None) -> Identity | Denied:
        """From the ``Authorization`` header and the verified session cookie."""
        if authorization is not None:
            return self._identify_program(authorization)
        if session is not None:
            return self._identify_session(session.decode())
        return Identity() if self.is_open else NO_TOKEN

    def revalidate(self, identity: Identity) -> Identity | Denied:
        """The same one, as of now: its token may have ended or changed since it came in."""
        if identity.grant is None:
            return identity
        grant = self._find_valid(identity.grant.id)
        return grant if isinstance(grant, Denied) else identity._replace(grant=grant)

    def role(self, identity: Identity, room: str) -> Role:
        """The most that ``identity`` may do there. What a guest may, whoever invited them must be allowed to."""
        principal, grant, most = identity.principal, identity.grant, identity.max_role
        level = min(self.permissions.role(principal, room), most)
        if principal is None:
            level = min(level, Role.WRITE)  # who moderates has a name
            if grant is not None:
                level = min(level, self.permissions.role(grant.name, room))
        return level if grant is None else min(level, grant.max_role(room))

    def may_use_name(self, identity: Identity, name: str) -> bool:
        """Whether a name that nobody has verified is free to be used: a named member's is not."""
        if identity.principal is not None:
            return True
        return not self.grants.has_name(name) and not (
            self._reserved_names and normalize_name(name) in self._reserved_names
        )

    def reserve_name(self, identity: Identity) -> None:
        """They are here under a name that somebody else (Jupyter, its Hub) knows them by: it is theirs from now on."""
        if identity.principal is not None and identity.grant is None:
            self._reserved_names.add(normalize_name(identity.principal))

    def is_shared_token(self, token: str) -> bool:
        """Whether it is the shared token."""
        return self._token_digest is not None and hmac.compare_digest(self._token_digest, _digest(token))

    def _identify_program(self, authorization: str) -> Identity | Denied:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer":
            if self.is_shared_token(token):
                return Identity(is_program=True)
            if grant := self.grants.find_by_token(token):
                good = self._find_valid(grant.id)
                return (
                    good if isinstance(good, Denied) else Identity(grant.name, is_program=True, grant=grant)
                )
        return Identity(is_program=True) if self.is_open else WRONG_TOKEN

    def _identify_session(self, session: str) -> Identity | Denied:
        kind, _, grant_id = session.partition(":")
        if kind == MEMBER_SESSION:
            return Identity()
        if isinstance(grant := self._find_valid(grant_id), Denied):
            return SESSION_ENDED
        return Identity(grant.name if kind == "self" else None, grant=grant)

    def _find_valid(self, grant_id: str) -> Grant | Denied:
        grant = self.grants.find_by_id(grant_id)
        if grant is None or grant.revoked is not None or grant_id in self.revoked_grants:
            return REVOKED
        until = grant.expires_at()
        return EXPIRED if until is not None and until <= self._clock() else grant

    # ---- invites

    def create_local_invite(
        self, *, uses: int, minutes: float, by: Identity | None = None, myself: bool = False
    ) -> str:
        """A code that lets ``uses`` people in here within ``minutes``; it is not a token and can't be turned into one.

        With ``myself`` it is for the page of ``by`` themselves, under their own verified name.
        """
        now = self._clock()
        self._invites = {code: invite for code, invite in self._invites.items() if invite.expires > now}
        code = secrets.token_urlsafe(18)
        session = MEMBER_SESSION
        if by is not None and by.grant is not None:
            session = f"{'self' if myself else 'guest'}:{by.grant.id}"
        self._invites[_digest(code).hex()] = Invite(uses, now + minutes * 60, session)
        return code

    def redeem_local_invite(self, code: str) -> str | None:
        """What the session's cookie is to say, where the code is still good; it is used once more then."""
        key = _digest(code).hex()
        invite = self._invites.pop(key, None)
        if invite is None or invite.expires <= self._clock():
            return None
        if invite.uses > 1:
            self._invites[key] = msgspec.structs.replace(invite, uses=invite.uses - 1)
        return self._check_inviter(invite)

    async def create_invite(
        self, *, uses: int, minutes: float, by: Identity | None = None, myself: bool = False
    ) -> str:
        """``invite``, for every node if there are some. Raises StorageError where they can't know."""
        code = self.create_local_invite(uses=uses, minutes=minutes, by=by, myself=myself)
        if self.invite_store is not None:
            digest = _digest(code).hex()
            await self.invite_store.put(digest, self._invites.pop(digest))
        return code

    async def redeem_invite(self, code: str) -> str | None:
        """``redeem``, whichever node has made it. Raises StorageError where nobody knows."""
        session = self.redeem_local_invite(code)
        if session is not None or self.invite_store is None:
            return session
        invite = await self.invite_store.redeem(_digest(code).hex())
        return None if invite is None else self._check_inviter(invite)

    def _check_inviter(self, invite: Invite) -> str | None:
        """Whoever gave it must still be allowed to."""
        return None if isinstance(self._identify_session(invite.session), Denied) else invite.session


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
