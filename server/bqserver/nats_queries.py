"""What is asked of the stream itself, beside its messages: its rooms, and how far each of them is."""

from __future__ import annotations

import json
from collections.abc import Sequence

from .nats_link import Link

MOST = 1_000
"""Rooms in one question (JetStream takes 1,024 subjects)."""


async def names(link: Link) -> set[str]:
    """Every room that has a message in the stream. Raises LOST."""
    address = link.address
    found: set[str] = set()
    while True:
        question = {"subjects_filter": address.subject("*"), "offset": len(found)}
        answer = await link.ask(f"STREAM.INFO.{address.stream}", question)
        subjects = answer.get("state", {}).get("subjects") or {}
        found |= {address.room(subject) for subject in subjects}
        if not subjects or len(found) >= answer.get("total", 0):
            return found


async def latest(link: Link, rooms: Sequence[str]) -> dict[str, int]:
    """The seq of the newest message in each of them, as the next replica knows it. Raises LOST."""
    address = link.address
    found = {}
    for start in range(0, len(rooms), MOST):
        some = [address.subject(room) for room in rooms[start : start + MOST]]
        question = json.dumps({"multi_last": some, "batch": len(some)}).encode()
        answers = await link.gather(
            f"$JS.API.DIRECT.GET.{address.stream}", question, lambda msg: "Status" in (msg.headers or {})
        )
        for msg in answers[:-1]:
            headers = msg.headers or {}
            found[address.room(headers["Nats-Subject"])] = int(headers["Nats-Sequence"])
    return found


async def newest(link: Link, room: str) -> int:
    """The same of one room, as the stream's leader knows it: no replica is ahead of that. Raises LOST."""
    address = link.address
    answer = await link.ask(f"STREAM.MSG.GET.{address.stream}", {"last_by_subj": address.subject(room)})
    return int(answer.get("message", {}).get("seq", 0))


async def led_epoch(link: Link) -> str | None:
    """The epoch of the stream that takes messages now, as far as it says; None: none does. Raises LOST."""
    answer = await link.ask(f"STREAM.INFO.{link.address.stream}")
    if "error" in answer or not answer.get("cluster", {}).get("leader"):
        return None
    return str((answer["config"].get("metadata") or {}).get("epoch"))
