"""Room members under load: senders that retry with the same cid until acknowledged, and readers that follow
the client rule of DESIGN 3.

They do not use bqwidget's client, so that a failure concerns the server alone. tests/chaos/test_network.py has
bqwidget's Room at both ends.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import msgspec

from .client import LoadClient, get

RETRY_INTERVAL = 0.05
"""Seconds between two attempts to join a server that is down."""


class Entry(msgspec.Struct):
    seq: int
    text: str = ""
    cid: str | None = None


class Frame(msgspec.Struct):
    """The fields of the server's frames that members use."""

    type: str
    entry: Entry | None = None
    prev: int = 0
    seq: int = 0
    epoch: str = ""
    cid: str = ""
    dup: bool = False
    retry_ms: int | None = None
    from_: int = msgspec.field(default=0, name="from")
    to: int = 0
    reason: str = ""


decode = msgspec.json.Decoder(Frame).decode


class _Member:
    """Joins the room, and joins again when the connection is lost, until ``stop``."""

    def __init__(self, url: str, room: str) -> None:
        self.url, self.room = url, room
        self.client: LoadClient | None = None
        self.joins = 0
        self.close_codes: list[int | None] = []
        self.receive_buffer: int | None = None
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            try:
                self.client = await LoadClient.join(
                    self.url, self.room, self._on_payloads, self._query(), receive_buffer=self.receive_buffer
                )
            except OSError:
                await asyncio.sleep(RETRY_INTERVAL * random.uniform(0.5, 1.5))
                continue
            self.joins += 1
            if self._stopped:
                self.client.close()
            self._joined(self.client)
            await self.client.closed.wait()
            self.close_codes.append(self.client.close_code)
            self.client = None

    def stop(self) -> None:
        self._stopped = True
        if self.client is not None:
            self.client.close()

    def _query(self) -> str:
        return ""

    def _joined(self, client: LoadClient) -> None:
        """Called when a connection has joined."""

    def _on_payloads(self, payloads: list[bytes]) -> None:
        raise NotImplementedError


class Sender(_Member):
    """Keeps ``max_in_flight`` messages unacknowledged. ``acked``: cid to the acknowledged seq."""

    def __init__(
        self,
        url: str,
        room: str,
        name: str,
        *,
        max_in_flight: int = 32,
        on_ack: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(url, room)
        self.name, self.max_in_flight = name, max_in_flight
        self.acked: dict[str, int] = {}
        self.contradictions: list[str] = []
        self.sending = True
        self.idle = asyncio.Event()
        self._on_ack = on_ack
        self._in_flight: dict[str, bytes] = {}
        self._count = 0

    def finish(self) -> None:
        """Send no new messages; ``idle`` is set when the last one is acknowledged."""
        self.sending = False
        if not self._in_flight:
            self.idle.set()

    def _joined(self, client: LoadClient) -> None:
        client.send(*self._in_flight.values())
        self._fill(client)

    def _fill(self, client: LoadClient) -> None:
        new = []
        while self.sending and len(self._in_flight) < self.max_in_flight:
            cid = f"{self.name}-{self._count}"
            self._count += 1
            text = f"message {self._count} of {self.name}"
            frame = {"type": "chat.send", "cid": cid, "user": self.name, "text": text}
            self._in_flight[cid] = msgspec.json.encode(frame)
            new.append(self._in_flight[cid])
        if new:
            client.send(*new)

    def _on_payloads(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(b'{"type":"ack"'):
                self._ack(decode(payload))
            elif payload.startswith(b'{"type":"error"'):
                frame = decode(payload)
                asyncio.get_running_loop().call_later((frame.retry_ms or 0) / 1000, self._retry, frame.cid)
        if self.client is not None:
            self._fill(self.client)

    def _ack(self, frame: Frame) -> None:
        self._in_flight.pop(frame.cid, None)
        first = self.acked.setdefault(frame.cid, frame.seq)
        if first != frame.seq:
            self.contradictions.append(f"{frame.cid} was acknowledged as {first} and as {frame.seq}")
        self._on_ack(frame.cid)
        if not self.sending and not self._in_flight:
            self.idle.set()

    def _retry(self, cid: str) -> None:
        if self.client is not None and cid in self._in_flight:
            self.client.send(self._in_flight[cid])


class Reader(_Member):
    """Keeps all entries of the room in ``entries``, complete by the client rule of DESIGN 3."""

    def __init__(self, url: str, room: str) -> None:
        super().__init__(url, room)
        self.entries: list[tuple[int, str | None]] = []
        self.last = 0
        self.epoch = ""
        self.gaps: list[str] = []
        self._buffered: list[bytes] | None = None
        self._reached = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def reach(self, seq: int) -> None:
        """Wait until ``entries`` holds everything up to ``seq``."""
        async with self._reached:
            await self._reached.wait_for(lambda: self.last >= seq)

    def _query(self) -> str:
        return f"?after={self.last}" + (f"&epoch={self.epoch}" if self.epoch else "")

    def _joined(self, client: LoadClient) -> None:
        self._buffered = None

    def _on_payloads(self, payloads: list[bytes]) -> None:
        if self._buffered is not None:
            self._buffered += payloads
            return
        before = self.last
        for index, payload in enumerate(payloads):
            frame = decode(payload)
            match frame.type:
                case "hello":
                    self.epoch = frame.epoch
                case "message" | "change" if frame.entry is not None and frame.entry.seq > self.last:
                    if frame.prev != self.last:
                        self._resume()
                        break
                    self._add(frame.entry)
                case "synced" if frame.seq > self.last:
                    self._resume()
                    break
                case "gap":
                    self.gaps.append(frame.reason)
                    if frame.reason == "epoch":
                        self.entries.clear()
                        self.last = 0
                    self._buffered = payloads[index + 1 :]
                    task = asyncio.create_task(self._page(frame.to, self.client))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    break
        if self.last != before:
            self._notify()

    def _add(self, entry: Entry) -> None:
        self.entries.append((entry.seq, entry.cid))
        self.last = entry.seq

    def _resume(self) -> None:
        if self.client is not None:
            self.client.send(msgspec.json.encode({"type": "chat.resume", "after": self.last, "epoch": self.epoch}))

    async def _page(self, to: int, client: LoadClient | None) -> None:
        """Read the entries of a gap by REST; frames received meanwhile are processed afterwards."""
        with suppress(OSError):  # the server is down: the next join resumes after the last entry
            while self.last < to and client is self.client:
                page = await get(self.url, f"/rooms/{self.room}/log?after={self.last}&limit=200")
                if client is not self.client:
                    return
                for entry in page:
                    self._add(Entry(entry["seq"], entry.get("text", ""), entry.get("cid")))
            buffered, self._buffered = self._buffered or [], None
            self._notify()
            self._on_payloads(buffered)

    def _notify(self) -> None:
        async def notify() -> None:
            async with self._reached:
                self._reached.notify_all()

        task = asyncio.create_task(notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
