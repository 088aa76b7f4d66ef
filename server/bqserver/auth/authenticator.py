"""Who is asking, and what may they do: tokens for programs, a one-time invite swapped for a signed cookie for pages."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec

from bqserver.model import Role

from .identity import Denied, Identity
from .invites import Invite, Invites
from .permissions import Rights
from .tokens import Grant, Grants, seen

NO_TOKEN = Denied("unauthorized", "a token is needed: send Authorization: Bearer TOKEN")
WRONG_TOKEN = Denied("unauthorized", "this token is not known here: send another one")
EXPIRED = Denied("token_expired", "this token has expired: ask for a new one")
REVOKED = Denied("token_revoked", "this token was revoked: ask for a new one")
SESSION_OVER = Denied("session_over", "whoever let you in may not any more: ask for a new invite link")

MEMBER = "member"


class Gate:
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
        rights: Rights | None = None,
    ) -> None:
        self.is_open = is_open
        self.grants = grants or Grants()
        self.rights = rights or Rights()
        self._digest = _digest(token) if token else None
        # The cookie's key comes from the token: sessions outlive a restart, and a new token ends them all.
        self.cookie_secret = _digest(f"cookie {token}").hex() if token else secrets.token_hex(32)
        self.shared: Invites | None = None
        """Where all nodes of a cluster find each other's invites."""
        self.revoked: set[str] = set()
        """Grants that were revoked on some node of a cluster, whatever the files of this one say."""
        self._invites: dict[str, Invite] = {}
        self._vouched: set[str] = set()
        self._clock = clock

    # ---- who

    def identify(self, authorization: str | None, session: bytes | None) -> Identity | Denied:
        """From the ``Authorization`` header and the verified session cookie."""
        if authorization is not None:
            return self._program(authorization)
        if session is not None:
            return self._session(session.decode())
        return Identity() if self.is_open else NO_TOKEN

    def valid(self, identity: Identity) -> Identity | Denied:
        """The same one, as of now: its token may have ended or changed since it came in."""
        if identity.grant is None:
            return identity
        grant = self._good(identity.grant.id)
        return grant if isinstance(grant, Denied) else identity._replace(grant=grant)

    def level(self, identity: Identity, room: str) -> Role:
        """The most that ``identity`` may do there. What a guest may, whoever invited them must be allowed to."""
        principal, grant, most = identity.principal, identity.grant, identity.most
        level = min(self.rights.level(principal, room), most)
        if principal is None:
            level = min(level, Role.WRITE)  # who moderates has a name
            if grant is not None:
                level = min(level, self.rights.level(grant.name, room))
        return level if grant is None else min(level, grant.cap(room))

    def may_use(self, identity: Identity, name: str) -> bool:
        """Whether a name that nobody has verified is free to be used: a named member's is not."""
        if identity.principal is not None:
            return True
        return not self.grants.takes(name) and not (self._vouched and seen(name) in self._vouched)

    def vouch(self, identity: Identity) -> None:
        """They are here under a name that somebody else (Jupyter, its Hub) knows them by: it is theirs from now on."""
        if identity.principal is not None and identity.grant is None:
            self._vouched.add(seen(identity.principal))

    def accepts(self, token: str) -> bool:
        """Whether it is the shared token."""
        return self._digest is not None and hmac.compare_digest(self._digest, _digest(token))

    def _program(self, authorization: str) -> Identity | Denied:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer":
            if self.accepts(token):
                return Identity(program=True)
            if grant := self.grants.find(token):
                good = self._good(grant.id)
                return good if isinstance(good, Denied) else Identity(grant.name, program=True, grant=grant)
        return Identity(program=True) if self.is_open else WRONG_TOKEN

    def _session(self, session: str) -> Identity | Denied:
        kind, _, grant_id = session.partition(":")
        if kind == MEMBER:
            return Identity()
        if isinstance(grant := self._good(grant_id), Denied):
            return SESSION_OVER
        return Identity(grant.name if kind == "self" else None, grant=grant)

    def _good(self, grant_id: str) -> Grant | Denied:
        grant = self.grants.get(grant_id)
        if grant is None or grant.revoked is not None or grant_id in self.revoked:
            return REVOKED
        until = grant.until()
        return EXPIRED if until is not None and until <= self._clock() else grant

    # ---- invites

    def invite(self, *, uses: int, minutes: float, by: Identity | None = None, myself: bool = False) -> str:
        """A code that lets ``uses`` people in here within ``minutes``; it is not a token and can't be turned into one.

        With ``myself`` it is for the page of ``by`` themselves, under their own verified name.
        """
        now = self._clock()
        self._invites = {code: invite for code, invite in self._invites.items() if invite.expires > now}
        code = secrets.token_urlsafe(18)
        session = MEMBER
        if by is not None and by.grant is not None:
            session = f"{'self' if myself else 'guest'}:{by.grant.id}"
        self._invites[_digest(code).hex()] = Invite(uses, now + minutes * 60, session)
        return code

    def redeem(self, code: str) -> str | None:
        """What the session's cookie is to say, where the code is still good; it is used once more then."""
        key = _digest(code).hex()
        invite = self._invites.pop(key, None)
        if invite is None or invite.expires <= self._clock():
            return None
        if invite.uses > 1:
            self._invites[key] = msgspec.structs.replace(invite, uses=invite.uses - 1)
        return self._admitted(invite)

    async def invite_everywhere(
        self, *, uses: int, minutes: float, by: Identity | None = None, myself: bool = False
    ) -> str:
        """``invite``, for every node if there are some. Raises StorageError where they can't know."""
        code = self.invite(uses=uses, minutes=minutes, by=by, myself=myself)
        if self.shared is not None:
            digest = _digest(code).hex()
            await self.shared.keep(digest, self._invites.pop(digest))
        return code

    async def redeem_anywhere(self, code: str) -> str | None:
        """``redeem``, whichever node has made it. Raises StorageError where nobody knows."""
        session = self.redeem(code)
        if session is not None or self.shared is None:
            return session
        invite = await self.shared.use(_digest(code).hex())
        return None if invite is None else self._admitted(invite)

    def _admitted(self, invite: Invite) -> str | None:
        """Whoever gave it must still be allowed to."""
        return None if isinstance(self._session(invite.session), Denied) else invite.session


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
