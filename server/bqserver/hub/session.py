"""One connection's life: join, catch up, and dispatch what the member sends until the connection is over."""

from __future__ import annotations

import asyncio
import logging

from bqserver.websocket.flood_control import BYTES_PER_FRAME, UNSTORED_PER_FRAME, FloodControl

from .catch_up import start_join
from .dispatch import close_for_rate, dispatch
from .hub import Hub
from .peer import Peer
from .room import ActiveRoom

MAX_UNANSWERED = 128
"""Submissions of one connection that may wait for the log: a longer queue would delay the acks of all others.
The Python client keeps at most 64 unanswered.
"""
MAX_USELESS_FRAMES = 8
"""Frames of one connection that are refused, or change nothing, before the other connections have their turns: a flood of
them delays the others by the time of so many.
"""

_log = logging.getLogger("bqserver.peer")


def start(hub: Hub, peer: Peer, after: int | None, epoch: str | None) -> None:
    """Let ``peer`` join its room after the entry ``after`` of the log ``epoch``, on a task that the hub ends."""
    hub.spawn(_serve(hub, hub.enter(peer), peer, after, epoch))


async def _serve(hub: Hub, room: ActiveRoom, peer: Peer, after: int | None, epoch: str | None) -> None:
    connection, loop = peer.connection, asyncio.get_running_loop()
    flood, frames, unstored = FloodControl(loop.time()), 0, 0
    joining = start_join(hub, room, peer, after, epoch)
    try:
        while (messages := await connection.receive()) is not None:
            if messages and not joining.done():
                # A message appended before hello has read the log would count as known to this peer, and never
                # be sent to it. The socket is read meanwhile, for pings and a close.
                await asyncio.wait([joining])
            frames, excess = connection.frames_received, float(connection.frames_received - frames)
            useless = 0
            for message in messages:
                accepted, appended = peer.accepted, peer.appended
                if not isinstance(message, str):
                    connection.close(1003, "frames are JSON text")
                elif (pending := dispatch(hub, room, peer, message)) is not None:
                    await pending  # the next message must come after this one in the log
                if peer.unanswered >= MAX_UNANSWERED:
                    await peer.wait_for_outcomes(MAX_UNANSWERED // 2)
                if peer.accepted != accepted:
                    excess -= 1
                elif peer.appended != appended:
                    excess += len(message) / BYTES_PER_FRAME - 1  # by its bytes alone: an answer has many pieces
                else:
                    excess += len(message) // BYTES_PER_FRAME
                    useless += 1
                    if useless % MAX_USELESS_FRAMES == 0:
                        await hub.turns.next()
            unstored, excess = peer.unstored, excess + (peer.unstored - unstored) / UNSTORED_PER_FRAME
            if excess and (wait := flood.count(excess, loop.time())):
                if connection.open and flood.is_flood(loop.time()):
                    await close_for_rate(peer, "too many frames", wait)
                else:
                    await asyncio.sleep(wait)
    except Exception:  # noqa: BLE001 - without this the peer would wait forever, and no log would say why
        _log.exception("a connection is closed after an internal error")
        connection.close(1011, "an internal error of the server: reconnect")
    finally:
        joining.cancel()
        if peer.catch_up_task is not None:
            peer.catch_up_task.cancel()
        hub.leave(peer)
