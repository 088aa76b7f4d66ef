"""What is asked of a stream: some of its messages, its rooms, and how far each of them is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import nats.errors
from nats.aio.msg import Msg

from .client import JetStreamClient
from .connection import NO_RESPONDERS_STATUS
from .stream import error_code

NO_MESSAGE = 10037
"""JetStream's error code where a subject has none."""
MAX_SUBJECTS = 1_000
"""Rooms in one question (JetStream takes 1,024 subjects)."""
END_OF_BATCH_STATUS, NO_MESSAGES_STATUS = "204", "404"
"""The status that ends a batch, and the one where there is none."""


async def get_batch(client: JetStreamClient, stream: str, **question: object) -> tuple[list[Msg], bool]:
    """A batch direct get, as the next replica knows it: messages, and whether there are more behind them. Raises LOST,
    too where nobody is there who would know: that is not the same as that there is nothing.
    """
    messages = await client.request_many(
        f"$JS.API.DIRECT.GET.{stream}", json.dumps(question).encode(), _is_last
    )
    end = messages.pop().headers or {}
    if end["Status"] == NO_RESPONDERS_STATUS:
        raise nats.errors.NoRespondersError
    if end["Status"] not in (END_OF_BATCH_STATUS, NO_MESSAGES_STATUS):
        raise TimeoutError(f"the stream {stream} can't be read now: {end}")
    return messages, int(end.get("Nats-Num-Pending", 0)) > 0


async def room_names(client: JetStreamClient) -> set[str]:
    """Every room that has a message in the stream. Raises LOST."""
    address = client.address
    found: set[str] = set()
    while True:
        question = {"subjects_filter": address.subject("*"), "offset": len(found)}
        answer = await client.request(f"STREAM.INFO.{address.stream}", question)
        subjects = answer.get("state", {}).get("subjects") or {}
        found |= {address.room(subject) for subject in subjects}
        if not subjects or len(found) >= answer.get("total", 0):
            return found


async def last_seqs(client: JetStreamClient, rooms: Sequence[str]) -> dict[str, int]:
    """The seq of the newest message in each of them, as the next replica knows it. Raises LOST."""
    address = client.address
    found = {}
    for start in range(0, len(rooms), MAX_SUBJECTS):
        some = [address.subject(room) for room in rooms[start : start + MAX_SUBJECTS]]
        messages, _ = await get_batch(client, address.stream, multi_last=some, batch=len(some))
        for msg in messages:
            headers = msg.headers or {}
            found[address.room(headers["Nats-Subject"])] = int(headers["Nats-Sequence"])
    return found


async def leader_last_seq(client: JetStreamClient, room: str) -> int:
    """The same of one room, as the stream's leader knows it: no replica is ahead of that. Raises LOST."""
    seq, _ = await leader_last_message(client, room)
    return seq


async def leader_last_message(client: JetStreamClient, room: str) -> tuple[int, float]:
    """The same, and when it was stored (seconds since the epoch); both 0 where there is none. Raises LOST."""
    address = client.address
    answer = await client.request(f"STREAM.MSG.GET.{address.stream}", {"last_by_subj": address.subject(room)})
    if error_code(answer) == NO_MESSAGE:
        return 0, 0.0
    if "message" not in answer:  # that is not the same as that there is nothing
        raise TimeoutError(f"the stream {address.stream} can't be read now: {answer}")
    message = answer["message"]
    return int(message["seq"]), datetime.fromisoformat(message["time"]).timestamp()


async def leader_epoch(client: JetStreamClient) -> str | None:
    """The epoch of the stream that takes messages now, as far as it says; None: none does. Raises LOST."""
    answer = await client.request(f"STREAM.INFO.{client.address.stream}")
    if "error" in answer or not answer.get("cluster", {}).get("leader"):
        return None
    return str((answer["config"].get("metadata") or {}).get("epoch"))


def _is_last(msg: Msg) -> bool:
    return "Status" in (msg.headers or {})
