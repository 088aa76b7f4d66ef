"""Reading a whole stream: into a view of its own, and from there into a log's file, from where it stopped."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import nats.errors

from bqserver.errors import ClusterError, StorageError
from bqserver.jetstream import api
from bqserver.jetstream.client import JetStreamClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.watched_kv import ControlState
from bqserver.storage.nats.records import decode_stream_message
from bqserver.storage.nats.replica import Replica
from bqserver.storage.nats.retention import TRIM_KEY_PREFIX
from bqserver.storage.sequencer import Position, sequence
from bqserver.storage.sqlite.schema import connect
from bqserver.storage.sqlite.writer_state import WriterState

from .canonical import CanonicalEntry, Totals, compute_totals, read_entries, to_submission

BATCH_SIZE = 500
"""Messages of one question, and entries of one commit."""

Progress = Callable[[int, int], None]
"""Told of (done, all), in entries."""


async def read_stream(client: JetStreamClient, path: Path, told: Progress) -> Totals:
    """What the stream holds, in a view of its own that goes on from where it was. Raises StorageError."""
    address = client.address
    info = await request(client, f"STREAM.INFO.{address.stream}")
    last = int(info["state"]["last_seq"])
    view = Replica(path, str((info["config"].get("metadata") or {}).get("epoch")), lambda _: None)
    try:
        # What is about something that was let go is not simply wrong.
        await read_control_state(client, partial(_learn_trim, view))
        cursor = await view.readers.read(_reached)
        while cursor < last:
            try:
                messages, _ = await api.get_batch(
                    client,
                    address.stream,
                    seq=cursor + 1,
                    batch=BATCH_SIZE,
                    next_by_subj=address.subject("*"),
                )
            except nats.errors.NoRespondersError:
                messages = []  # a leader is elected just now
            except CONNECTION_ERRORS as error:
                raise StorageError(
                    f"the stream can't be read: {error_text(error)}; run the same command again"
                ) from error
            placed = [
                decode_stream_message(
                    address.room((msg.headers or {})["Nats-Subject"]), msg.headers or {}, msg.data
                )
                for msg in messages
            ]
            if not placed:
                await asyncio.sleep(0.05)  # a replica that is a little behind
                continue
            await view.apply(placed)
            cursor = placed[-1].seq
            told(cursor, last)
    finally:
        await view.close()
    with contextlib.closing(connect(path, readonly=True)) as db:
        return compute_totals(read_entries(db))


async def read_control_state(client: JetStreamClient, learn: Callable[[str, bytes], None]) -> None:
    """Everything that was ordered in the stream's rooms. Raises StorageError."""
    orders = ControlState(client, 1, learn, lambda: None)
    try:
        if await orders.exists():
            await orders.refresh()
    except CONNECTION_ERRORS as error:
        raise ClusterError(
            f"orders can't be read: {error_text(error)}; run the same command again"
        ) from error


def _learn_trim(view: Replica, key: str, value: bytes) -> None:
    if key.startswith(TRIM_KEY_PREFIX):
        view.trim(key.removeprefix(TRIM_KEY_PREFIX), int(value))


def _reached(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM cursor").fetchone()[0])


def store_all(db: sqlite3.Connection, copy: sqlite3.Connection, count: int, told: Progress) -> None:
    """Every entry at its rank, from the first on that is not there yet."""
    shelf = WriterState(copy)
    (done,) = copy.execute("SELECT count(*) FROM entry").fetchone()
    rest = islice(read_entries(db), done, None)
    while batch := list(islice(rest, BATCH_SIZE)):
        _store(copy, shelf, batch)
        done += len(batch)
        told(done, count)


def _store(copy: sqlite3.Connection, shelf: WriterState, batch: Sequence[CanonicalEntry]) -> None:
    copy.execute("BEGIN IMMEDIATE")
    plan = sequence(
        [to_submission(one, lambda rank: rank) for one in batch],
        shelf,
        positions=[Position(one.entry.seq, one.entry.at) for one in batch],
    )
    shelf.store(plan)
    copy.execute("COMMIT")


async def request(
    client: JetStreamClient, subject: str, question: dict[str, Any] | None = None
) -> dict[str, Any]:
    try:
        answer = await client.api_request(subject, question)
    except CONNECTION_ERRORS as error:
        raise ClusterError(f"the cluster does not answer: {error_text(error)}") from error
    if refused := answer.get("error"):
        raise ClusterError(f"the stream {client.address.stream} can't be used: {refused.get('description')}")
    return answer
