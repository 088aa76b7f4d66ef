"""The stores of attachments in memory and in SQLite. Over the wire: web/test_attachments.py."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from bqserver.errors import StorageError
from bqserver.storage.attachments import MemoryAttachments, StoredAttachment
from bqserver.storage.sqlite.attachments import (
    SWEEP_INTERVAL,
    UNREFERENCED_LIFETIME,
    SqliteAttachments,
    attachments_path,
)
from bqserver.testing import running_server
from bqserver.web.media import inspect
from support.pictures import png
from support.ws_client import request

PNG = png()


def test_the_first_upload_creates_a_private_file(tmp_path: Path):
    """There is one row per room and hash; ``named`` says whether a message references it."""
    log = tmp_path / "log.sqlite"
    part = inspect("image/png", PNG)

    async def scenario() -> None:
        store = SqliteAttachments(log)
        assert not attachments_path(log).exists()
        for room in ("a", "a", "b"):
            await store.put(room, StoredAttachment(part, PNG))
        assert stat.S_IMODE(attachments_path(log).stat().st_mode) == 0o600
        with closing(sqlite3.connect(attachments_path(log))) as db:
            rows = "SELECT room, sha256, named FROM part ORDER BY room"
            assert db.execute(rows).fetchall() == [("a", part.sha256, 0), ("b", part.sha256, 0)]
            await store.reference("b", [part.sha256])
            assert db.execute(rows).fetchall() == [("a", part.sha256, 0), ("b", part.sha256, 1)]
        await store.close()

    asyncio.run(scenario())


def test_a_file_of_another_program_is_refused(tmp_path: Path):
    log = tmp_path / "log.sqlite"
    attachments_path(log).write_bytes(b"a diary " * 1_000)
    with pytest.raises(StorageError, match="is not a bqserver database"):
        SqliteAttachments(log)
    attachments_path(log).unlink()
    with closing(sqlite3.connect(attachments_path(log))) as db:
        db.execute("CREATE TABLE diary (day TEXT)")
    with pytest.raises(StorageError, match="the database of another program"):
        SqliteAttachments(log)
    attachments_path(log).unlink()
    with running_server(log=f"sqlite:{log}", open=True) as server:
        put = request(server.url, "POST", "/rooms/lobby/parts", PNG, Content_Type="image/png")
        assert put.status == 201


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_unreferenced_attachments_are_deleted_after_a_day(tmp_path: Path):
    clock = Clock()
    pictures = [png(1, 1), png(1, 2), png(1, 3), png(1, 4)]
    named, unnamed, repeated, new = attachments = [
        StoredAttachment(inspect("image/png", data), data) for data in pictures
    ]

    async def scenario() -> list[StoredAttachment | None]:
        store = SqliteAttachments(tmp_path / "log.sqlite", clock=clock)
        for each in (named, unnamed, repeated):
            await store.put("r", each)
        assert await store.reference("r", [named.part.sha256, "0" * 64]) == {named.part.sha256: named.part}
        clock.now += UNREFERENCED_LIFETIME - 60
        await store.put("r", repeated)
        clock.now += SWEEP_INTERVAL + 1
        await store.put("r", new)
        left = [await store.get("r", each.part.sha256) for each in attachments]
        await store.close()
        return left

    assert asyncio.run(scenario()) == [named, None, repeated, new]


def test_in_memory_the_oldest_attachments_are_removed():
    pictures = [png(1, number + 1, noise=50) for number in range(3)]
    attachments = [StoredAttachment(inspect("image/png", data), data) for data in pictures]

    async def scenario() -> list[bool]:
        store = MemoryAttachments(max_bytes=300)
        for each in (attachments[0], attachments[1], attachments[0], attachments[2]):
            await store.put("r", each)
        return [await store.get("r", each.part.sha256) is not None for each in attachments]

    assert asyncio.run(scenario()) == [True, False, True]


def test_a_closed_store_raises(tmp_path: Path):
    async def scenario() -> None:
        store = SqliteAttachments(tmp_path / "log.sqlite")
        await store.close()
        await store.get("r", "0" * 64)

    with pytest.raises(StorageError, match="the server is stopping"):
        asyncio.run(scenario())
