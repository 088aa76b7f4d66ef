"""Ended logins: at a logout Jupyter only deletes the browser's cookie, and would still accept a copy of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from bqserver.auth.tokens import sha256_hex

MAX_REMEMBERED_LOGOUTS = 10_000


class LogoutTracker:
    """Remembers the cookies of logouts from Jupyter's ``IdentityProvider``, and calls ``on_logout`` after each."""

    def __init__(self, provider: Any, on_logout: Callable[[], object]) -> None:
        self._provider = provider
        self._ended: OrderedDict[str, None] = OrderedDict()
        clear = provider.clear_login_cookie

        def clear_login_cookie(handler: Any) -> None:
            if (cookie := self._cookie(handler)) is not None:
                self._ended[sha256_hex(cookie)] = None
                if len(self._ended) > MAX_REMEMBERED_LOGOUTS:
                    self._ended.popitem(last=False)
            clear(handler)
            on_logout()

        provider.clear_login_cookie = clear_login_cookie  # Jupyter has no hook for it

    def has_ended(self, handler: Any) -> bool:
        """Whether the request's login cookie was logged out."""
        cookie = self._cookie(handler)
        return cookie is not None and sha256_hex(cookie) in self._ended

    def _cookie(self, handler: Any) -> str | None:
        cookie: str | None = handler.get_cookie(self._provider.get_cookie_name(handler))
        return cookie
