"""Read marks: what verified members have read, saved in batches and sent to all their windows in a room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Mapping

from bqserver.errors import StorageError
from bqserver.hub.peer import Peer
from bqserver.hub.room import ActiveRoom
from bqserver.model import Rejected
from bqserver.storage.interface import MessageLog
from bqserver.storage.read_positions import Reader
from bqserver.websocket.framing import text_frame
from bqwidget.protocol import ReadFrame, encode

SAVE_INTERVAL = 0.1
"""Seconds between two saves: reading must not cost the log a commit for every reader of a message."""

_log = logging.getLogger("bqserver.log")


class ReadMarks:
    """``rooms``: those with peers, by name."""

    def __init__(self, log: MessageLog, rooms: Mapping[str, ActiveRoom]) -> None:
        self._log = log
        self._rooms = rooms
        self._unsaved: dict[Reader, int] = {}
        self._saving: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def mark(self, room: ActiveRoom, peer: Peer, seq: int) -> Rejected | None:
        """The member has read up to ``seq``: save it soon. Returns why not, if so."""
        if peer.principal is None:
            return _UNVERIFIED
        reader, seq = (peer.principal, room.name), min(seq, room.seq)
        if seq > self._unsaved.get(reader, 0):
            self._unsaved[reader] = seq
            if self._saving is None or self._saving.done():
                self._saving = asyncio.get_running_loop().create_task(self._save())
        return None

    async def position(self, user: str | None, room: str, last_seq: int) -> int | None:
        """Up to where a member has read, of a log that ends at ``last_seq``. None: unverified, or not known now."""
        if user is None:
            return None
        try:
            stored = await self._log.read_positions.get(user, room)
        except StorageError:
            return None
        return min(max(stored, self._unsaved.get((user, room), 0)), last_seq)

    def tell(self, positions: Mapping[Reader, int]) -> None:
        """Tell the members' windows on this node."""
        by_room: dict[str, dict[str | None, int]] = defaultdict(dict)
        for (user, name), seq in positions.items():
            by_room[name][user] = seq
        for name, seqs in by_room.items():
            room = self._rooms.get(name)
            for peer in list(room.peers) if room is not None else ():
                if peer.live and peer.principal in seqs:
                    peer.write(text_frame(encode(ReadFrame(seq=seqs[peer.principal]))))

    async def close(self) -> None:
        """Save the rest."""
        self._closing.set()
        if self._saving is not None:
            await self._saving

    async def _save(self) -> None:
        while self._unsaved:
            await self._save_once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), SAVE_INTERVAL)

    async def _save_once(self) -> None:
        positions, self._unsaved = self._unsaved, {}
        try:
            await self._log.read_positions.advance(positions)
        except StorageError as error:  # the windows send them again when they next join
            _log.warning("how far members have read was not saved: %s", error)
        else:
            self.tell(positions)


_UNVERIFIED = Rejected("unverified", "how far you have read is kept for verified members: keep it in this browser", 403)
