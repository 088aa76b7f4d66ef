"""``retry``: one loop for every call to NATS that is repeated until it succeeds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .connection import CONNECTION_ERRORS, error_text

_T = TypeVar("_T")


async def retry(
    call: Callable[[], Awaitable[_T]],
    failure: Callable[[str], Exception],
    *,
    interval: float,
    time_limit: float = math.inf,
    max_attempts: float = math.inf,
    errors: tuple[type[Exception], ...] = CONNECTION_ERRORS,
) -> _T:
    """Call ``call`` every ``interval`` seconds while it raises one of ``errors``, and return its result.

    After ``max_attempts`` calls, or an error later than ``time_limit`` seconds after the start, raises
    ``failure(text)`` with the text of the last error. Other errors pass through.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + time_limit
    attempts = 0
    while True:
        attempts += 1
        try:
            return await call()
        except errors as error:
            if attempts >= max_attempts or loop.time() > deadline:
                raise failure(error_text(error)) from error
        await asyncio.sleep(interval)
