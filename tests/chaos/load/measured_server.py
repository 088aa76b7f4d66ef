"""bqserver with a measurement of its event loop's lateness, printed at exit as one JSON line on stdout."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from bqserver.app import ChatServer
from bqserver.auth.authenticator import Authenticator

TICK_INTERVAL = 0.005
"""Seconds."""


class MeasuredServer(ChatServer):
    async def serve(self, ready: Callable[[Authenticator], None], *, signals: bool = False) -> None:
        late: list[float] = []
        ticking = asyncio.create_task(self.tick(late))
        await super().serve(ready, signals=signals)
        ticking.cancel()
        late.sort()
        p99 = late[int(len(late) * 0.99)] * 1000
        print(
            json.dumps({"ticks": len(late), "p99_ms": round(p99, 2), "max_ms": round(late[-1] * 1000, 2)}),
            flush=True,
        )

    async def tick(self, late: list[float]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_INTERVAL
            await asyncio.sleep(TICK_INTERVAL)
            late.append(loop.time() - due)


if __name__ == "__main__":
    MeasuredServer.launch_instance()
