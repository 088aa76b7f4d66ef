"""Reads a whole stream into a replica, and the replica into a log's file. Both steps resume where they stopped."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from bqserver.errors import ClusterError
from bqserver.jetstream import api
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.control_state import ControlState
from bqserver.storage.nats.erasure import Remains
from bqserver.storage.nats.records import decode_stream_message
from bqserver.storage.nats.replica import Replica
from bqserver.storage.nats.retention import TRIM_KEY_PREFIX
from bqserver.storage.sequencer import Position, sequence
from bqserver.storage.sqlite.schema import connect
from bqserver.storage.sqlite.writer_state import WriterState

from .canonical import CanonicalEntry, Totals, compute_totals, read_entries, to_submission

BATCH_SIZE = 500
"""Messages per request, and entries per commit."""

Progress = Callable[[int, int], None]
"""Called with (done, total), in entries."""


async def read_stream(client: NatsClient, path: Path, on_progress: Progress) -> Totals:
    """Read the stream into a replica at ``path``, which may hold a part of it already. Raises StorageError."""
    address = client.address
    info = await checked_request(client, f"STREAM.INFO.{address.stream}")
    last = int(info["state"]["last_seq"])
    replica = Replica(path, str((info["config"].get("metadata") or {}).get("epoch")), lambda *_: None)
    try:
        # First: an entry that refers to a removed one is valid.
        await read_control_state(client, partial(_apply_trim, replica))
        cursor = await replica.read(_last_seq)
        remains = Remains(client)
        while cursor < last:
            messages: list[Msg] = []
            with _reported("the stream"), contextlib.suppress(nats.errors.NoRespondersError):  # it is electing a leader
                messages, _ = await api.get_batch(
                    client, address.stream, seq=cursor + 1, batch=BATCH_SIZE, next_by_subj=address.subject("*")
                )
            placed = [
                decode_stream_message(address.room(headers["Nats-Subject"]), headers, msg.data)
                for msg in messages
                for headers in [msg.headers or {}]
            ]
            if not placed:
                await asyncio.sleep(0.05)  # the server that answered is behind
                continue
            with _reported("the stream"):
                placed = await remains.fill_in(cursor, placed)
            await replica.apply(placed)
            cursor = placed[-1].seq
            on_progress(cursor, last)
    finally:
        await replica.close()
    with contextlib.closing(connect(path, readonly=True)) as db:
        return compute_totals(read_entries(db))


@contextlib.contextmanager
def _reported(what: str) -> Iterator[None]:
    """Raises ClusterError for an error of the connection."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise ClusterError(f"{what} can't be read: {error_text(error)}; run the same command again") from error


async def read_control_state(client: NatsClient, on_value: Callable[[str, bytes], None]) -> None:
    """Pass all control state of the stream's rooms (moderation, trimming) to ``on_value``. Raises StorageError."""
    control_state = ControlState(client, 1, on_value, lambda: None)
    with _reported("moderation and trimming"):
        if await control_state.exists():
            await control_state.refresh()


def _apply_trim(replica: Replica, key: str, value: bytes) -> None:
    if key.startswith(TRIM_KEY_PREFIX):
        replica.trim(key.removeprefix(TRIM_KEY_PREFIX), int(value))


def _last_seq(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM cursor").fetchone()[0])


def store_all(db: sqlite3.Connection, copy: sqlite3.Connection, count: int, on_progress: Progress) -> None:
    """Write the entries that ``copy`` does not have yet; the seq of each is its rank."""
    state = WriterState(copy)
    (done,) = copy.execute("SELECT count(*) FROM entry").fetchone()
    rest = islice(read_entries(db), done, None)
    while batch := list(islice(rest, BATCH_SIZE)):
        _store(copy, state, batch)
        done += len(batch)
        on_progress(done, count)


def _store(copy: sqlite3.Connection, state: WriterState, batch: Sequence[CanonicalEntry]) -> None:
    copy.execute("BEGIN IMMEDIATE")
    plan = sequence(
        [to_submission(one, lambda rank: rank) for one in batch],
        state,
        positions=[Position(one.entry.seq, one.entry.at) for one in batch],
    )
    state.store(plan)
    copy.execute("COMMIT")


async def checked_request(client: NatsClient, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of JetStream's API. Raises ClusterError without one, and for an error."""
    try:
        answer = await client.api_request(subject, body)
    except CONNECTION_ERRORS as error:
        raise ClusterError(f"the cluster does not answer: {error_text(error)}") from error
    if failure := answer.get("error"):
        raise ClusterError(f"the stream {client.address.stream} can't be used: {failure.get('description')}")
    return answer
