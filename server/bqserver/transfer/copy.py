"""Copying a log's file into a stream, and a stream into a file: resumed where it stopped, and compared at the end.

Into a stream only one program writes while it is copied to, and every message says which seq it expects before
it. So what has arrived is always a beginning of the original, and its length says where to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import operator
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg

from bqserver.auth.moderation import Moderation, moderation_path
from bqserver.errors import ClusterError, StorageError
from bqserver.files import LockFile, replace, sync_file
from bqserver.jetstream.address import StreamAddress, parse_address
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.stream import (
    COPY_KEY,
    REPLICAS,
    STREAM_NOT_FOUND,
    check_settings,
    error_code,
    stream_settings,
)
from bqserver.jetstream.watched_kv import ControlState
from bqserver.storage.attachments import AttachmentStore
from bqserver.storage.nats.attachments import NatsAttachments
from bqserver.storage.nats.records import encode_record
from bqserver.storage.nats.snapshots import write_all_snapshots
from bqserver.storage.sqlite.attachments import SqliteAttachments
from bqserver.storage.sqlite.schema import connect, read_epoch

from .canonical import Totals, compute_totals, read_entries, referenced_attachments, to_submission
from .stream_export import Progress, read_control_state, read_stream, request, store_all

MAX_IN_FLIGHT = 500
"""Messages on their way at once."""
STALL_TIMEOUT = 30.0
"""Seconds for which a cluster may take nothing before the copy is given up; run again, it goes on."""


async def to_stream(
    source: Path, url: str, *, single: bool, credentials: str, on_progress: Progress
) -> Totals:
    """Copy the file into a stream that holds nothing else. Raises StorageError."""
    address = parse_address(url)
    client = JetStreamClient(address, credentials)
    replicas = 1 if single else REPLICAS
    lock = LockFile(source)
    try:
        with contextlib.closing(connect(source, readonly=True)) as db:
            expected = compute_totals(read_entries(db))
            await client.open()
            config = await _begin(client, address, read_epoch(db), single=single)
            await _publish_all(client, db, expected.entries, on_progress)
            parts = SqliteAttachments(source)
            await _copy_attachments(db, parts, NatsAttachments(client, replicas))
            await parts.close()
            await _copy_control_state(source, client, replicas)
            with tempfile.TemporaryDirectory() as folder:
                view = Path(folder) / "view.sqlite"
                _compare(expected, await read_stream(client, view, lambda *_: None))
                await write_all_snapshots(client, view, config["metadata"]["epoch"], replicas, on_progress)
            del config["metadata"][COPY_KEY]
            await request(client, f"STREAM.UPDATE.{address.stream}", config)
    finally:
        lock.release()
        await client.close()
    return expected


async def from_stream(url: str, target: Path, *, credentials: str, on_progress: Progress) -> Totals:
    """Copy the stream into a new file. Raises StorageError; ``target`` is there only when it is whole."""
    client = JetStreamClient(parse_address(url), credentials)
    view, part = _work_files(target)
    try:
        await client.open()
        expected = await read_stream(client, view, on_progress)
        with contextlib.closing(connect(view, readonly=True)) as db:
            with contextlib.closing(connect(part, synchronous="NORMAL")) as copy:
                await asyncio.to_thread(store_all, db, copy, expected.entries, on_progress)
                _compare(expected, compute_totals(read_entries(copy)))
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            parts = SqliteAttachments(target)
            await _copy_attachments(db, NatsAttachments(client, 1), parts)
            await parts.close()
        moderation = Moderation(None, time.time)
        await read_control_state(client, moderation.apply)
        if moderation.export_values():
            moderation.write_file(moderation_path(target))
        sync_file(part)
        replace(part, target)
    finally:
        await client.close()
    _delete(view)
    return expected


def _work_files(target: Path) -> tuple[Path, Path]:
    """Where the stream is read into, and the file that is put together from that."""
    if target.exists():
        raise StorageError(f"{target} is there already: give a new file's name")
    return target.with_name(f"{target.name}.copied"), target.with_name(f"{target.name}.part")


def _delete(view: Path) -> None:
    for file in view.parent.glob(f"{view.name}*"):
        file.unlink()


# ---- into a stream


async def _begin(
    client: JetStreamClient, address: StreamAddress, epoch: str, *, single: bool
) -> dict[str, Any]:
    """The settings of a stream that is there for this copy alone. Raises StorageError."""
    name = address.stream
    found = await client.api_request(f"STREAM.INFO.{name}")
    if error_code(found) == STREAM_NOT_FOUND:
        made = stream_settings(address, replicas=1 if single else REPLICAS, epoch=secrets.token_hex(8))
        made["metadata"][COPY_KEY] = epoch
        found = await request(client, f"STREAM.CREATE.{name}", made)
    config: dict[str, Any] = found["config"]
    of = (config.get("metadata") or {}).pop(COPY_KEY, None)
    if of != epoch:
        raise ClusterError(
            f"the stream {name} is there already: copy into another one, as nats://.../{name}-2"
        )
    check_settings(config, address, single=single)
    config["metadata"][COPY_KEY] = epoch
    return config


async def _publish_all(client: JetStreamClient, db: sqlite3.Connection, count: int, told: Progress) -> None:
    """Go on from what has arrived, as often as it takes. Raises StorageError where nothing arrives any more."""
    loop = asyncio.get_running_loop()
    arrived, since, why = -1, loop.time(), ""
    while arrived < count:
        try:
            info = await client.api_request(f"STREAM.INFO.{client.address.stream}")
            last = int(info["state"]["last_seq"])
            if last > arrived:
                arrived, since = last, loop.time()
            told(arrived, count)
            await _publish(
                client, islice(_records(db), arrived, None), arrived, lambda done: told(done, count)
            )
        except (KeyError, *CONNECTION_ERRORS) as error:
            why = error_text(error)
            await asyncio.sleep(0.25)
        if loop.time() - since > STALL_TIMEOUT:
            raise ClusterError(f"the cluster takes nothing more ({why}): run the same command again to go on")


def _records(db: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Each room and message as the stream is to hold them. The seq of what it is about is known beforehand."""
    room, start = "", 0
    for place, original in enumerate(read_entries(db)):
        if original.room != room:
            room, start = original.room, place
        given = to_submission(original, partial(operator.add, start))
        yield room, encode_record(given, "", 0, original.entry.at)


