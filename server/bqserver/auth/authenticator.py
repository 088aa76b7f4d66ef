"""Authentication: bearer tokens for programs, and for pages one-time invites exchanged for a signed cookie."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Literal

import msgspec

from bqserver.errors import TooManyInvites
from bqserver.model import Role

from .identity import Denied, Identity
from .invites import InviteStore, IssuedInvite
from .permissions import Permissions
from .tokens import Grant, Grants, normalize_name

NO_TOKEN = Denied("unauthorized", "a token is needed: send Authorization: Bearer TOKEN")
WRONG_TOKEN = Denied("unauthorized", "this token is not known here: send another one")
EXPIRED = Denied("token_expired", "this token has expired: ask for a new one")
REVOKED = Denied("token_revoked", "this token was revoked: ask for a new one")
SESSION_ENDED = Denied("session_over", "the token behind your invite is no longer valid: ask for a new invite link")

MAX_INVITES_EACH = 1_000
"""Invites of one inviter that have not expired, on one node."""

MEMBER_SESSION = "member"
"""The session of a guest whose inviter used the shared token; others are ``guest:ID`` and ``self:ID`` of a grant."""


class Authenticator:
    """Maps credentials to identities, and identities to roles.

    ``token``: the shared token. ``is_open``: requests without a token are accepted too, unverified. ``grants`` and
    ``permissions`` may be replaced at any time. ``is_local``: the shared token is that of the user whose server this is,
    who could read every file of it. ``clock`` gives seconds since the epoch.
    """

    def __init__(
        self,
        *,
        token: str | None,
        is_open: bool,
        clock: Callable[[], float],
        grants: Grants | None = None,
        permissions: Permissions | None = None,
        is_local: bool = False,
    ) -> None:
        self.is_open = is_open
        self._is_local = is_local
        self.grants = grants or Grants()
        self.permissions = permissions or Permissions()
        self._token_digest = _digest(token) if token else None
        # Derived from the token: sessions survive a restart, and a new token ends them all.
        self.cookie_secret = _digest(f"cookie {token}").hex() if token else secrets.token_hex(32)
        self.invite_store: InviteStore | None = None
        """The invites that all nodes of a cluster share; None outside a cluster."""
        self.revoked_grants: set[str] = set()
        """Ids of grants revoked on any node of a cluster, even if this node's file still has them."""
        self._invites: dict[str, IssuedInvite] = {}
        self._outstanding: dict[str, dict[str, float]] = {}
        """By inviter: the digests of the invites made here, and when each expires."""
        self._reserved_names: set[str] = set()
        self._clock = clock

    # ---- identities

    def identify(self, authorization: str | None, session: bytes | None) -> Identity | Denied:
        """``authorization``: the header. ``session``: the value of the session cookie, its signature verified."""
        if authorization is not None:
            return self._identify_program(authorization)
        if session is not None:
            return self._identify_session(session.decode())
        return Identity() if self.is_open else NO_TOKEN

    def revalidate(self, identity: Identity) -> Identity | Denied:
        """``identity`` with its current grant, or why its token is no longer valid."""
        if identity.grant is None:
            return identity
        grant = self._find_valid(identity.grant.id)
        return grant if isinstance(grant, Denied) else identity._replace(grant=grant)

    def role(self, identity: Identity, room: str) -> Role:
        """The role of ``identity`` in ``room``. A guest's role is at most that of its inviter."""
        principal, grant = identity.principal, identity.grant
        role = min(self.permissions.role(principal, room), identity.max_role)
        if principal is None:
            role = min(role, Role.WRITE)  # moderators need a verified name
            if grant is not None:
                role = min(role, self.permissions.role(grant.name, room))
        return role if grant is None else min(role, grant.max_role(room))

    def way_in(self, identity: Identity, *, forwarded: bool) -> Literal["login", "invite", "session"] | None:
        """How people get in with a room's address from ``identity``: ``share`` of ``hello``.

        ``forwarded``: by a gateway, which has logins of its own, as the Hub has.
        """
        grant = identity.grant
        if forwarded or (identity.principal is not None and grant is None):
            return "login"
        if self.is_open:
            return None
        return "invite" if identity.is_program and not (grant and grant.read_only) else "session"

    def may_use_name(self, identity: Identity, name: str) -> bool:
        """Whether ``identity`` may use the self-asserted ``name``: not if it belongs to a verified member.

        Jupyter's name for the owner of a local server is often the one that their scripts use.
        """
        if identity.principal is not None:
            return True
        is_reserved = self._reserved_names and normalize_name(name) in self._reserved_names
        return (not is_reserved or identity.owns_server) and not self.grants.has_name(name)

    def reserve_name(self, identity: Identity) -> None:
        """Keep a name that Jupyter or its Hub has verified from being asserted by others, until the server ends."""
        if identity.principal is not None and identity.grant is None:
            self._reserved_names.add(normalize_name(identity.principal))

    def is_shared_token(self, token: str) -> bool:
        return self._token_digest is not None and hmac.compare_digest(self._token_digest, _digest(token))

    def _identify_program(self, authorization: str) -> Identity | Denied:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer":
            if self.is_shared_token(token):
                return Identity(is_program=True, owns_server=self._is_local)
            if grant := self.grants.find_by_token(token):
                valid = self._find_valid(grant.id)
                if isinstance(valid, Denied):
                    return valid
                return Identity(grant.name, is_program=True, grant=grant)
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
        expires_at = grant.expires_at()
        return EXPIRED if expires_at is not None and expires_at <= self._clock() else grant

    # ---- invites

    def create_local_invite(
        self, *, uses: int, minutes: float, by: Identity | None = None, myself: bool = False
    ) -> str:
        """A code that admits ``uses`` people on this node for ``minutes``. It can't be used as a token.

        Raises TooManyInvites. ``by``: the inviter. ``myself``: the code is for a page of the inviter, under their own verified name.
        """
        now = self._clock()
        inviter = by.grant.id if by is not None and by.grant is not None else ""
        outstanding = self._outstanding.setdefault(inviter, {})
        for key in [key for key, expires in outstanding.items() if expires <= now]:
            self._forget(inviter, key)
        if len(outstanding) >= MAX_INVITES_EACH:
            raise TooManyInvites(MAX_INVITES_EACH, min(outstanding.values()) - now)
        code = secrets.token_urlsafe(18)
        session = MEMBER_SESSION
        if by is not None and by.grant is not None:
            session = f"{'self' if myself else 'guest'}:{by.grant.id}"
        digest = _digest(code).hex()
        outstanding[digest] = now + minutes * 60
        self._invites[digest] = IssuedInvite(uses, outstanding[digest], session)
        return code

    def redeem_local_invite(self, code: str) -> str | None:
        """Use ``code`` once. Returns the value of the session cookie, or None if the code is not valid on this node."""
        key = _digest(code).hex()
        invite = self._invites.pop(key, None)
        if invite is None or invite.expires <= self._clock():
            return None
        if invite.uses <= 1:
            self._forget(invite.session.partition(":")[2], key)
        else:
            self._invites[key] = msgspec.structs.replace(invite, uses=invite.uses - 1)
        return self._check_inviter(invite)

    async def create_invite(
        self, *, uses: int, minutes: float, by: Identity | None = None, myself: bool = False
    ) -> str:
        """As ``create_local_invite``, valid on every node of a cluster. Raises StorageError if it can't be shared."""
        code = self.create_local_invite(uses=uses, minutes=minutes, by=by, myself=myself)
        if self.invite_store is not None:
            digest = _digest(code).hex()
            await self.invite_store.put(digest, self._invites.pop(digest))
        return code

    async def redeem_invite(self, code: str) -> str | None:
        """As ``redeem_local_invite``, for codes of every node of a cluster. Raises StorageError if NATS doesn't answer."""
        session = self.redeem_local_invite(code)
        if session is not None or self.invite_store is None:
            return session
        invite = await self.invite_store.redeem(_digest(code).hex())
        return None if invite is None else self._check_inviter(invite)

    def _forget(self, inviter: str, digest: str) -> None:
        self._invites.pop(digest, None)
        self._outstanding.get(inviter, {}).pop(digest, None)

    def _check_inviter(self, invite: IssuedInvite) -> str | None:
        """The invite's session, unless its inviter's token has ended."""
        return None if isinstance(self._identify_session(invite.session), Denied) else invite.session


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
