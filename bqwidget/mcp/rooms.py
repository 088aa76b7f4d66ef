"""The rooms of an agent: joined at their first use, under one name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from bqwidget._client.http_client import HttpClient
from bqwidget.errors import BqwidgetError, MessageRefused, ProtocolError
from bqwidget.protocol import Ask, Message, check_room, is_open
from bqwidget.room import Room

JOIN_TIMEOUT = 20.0
"""Seconds for a join."""
CLOCK_TOLERANCE = 0.05
"""Seconds after the end of a question until it is looked at again."""
POLL_INTERVAL = 2.0
"""Seconds between two looks at a question that is older than the kept messages."""

OnWait = Callable[[float], Any]


class AgentRoom(Room):
    """A member of the kind ``agent``: the server leaves its questions open when its process ends."""

    _kind = "agent"

    def __init__(self, name: str, user: str | None, *, url: str | None, token: str | None) -> None:
        super().__init__(name, user, url=url, token=token, separate=True)


class AgentRooms:
    """``join``: makes a member of the room with the given name. ``allowed``: the only rooms; empty: all."""

    def __init__(self, join: Callable[[str], AgentRoom], *, allowed: Sequence[str] = ()) -> None:
        self._join = join
        self._allowed = tuple(allowed)
        self._rooms: dict[str, AgentRoom] = {}

    async def open(self, name: str) -> Room:
        """The joined room ``name``. Raises BqwidgetError if it is not allowed or can't be joined."""
        self._check_allowed(name)
        room = self._rooms.get(name)
        if room is None or room.status == "closed":
            room = self._rooms[name] = self._join(name)
        try:
            return await asyncio.to_thread(room.wait_open, JOIN_TIMEOUT)
        except BqwidgetError:
            if self._rooms.get(name) is room and room.status == "closed":
                del self._rooms[name]
            raise

    async def list_readable(self) -> list[dict[str, Any]]:
        """Every room that the agent may read, as ``GET /rooms`` describes it."""
        joined = [room for room in self._rooms.values() if room.status == "open"]
        room = joined[0] if joined else self._join(self._allowed[0] if self._allowed else "lobby")
        try:
            await asyncio.to_thread(lambda: room.url)  # waits for the server to be found
            endpoint = room._connection.endpoint  # noqa: SLF001 - of this package
            assert endpoint is not None
            http = HttpClient(endpoint, room.name)
            try:
                rooms = msgspec.json.decode(await http.get("rooms"), type=list[dict[str, Any]])
            finally:
                http.close()
        finally:
            if room not in joined:
                room.close()
        return [each for each in rooms if not self._allowed or each.get("name") in self._allowed]

    async def close(self) -> None:
        """Leave all rooms, once what was sent is delivered."""
        rooms, self._rooms = list(self._rooms.values()), {}
        await asyncio.gather(*(asyncio.to_thread(room.close) for room in rooms))

    def _check_allowed(self, name: str) -> None:
        check_room(name)
        if self._allowed and name not in self._allowed:
            names = ", ".join(self._allowed)
            raise ProtocolError("forbidden", f"room {name} is not among those of this agent: {names}", field="room")


async def post_question(
    room: Room, text: str, choices: Sequence[str] | None, from_: str | None, seconds: float
) -> Message:
    """Ask the room, and return the question as it is stored. It stays open for that many ``seconds``."""
    connection = room._connection  # noqa: SLF001 - of this package
    expires = connection.server_time_ms() + int(seconds * 1000)
    ask = Ask(choices=tuple(choices) if choices else None, from_=from_, expires=expires)
    draft = room._draft(text, ask=ask)  # noqa: SLF001
    delivery = await room._adeliver(draft, JOIN_TIMEOUT)  # noqa: SLF001
    assert isinstance(delivery.entry, Message)
    return delivery.entry


async def current(room: Room, seq: int) -> Message:
    """Message ``seq`` as it reads now. Raises MessageRefused (``not_found``) if there is none."""
    connection = room._connection  # noqa: SLF001
    kept = connection.find(seq)
    if kept is not None:
        return kept
    page = await asyncio.wrap_future(connection.request(lambda http: http.messages(before=seq + 1, limit=1)))
    if not page or page[0].seq != seq:
        raise MessageRefused("not_found", f"room {room.name} has no message {seq}")
    return page[0]


async def wait_until_answered(room: Room, seq: int, patience: float, on_wait: OnWait) -> Message:
    """The question ``seq``, when it is answered or ended, at the latest after ``patience`` seconds.

    ``on_wait``: awaited with the seconds that have passed, before every wait.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    started = loop.time()
    connection = room._connection  # noqa: SLF001
    remove = room._add_listener(lambda _: loop.call_soon_threadsafe(changed.set))  # noqa: SLF001
    try:
        while True:
            changed.clear()
            question = await current(room, seq)
            if question.ask is None and not question.deleted:
                raise MessageRefused("bad_field", f"message {seq} of room {room.name} is not a question")
            passed = loop.time() - started
            left = _seconds_left(room, question)
            if not is_open(question) or left < 0 or passed >= patience:
                return question
            await on_wait(passed)
            pause = min(POLL_INTERVAL, patience - passed, left + CLOCK_TOLERANCE)
            if connection.find(seq) is None:
                await asyncio.sleep(pause)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), pause)
    finally:
        remove()


def has_expired(room: Room, question: Message) -> bool:
    """Whether the question has ended without an answer, by the server's clock."""
    return question.expired is not None or (question.answer is None and _seconds_left(room, question) < 0)


def _seconds_left(room: Room, question: Message) -> float:
    if question.ask is None or question.ask.expires is None:
        return float("inf")
    return (question.ask.expires - room._connection.server_time_ms()) / 1000  # noqa: SLF001
