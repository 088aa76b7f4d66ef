"""The contents of a SQLite log, read while the server runs or after it was killed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bqserver.storage.sqlite.check import count_contents, find_problems
from bqserver.storage.sqlite.schema import SEQ_MASK, connect


def entries(path: Path, room: str = "lobby") -> list[tuple[int, str | None]]:
    """(seq, cid) of the room, in order."""
    with contextlib.closing(connect(path, readonly=True)) as db:
        rows = db.execute(
            "SELECT entry.id, cid FROM entry JOIN room ON room.id = entry.room WHERE name = ? ORDER BY entry.id",
            (room,),
        )
        return [(key & SEQ_MASK, cid) for key, cid in rows]


def count(path: Path) -> int:
    """Entries in all rooms."""
    with contextlib.closing(connect(path, readonly=True)) as db:
        return count_contents(db).entries


def problems(path: Path) -> list[str]:
    """The problems that ``bqserver check`` finds."""
    with contextlib.closing(connect(path, readonly=True)) as db:
        return list(find_problems(db))
