"""Keys of kernels: each kernel that a Jupyter server starts gets one of its own, in its environment alone.

Not in an address and not on a command line, where others could read it; worth nothing once the kernel is gone.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bqserver.auth.authenticator import WRONG_TOKEN, Authenticator
from bqserver.auth.identity import Denied, Identity
from bqserver.auth.tokens import sha256_hex

URL_VARIABLE, TOKEN_VARIABLE = "BQWIDGET_URL", "BQWIDGET_TOKEN"
KERNEL_ENDED = Denied("token_expired", "the kernel with this token has ended: start a new one")


class _KernelToken(NamedTuple):
    identity: Identity
    kernel: str | None
    """None while it starts."""


class KernelTokens:
    """``alive`` tells whether a kernel of that id still runs."""

    def __init__(self, alive: Callable[[str], bool]) -> None:
        self._is_alive = alive
        self._tokens: dict[str, _KernelToken] = {}

    def environment(self, url: str, identity: Identity, given: Mapping[str, str] | None) -> dict[str, str]:
        """The environment of a kernel to be started for ``identity``; who chose another server keeps it."""
        environment = dict(os.environ if given is None else given)
        if URL_VARIABLE not in environment:
            token = secrets.token_urlsafe(32)
            self._tokens[sha256_hex(token)] = _KernelToken(identity._replace(is_program=True), None)
            environment |= {URL_VARIABLE: url, TOKEN_VARIABLE: token}
        return environment

    def bind(self, environment: Mapping[str, str], kernel: str) -> None:
        """The kernel with that environment is there."""
        self._tokens = {
            digest: key
            for digest, key in self._tokens.items()
            if key.kernel is None or self._is_alive(key.kernel)
        }
        digest = sha256_hex(environment.get(TOKEN_VARIABLE, ""))
        if key := self._tokens.get(digest):
            self._tokens[digest] = key._replace(kernel=kernel)

    def identify(self, token: str) -> Identity | Denied | None:
        """Whose kernel that is; None where it is no kernel's."""
        key = self._tokens.get(sha256_hex(token))
        if key is None:
            return None
        return key.identity if key.kernel is None or self._is_alive(key.kernel) else KERNEL_ENDED


class KernelAuthenticator(Authenticator):
    """Lets kernels in and nobody else."""

    def __init__(self, kernels: KernelTokens) -> None:
        super().__init__(token=None, is_open=False, clock=time.time)
        self._kernels = kernels

    def identify(self, authorization: str | None, session: bytes | None) -> Identity | Denied:
        del session
        return self._kernels.identify((authorization or "").partition(" ")[2].strip()) or WRONG_TOKEN
