"""Purges a message of a stream: by a node of its own, next to those that serve the rooms."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bqserver.storage.nats.erasure import Superseded
from bqserver.storage.nats.log import NatsLog, open_log
from bqserver.storage.purge import find_message, purge
from bqserver.storage.redaction import ADDITIONS, LIVE_KINDS, decode_change

PAGE_ENTRIES = 500


async def purge_in_stream(url: str, room: str, seq: int, *, single: bool, credentials: str, ca: str) -> str:
    """``storage.purge.purge``; the stream's messages are overwritten on every replica. Raises StorageError."""
    with tempfile.TemporaryDirectory() as folder:
        view = Path(folder) / "view.sqlite"
        log = await open_log(url, view, single=single, credentials=credentials, ca=ca)
        try:
            message = await find_message(log, room, seq)
            if message.deleted:  # what its node could not erase any more
                log.eraser.add(await _texts(log, room, message.seq))
            return await purge(log, room, seq)
        finally:
            await log.close()


async def _texts(log: NatsLog, room: str, target: int) -> list[Superseded]:
    """A deleted message, and its changes that have a text."""
    found, after = [Superseded(room, target, emptied=True)], target
    bounds = await log.bounds(room)
    while entries := await log.entries(room, after=after, upto=bounds.seq, limit=PAGE_ENTRIES):
        changes = [decode_change(entry.body) for entry in entries if entry.change]
        found += [
            Superseded(room, one.seq, emptied=True)
            for one in changes
            if one.target == target and (one.kind == "edit" or one.kind in ADDITIONS | LIVE_KINDS)
        ]
        after = entries[-1].seq
    return found
