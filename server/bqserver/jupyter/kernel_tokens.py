"""Tokens of kernels: each kernel that a Jupyter server starts gets one of its own, valid until the kernel ends.

It is passed in the environment only: others could read it in a URL or on a command line.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bqserver.auth.identity import Denied, Identity
from bqserver.auth.tokens import sha256_hex

URL_VARIABLE, TOKEN_VARIABLE = "BQWIDGET_URL", "BQWIDGET_TOKEN"
KERNEL_ENDED = Denied("token_expired", "the kernel with this token has ended: start a new one")


class _KernelToken(NamedTuple):
    identity: Identity
    kernel: str | None
    """Its id; None while it starts."""


class KernelTokens:
    """``is_alive(kernel_id)``: whether that kernel still runs."""

    def __init__(self, is_alive: Callable[[str], bool]) -> None:
        self._is_alive = is_alive
        self._tokens: dict[str, _KernelToken] = {}

    def make_environment(self, url: str, identity: Identity, given: Mapping[str, str]) -> dict[str, str]:
        """The environment of a kernel to be started for ``identity``. A BQWIDGET_URL that is already set stays."""
        environment = dict(given)
        if URL_VARIABLE not in environment:
            token = secrets.token_urlsafe(32)
            self._tokens[sha256_hex(token)] = _KernelToken(identity._replace(is_program=True), None)
            environment |= {URL_VARIABLE: url, TOKEN_VARIABLE: token}
        return environment

    def bind(self, environment: Mapping[str, str], kernel: str) -> None:
        """Tie the token in ``environment`` to the kernel that was started with it. ``kernel``: its id."""
        self._tokens = {
            digest: token
            for digest, token in self._tokens.items()
            if token.kernel is None or self._is_alive(token.kernel)
        }
        digest = sha256_hex(environment.get(TOKEN_VARIABLE, ""))
        if token := self._tokens.get(digest):
            self._tokens[digest] = token._replace(kernel=kernel)

    def identify(self, token: str) -> Identity | Denied | None:
        """The identity behind a kernel's token; None if ``token`` is not a kernel's."""
        found = self._tokens.get(sha256_hex(token))
        if found is None:
            return None
        return found.identity if found.kernel is None or self._is_alive(found.kernel) else KERNEL_ENDED
