"""What the handlers need of the server around them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bqserver.auth.admission import ConnectionLimiter, LoginThrottle
from bqserver.auth.authenticator import Authenticator
from bqserver.auth.gateway import Gateway
from bqserver.auth.origins import Origins
from bqserver.hub.hub import Hub


@dataclass(frozen=True, slots=True)
class AppContext:
    """Given to every handler. ``base``: the path before all routes, with a slash at both ends.

    ``behind_proxy``: a reverse proxy, which alone can connect, names the client's address and scheme. ``gateway``: what
    requests that a gateway forwards are read by; None: there are none.
    """

    hub: Hub
    authenticator: Authenticator
    origins: Origins
    base: str = "/"
    connection_limiter: ConnectionLimiter = field(default_factory=lambda: ConnectionLimiter(clock=time.monotonic))
    login_throttle: LoginThrottle = field(default_factory=lambda: LoginThrottle(clock=time.monotonic))
    behind_proxy: bool = False
    gateway: Gateway | None = None
