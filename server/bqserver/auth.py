"""Who is asking: a bearer token for programs, a one-time invite swapped for a signed cookie for pages."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .log import LogError


class Identity(NamedTuple):
    """``principal``: the verified name, or None where names are self-asserted. ``program``: came with a token."""

    principal: str | None = None
    program: bool = False


class Invite(NamedTuple):
    uses: int
    expires: float


class Gate:
    """Decides who comes in. ``token`` None with ``is_open``: everyone does, without a name to rely on.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, *, token: str | None, is_open: bool, clock: Callable[[], float]) -> None:
        self.is_open = is_open
        self._digest = _digest(token) if token else None
        # The cookie's key comes from the token: sessions outlive a restart, and a new token ends them all.
        self.cookie_secret = _digest(f"cookie {token}").hex() if token else secrets.token_hex(32)
        self._invites: dict[bytes, Invite] = {}
        self._clock = clock

    def identify(self, authorization: str | None, session: bytes | None) -> Identity | None:
        """From the ``Authorization`` header and the verified session cookie; None: not let in."""
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() == "bearer" and self.accepts(token.strip()):
                return Identity(program=True)
            return Identity(program=True) if self.is_open else None
        if session is not None or self.is_open:
            return Identity()
        return None

    def accepts(self, token: str) -> bool:
        return self._digest is not None and hmac.compare_digest(self._digest, _digest(token))

    def invite(self, *, uses: int, minutes: float) -> str:
        """A code that lets ``uses`` people in within ``minutes``; it is not a token and can't be turned into one."""
        now = self._clock()
        self._invites = {code: invite for code, invite in self._invites.items() if invite.expires > now}
        code = secrets.token_urlsafe(18)
        self._invites[_digest(code)] = Invite(uses, now + minutes * 60)
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code was still good; it is used once more then."""
        key = _digest(code)
        invite = self._invites.get(key)
        if invite is None or invite.expires <= self._clock():
            self._invites.pop(key, None)
            return False
        if invite.uses > 1:
            self._invites[key] = invite._replace(uses=invite.uses - 1)
        else:
            del self._invites[key]
        return True


def read_token(path: Path) -> str:
    """The token in ``path``. Raises LogError where the file is missing, empty, or readable by others."""
    try:
        token = path.read_text().strip()
        mode = path.stat().st_mode & 0o077
    except OSError as error:
        raise LogError(f"the token file {path} can't be read: {error.strerror}") from error
    if not token:
        raise LogError(f"the token file {path} is empty: put a long random word into it")
    if mode and os.name == "posix":
        raise LogError(f"the token file {path} can be read by others: chmod 600 {path}")
    return token


def make_token(path: Path) -> str:
    """The token in ``path``, made on first use: 256 random bits, mode 0600 in a folder of mode 0700."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(path)
    except OSError as error:
        raise LogError(
            f"{path} can't be written ({error.strerror}): name a token with --token-file=FILE"
        ) from error
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
