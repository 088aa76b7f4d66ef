"""Reads from a stream by JetStream's API: batches of messages, its rooms, and the last seq of each room."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import nats.errors
from nats.aio.msg import Msg

from .client import NatsClient
from .connection import NO_RESPONDERS_STATUS
from .stream import error_code

NO_MESSAGE_CODE = 10037
"""JetStream's error code for a subject without messages."""
MAX_SUBJECTS = 1_000
"""Rooms in one request (JetStream takes 1,024 subjects)."""
END_OF_BATCH_STATUS, NO_MESSAGES_STATUS = "204", "404"


async def get_batch(client: NatsClient, stream: str, **query: object) -> tuple[list[Msg], bool]:
    """A batch direct get, answered by any replica: the messages, and whether more follow. Raises CONNECTION_ERRORS,
    also when no replica answers, which is not the same as an empty batch.
    """
    messages = await client.request_many(f"$JS.API.DIRECT.GET.{stream}", json.dumps(query).encode(), _ends_batch)
    end = messages.pop().headers or {}
    if end["Status"] == NO_RESPONDERS_STATUS:
        raise nats.errors.NoRespondersError
    if end["Status"] not in (END_OF_BATCH_STATUS, NO_MESSAGES_STATUS):
        raise TimeoutError(f"the stream {stream} can't be read now: {end}")
    return messages, int(end.get("Nats-Num-Pending", 0)) > 0


async def room_names(client: NatsClient) -> set[str]:
    """Every room with a message in the stream. Raises CONNECTION_ERRORS."""
    address = client.address
    found: set[str] = set()
    while True:
        query = {"subjects_filter": address.subject("*"), "offset": len(found)}
        answer = await client.api_request(f"STREAM.INFO.{address.stream}", query)
        subjects = answer.get("state", {}).get("subjects") or {}
        found |= {address.room(subject) for subject in subjects}
        if not subjects or len(found) >= answer.get("total", 0):
            return found


async def last_seqs(client: NatsClient, rooms: Sequence[str]) -> dict[str, int]:
    """The seq of the last message in each room, answered by any replica. Raises CONNECTION_ERRORS."""
    address = client.address
    found = {}
    for start in range(0, len(rooms), MAX_SUBJECTS):
        subjects = [address.subject(room) for room in rooms[start : start + MAX_SUBJECTS]]
        messages, _ = await get_batch(client, address.stream, multi_last=subjects, batch=len(subjects))
        for msg in messages:
            headers = msg.headers or {}
            found[address.room(headers["Nats-Subject"])] = int(headers["Nats-Sequence"])
    return found


async def leader_last_seq(client: NatsClient, room: str) -> int:
    """The seq of the room's last message, answered by the stream's leader: no replica has a later one. Raises
    CONNECTION_ERRORS.
    """
    seq, _ = await leader_last_message(client, room)
    return seq


async def leader_last_message(client: NatsClient, room: str) -> tuple[int, float]:
    """The same with the time it was stored (seconds since the epoch); 0, 0.0 if the room has no message."""
    address = client.address
    answer = await client.api_request(f"STREAM.MSG.GET.{address.stream}", {"last_by_subj": address.subject(room)})
    if error_code(answer) == NO_MESSAGE_CODE:
        return 0, 0.0
    if "message" not in answer:  # another error, which does not mean that the room is empty
        raise TimeoutError(f"the stream {address.stream} can't be read now: {answer}")
    message = answer["message"]
    return int(message["seq"]), datetime.fromisoformat(message["time"]).timestamp()


async def leader_epoch(client: NatsClient) -> str | None:
    """The epoch of the stream if it has a leader, and so takes messages; else None. Raises CONNECTION_ERRORS."""
    answer = await client.api_request(f"STREAM.INFO.{client.address.stream}")
    if "error" in answer or not answer.get("cluster", {}).get("leader"):
        return None
    return str((answer["config"].get("metadata") or {}).get("epoch"))


def _ends_batch(msg: Msg) -> bool:
    return "Status" in (msg.headers or {})
