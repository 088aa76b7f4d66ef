"""Erases superseded texts from the stream: those of edited and deleted messages, and of earlier edits.

A stored message can't be changed. So what is left of it (a ``Record`` without the text) is put into a bucket, and then
JetStream overwrites the message. A reader of the stream takes the records of the bucket into account wherever it reads
(``Remains.fill_in``), so that an entry keeps its seq and every node computes the same outcomes.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import nats.errors

from bqserver.errors import StorageError
from bqserver.jetstream import api
from bqserver.jetstream.client import NatsClient
from bqserver.jetstream.connection import CONNECTION_ERRORS, error_text
from bqserver.jetstream.kv import KeyValue
from bqserver.jetstream.stream import error_code
from bqwidget.protocol import Append, Edit, End, Send, SetStep, Vote, encode

from .records import Record, StreamMessage, decode_record

BUCKET = "redacted"
"""Keys are ``ROOM.SEQ``."""
PROPAGATION_DELAY = 10.0
"""Seconds in which every replica of the bucket has a record before its message is erased from the stream."""
RETRY_INTERVAL = 5.0
SEQ_NOT_FOUND_CODE = 10043
"""JetStream's error code for the deletion of a message that was deleted before."""

_log = logging.getLogger("bqserver.nats")


class Superseded(NamedTuple):
    """A message of the stream whose text a later one replaces. ``emptied``: it was deleted with its attachments."""

    room: str
    seq: int
    emptied: bool


class Remains:
    """What is left of the erased messages of a room, or of all rooms (``room`` empty)."""

    def __init__(self, client: NatsClient, room: str = "") -> None:
        self._bucket = KeyValue(client, BUCKET, 1)
        self._filter = f"{room}.*" if room else ">"
        self._last_read = 0
        self._messages: dict[int, StreamMessage] = {}

    async def fill_in(self, after: int, messages: Sequence[StreamMessage]) -> list[StreamMessage]:
        """``messages``, just read from the stream above ``after``, with the erased ones between them.

        Raises CONNECTION_ERRORS.
        """
        if not messages:
            return []  # a message that replaced the text of another is never erased, so it would be here
        await self._update()
        known = {one.seq: one for one in messages}
        known.update({seq: one for seq, one in self._messages.items() if after < seq <= messages[-1].seq})
        return [known[seq] for seq in sorted(known)]

    async def _update(self) -> None:
        """Read what was added to the bucket. A record is there before its message is erased."""
        more = True
        while more:
            try:
                values, more = await self._bucket.get_after(self._last_read, self._filter)
            except nats.errors.NoRespondersError:
                return  # nothing was erased yet
            for value in values:
                self._last_read = value.seq
                room, _, seq = value.key.partition(".")
                record = decode_record(value.value)
                if record is not None and record.at is not None and seq.isdigit():
                    self._messages[int(seq)] = StreamMessage(room, int(seq), 0, record.at, record)
            more = more and bool(values)


class Eraser:
    """Erases what this node's edits and deletes have superseded, one message after the other."""

    def __init__(self, client: NatsClient, replicas: int) -> None:
        self._client = client
        self._bucket = KeyValue(client, BUCKET, replicas)
        self._created = False
        self._waiting: deque[Superseded] = deque()
        self._recorded: deque[tuple[float, int]] = deque()
        """When each message may be erased (the loop's clock), and its seq."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def add(self, superseded: Iterable[Superseded]) -> None:
        self._waiting.extend(superseded)
        self._wake.set()

    async def flush(self) -> None:
        """Erase everything that is waiting, and wait until it is done."""
        while self._waiting or self._recorded:  # noqa: ASYNC110 - of seconds, once
            await asyncio.sleep(0.1)

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self._erase_next()
            except (StorageError, *CONNECTION_ERRORS) as error:
                _log.warning("a deleted text is not erased from the stream yet, retrying: %s", error_text(error))
                await asyncio.sleep(RETRY_INTERVAL)

    async def _erase_next(self) -> None:
        if self._waiting:
            superseded = self._waiting[0]
            if await self._record(superseded):
                self._recorded.append((self._loop.time() + PROPAGATION_DELAY, superseded.seq))
            self._waiting.popleft()
        elif self._recorded and self._recorded[0][0] <= self._loop.time():
            await self._erase(self._recorded[0][1])
            self._recorded.popleft()
        else:
            self._wake.clear()
            due = self._recorded[0][0] - self._loop.time() if self._recorded else None
            try:
                await asyncio.wait_for(self._wake.wait(), due)
            except TimeoutError:
                return

    async def _record(self, superseded: Superseded) -> bool:
        """Put what is left of the message into the bucket. Returns False if there is nothing to erase."""
        if not self._created:
            await self._bucket.create()
            self._created = True
        room, seq, emptied = superseded
        found = await self._bucket.get(f"{room}.{seq}")
        record = decode_record(found.value) if found else await self._stored(seq)
        if record is None:
            return False
        value = encode(_without_text(record, emptied=emptied))
        if found is None or value != found.value:
            await self._bucket.put(f"{room}.{seq}", value)
        return True

    async def _stored(self, seq: int) -> Record | None:
        answer = await self._client.api_request(f"STREAM.MSG.GET.{self._client.address.stream}", {"seq": seq})
        if error_code(answer) == api.NO_MESSAGE_CODE:
            return None
        if "message" not in answer:
            raise TimeoutError(f"the stream can't be read now: {answer}")
        record = decode_record(b64decode(answer["message"].get("data", "")))
        if record is None or record.at is not None:
            return record
        at = datetime.fromisoformat(answer["message"]["time"]).timestamp()
        return msgspec.structs.replace(record, at=int(at * 1000))

    async def _erase(self, seq: int) -> None:
        answer = await self._client.api_request(
            f"STREAM.MSG.DELETE.{self._client.address.stream}", {"seq": seq, "no_erase": False}
        )
        if "error" in answer and error_code(answer) not in (api.NO_MESSAGE_CODE, SEQ_NOT_FOUND_CODE):
            raise TimeoutError(str(answer["error"].get("description")))


def _without_text(record: Record, *, emptied: bool) -> Record:
    draft = record.draft
    if isinstance(draft, Send):
        draft = msgspec.structs.replace(draft, text="")
        if emptied:
            draft = msgspec.structs.replace(draft, ask=None, parts=(), progress=None)
    elif isinstance(draft, Edit | Append):
        draft = msgspec.structs.replace(draft, text="")
    elif isinstance(draft, Vote):
        draft = msgspec.structs.replace(draft, choice="")
    elif isinstance(draft, SetStep):
        draft = msgspec.structs.replace(draft, title="", text=None)
    elif isinstance(draft, End):
        draft = msgspec.structs.replace(draft, text=None)
    return msgspec.structs.replace(record, draft=draft, node="", number=0, redacted=True)
