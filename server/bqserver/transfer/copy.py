"""Copies a log's file into a stream, or a stream into a file. Resumes where it stopped, and compares at the end.

During a copy only one program writes into the stream, and every message carries the seq that it expects before it.
What has arrived is therefore always a prefix of the original, and its length is the position to resume from.
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

from bqserver.auth.moderation import ModerationState, moderation_path
from bqserver.errors import ClusterError, StorageError
from bqserver.files import replace, sync_file
from bqserver.jetstream.address import StreamAddress, parse_address
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.control_state import ControlState
from bqserver.jetstream.stream import (
    COPY_KEY,
    REPLICAS,
    STREAM_NOT_FOUND_CODE,
    check_settings,
    error_code,
    stream_settings,
)
from bqserver.storage.attachments import AttachmentStore
from bqserver.storage.nats.attachments import NatsAttachments
from bqserver.storage.nats.records import encode_record
from bqserver.storage.nats.snapshots import write_all_snapshots
from bqserver.storage.sqlite.attachments import SqliteAttachments
from bqserver.storage.sqlite.lock import HistoryLock
from bqserver.storage.sqlite.schema import connect, read_epoch

from .canonical import Totals, compute_totals, read_entries, referenced_attachments, to_submission
from .stream_export import Progress, checked_request, read_control_state, read_stream, store_all

MAX_IN_FLIGHT = 500
"""Messages that are published and not yet acknowledged."""
STALL_TIMEOUT = 30.0
"""Seconds without progress after which the copy fails. It resumes when it is run again."""


async def to_stream(source: Path, url: str, *, single: bool, credentials: str, on_progress: Progress) -> Totals:
    """Copy the file into a stream of its own. Raises StorageError."""
    address = parse_address(url)
    client = NatsClient(address, credentials)
    replicas = 1 if single else REPLICAS
    lock = HistoryLock(source)
    try:
        with contextlib.closing(connect(source, readonly=True)):
            pass  # it is a log
        with contextlib.closing(connect(source)) as db:  # upgrades a file of an earlier version
            expected = compute_totals(read_entries(db))
            await client.open()
            config = await _begin(client, address, read_epoch(db), single=single)
            await _publish_all(client, db, expected.entries, on_progress)
            attachments = SqliteAttachments(source)
            await _copy_attachments(db, attachments, NatsAttachments(client, replicas))
            await attachments.close()
            await _copy_control_state(source, client, replicas)
            with tempfile.TemporaryDirectory() as folder:
                replica_path = Path(folder) / "view.sqlite"
                _compare(expected, await read_stream(client, replica_path, lambda *_: None))
                await write_all_snapshots(client, replica_path, config["metadata"]["epoch"], replicas, on_progress)
            del config["metadata"][COPY_KEY]
            await checked_request(client, f"STREAM.UPDATE.{address.stream}", config)
    finally:
        lock.release()
        await client.close()
    return expected


async def from_stream(url: str, target: Path, *, credentials: str, on_progress: Progress) -> Totals:
    """Copy the stream into a new file. Raises StorageError; ``target`` exists only if it is complete."""
    client = NatsClient(parse_address(url), credentials)
    replica_path, part = _work_files(target)
    try:
        await client.open()
        expected = await read_stream(client, replica_path, on_progress)
        with contextlib.closing(connect(replica_path, readonly=True)) as db:
            with contextlib.closing(connect(part, synchronous="NORMAL")) as copy:
                await asyncio.to_thread(store_all, db, copy, expected.entries, on_progress)
                _compare(expected, compute_totals(read_entries(copy)))
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a write-ahead log
            attachments = SqliteAttachments(target)
            await _copy_attachments(db, NatsAttachments(client, 1), attachments)
            await attachments.close()
        moderation = ModerationState(None, time.time)
        await read_control_state(client, moderation.apply)
        if moderation.export_values():
            moderation.write_file(moderation_path(target))
        sync_file(part)
        replace(part, target)
    finally:
        await client.close()
    for file in replica_path.parent.glob(f"{replica_path.name}*"):
        file.unlink()
    return expected


def _work_files(target: Path) -> tuple[Path, Path]:
    """The replica into which the stream is read, and the unfinished copy that is written from it."""
    if target.exists():
        raise StorageError(f"{target} exists already: give the name of a new file")
    return target.with_name(f"{target.name}.copied"), target.with_name(f"{target.name}.part")


# ---- into a stream


async def _begin(client: NatsClient, address: StreamAddress, epoch: str, *, single: bool) -> dict[str, Any]:
    """Create the stream, or find the one of this copy. Returns its configuration. Raises StorageError."""
    name = address.stream
    found = await client.api_request(f"STREAM.INFO.{name}")
    if error_code(found) == STREAM_NOT_FOUND_CODE:
        made = stream_settings(address, replicas=1 if single else REPLICAS, epoch=secrets.token_hex(8))
        made["metadata"][COPY_KEY] = epoch
        found = await checked_request(client, f"STREAM.CREATE.{name}", made)
    config: dict[str, Any] = found["config"]
    of = (config.get("metadata") or {}).pop(COPY_KEY, None)
    if of != epoch:
        raise ClusterError(f"the stream {name} exists already: copy into another one, as nats://.../{name}-2")
    check_settings(config, address, single=single)
    config["metadata"][COPY_KEY] = epoch
    return config


async def _publish_all(client: NatsClient, db: sqlite3.Connection, count: int, progress: Progress) -> None:
    """Publish all entries, resuming after what has arrived. Raises StorageError without progress."""
    loop = asyncio.get_running_loop()
    arrived, since, why = -1, loop.time(), ""
    while arrived < count:
        try:
            info = await client.api_request(f"STREAM.INFO.{client.address.stream}")
            last = int(info["state"]["last_seq"])
            if last > arrived:
                arrived, since = last, loop.time()
            progress(arrived, count)
            rest = islice(_records(db), arrived, None)
            await _publish(client, rest, arrived, lambda done: progress(done, count))
        except (KeyError, *CONNECTION_ERRORS) as error:
            why = error_text(error)
            await asyncio.sleep(0.25)
        if loop.time() - since > STALL_TIMEOUT:
            raise ClusterError(f"the cluster accepts no messages ({why}): run the same command again to resume")


def _records(db: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Room and message of each entry, for the stream. A rank plus the room's first position is the seq there."""
    room, start = "", 0
    for position, original in enumerate(read_entries(db)):
        if original.room != room:
            room, start = original.room, position
        submission = to_submission(original, partial(operator.add, start))
        yield room, encode_record(submission, "", 0, original.entry.at)