async def _publish(
    client: JetStreamClient, messages: Iterator[tuple[str, bytes]], last: int, told: Callable[[int], None]
) -> None:
    """In order, ``WINDOW`` at a time, each only right after the one before it. Raises LOST at the first that isn't."""
    while batch := list(islice(messages, MAX_IN_FLIGHT)):
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        missing = len(batch)

        def heard(msg: Msg, done: asyncio.Future[None] = done) -> None:
            nonlocal missing
            missing -= 1
            answer = json.loads(msg.data or b'{"error": {"description": "nobody takes it"}}')
            if done.done():
                return
            if "error" in answer:
                done.set_exception(TimeoutError(str(answer["error"].get("description"))))
            elif not missing:
                done.set_result(None)

        inbox = client.open_inbox(heard)
        try:
            for room, payload in batch:
                headers = {"Nats-Expected-Last-Sequence": str(last)}
                await client.publish(client.address.subject(room), payload, inbox, headers)
                last += 1
            await asyncio.wait_for(done, STALL_TIMEOUT / 3)
        finally:
            client.close_inbox(inbox)
        told(last)


# ---- both ways


async def _copy_attachments(db: sqlite3.Connection, source: AttachmentStore, target: AttachmentStore) -> None:
    for room, part in referenced_attachments(read_entries(db)):
        if part.sha256 in await target.reference(room, [part.sha256]):
            continue
        kept = await source.get(room, part.sha256)
        if kept is not None:
            await target.put(room, kept)
            await target.reference(room, [part.sha256])


async def _copy_control_state(source: Path, client: JetStreamClient, replicas: int) -> None:
    """Mutes and closed rooms, as they are now: a copy that goes on later takes what holds then."""
    orders = ControlState(client, replicas, lambda *_: None, lambda: None)
    await orders.open()
    for key, value in Moderation(moderation_path(source), time.time).export_values():
        await orders.put(key, value)
    orders.close()


def _compare(expected: Totals, found: Totals) -> None:
    if expected != found:
        raise StorageError(
            f"the copy is not the same: {found.entries:,} entries of {expected.entries:,}, "
            f"sha256 {found.sha256[:12]} instead of {expected.sha256[:12]}; copy into another place"
        )