async def _publish(
    client: NatsClient, messages: Iterator[tuple[str, bytes]], last: int, progress: Callable[[int], None]
) -> None:
    """Publish in order, ``MAX_IN_FLIGHT`` at a time; the stream takes a message only right after the one before it.

    Raises one of ``CONNECTION_ERRORS`` at the first message that is not stored.
    """
    while batch := list(islice(messages, MAX_IN_FLIGHT)):
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        missing = len(batch)

        def on_answer(msg: Msg, done: asyncio.Future[None] = done) -> None:
            nonlocal missing
            missing -= 1
            answer = json.loads(msg.data or b'{"error": {"description": "no stream takes it"}}')
            if done.done():
                return
            if "error" in answer:
                done.set_exception(TimeoutError(str(answer["error"].get("description"))))
            elif not missing:
                done.set_result(None)

        inbox = client.open_inbox(on_answer)
        try:
            for room, payload in batch:
                headers = {"Nats-Expected-Last-Sequence": str(last)}
                await client.publish(client.address.subject(room), payload, inbox, headers)
                last += 1
            await asyncio.wait_for(done, STALL_TIMEOUT / 3)
        finally:
            client.close_inbox(inbox)
        progress(last)


# ---- both ways


async def _copy_attachments(db: sqlite3.Connection, source: AttachmentStore, target: AttachmentStore) -> None:
    for room, part in referenced_attachments(read_entries(db)):
        if part.sha256 in await target.reference(room, [part.sha256]):
            continue
        attachment = await source.get(room, part.sha256)
        if attachment is not None:
            await target.put(room, attachment)
            await target.reference(room, [part.sha256])


async def _copy_control_state(source: Path, client: NatsClient, replicas: int) -> None:
    """Copy mutes and closed rooms as they are now; a resumed copy takes those of its own time."""
    control_state = ControlState(client, replicas, lambda *_: None, lambda: None)
    await control_state.open()
    for key, value in ModerationState(moderation_path(source), time.time).export_values():
        await control_state.put(key, value)
    control_state.close()


def _compare(expected: Totals, found: Totals) -> None:
    if expected != found:
        raise StorageError(
            f"the copy differs: {found.entries:,} entries of {expected.entries:,}, "
            f"sha256 {found.sha256[:12]} instead of {expected.sha256[:12]}; copy into another target"
        )
