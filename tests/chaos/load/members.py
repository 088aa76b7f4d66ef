"""Members under load: senders that retry with their cid until acknowledged, readers that hold the client rule.

They are written here once more, small and straight, and not taken from bqwidget: what they find is about the
server alone. tests/chaos/test_network.py has bqwidget's own Room at both ends.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import msgspec

from .client import Link, get

RETRY = 0.05
"""Seconds between two tries to join a server that is away."""


class Entry(msgspec.Struct):
    seq: int
    text: str = ""
    cid: str | None = None


class Frame(msgspec.Struct):
    """Whatever the server sends, as far as a member looks."""

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
    """Joins, and joins again whenever the connection is lost, until ``stop``."""

    def __init__(self, url: str, room: str) -> None:
        self.url, self.room = url, room
        self.link: Link | None = None
        self.joins = 0
        self.close_codes: list[int | None] = []
        self.receive_buffer: int | None = None
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            try:
                self.link = await Link.join(
                    self.url, self.room, self._heard, self._query(), receive_buffer=self.receive_buffer
                )
            except OSError:
                await asyncio.sleep(RETRY * random.uniform(0.5, 1.5))
                continue
            self.joins += 1
            if self._stopped:
                self.link.close()
            self._joined(self.link)
            await self.link.lost.wait()
            self.close_codes.append(self.link.close_code)
            self.link = None

    def stop(self) -> None:
        self._stopped = True
        if self.link is not None:
            self.link.close()

    def _query(self) -> str:
        return ""

    def _joined(self, link: Link) -> None:
        """A new connection is there."""

    def _heard(self, payloads: list[bytes]) -> None:
        raise NotImplementedError


class Sender(_Member):
    """Keeps ``window`` messages on their way. ``acked``: the seq that each cid was acknowledged with."""

    def __init__(
        self,
        url: str,
        room: str,
        name: str,
        *,
        window: int = 32,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(url, room)
        self.name, self.window = name, window
        self.acked: dict[str, int] = {}
        self.contradictions: list[str] = []
        self.sending = True
        self.idle = asyncio.Event()
        self._told = told
        self._waiting: dict[str, bytes] = {}
        self._count = 0

    def finish(self) -> None:
        """Make no new messages; ``idle`` is set when the last one is acknowledged."""
        self.sending = False
        if not self._waiting:
            self.idle.set()

    def _joined(self, link: Link) -> None:
        link.send(*self._waiting.values())
        self._fill(link)

    def _fill(self, link: Link) -> None:
        new = []
        while self.sending and len(self._waiting) < self.window:
            cid = f"{self.name}-{self._count}"
            self._count += 1
            text = f"message {self._count} of {self.name}"
            frame = {"type": "chat.send", "cid": cid, "user": self.name, "text": text}
            self._waiting[cid] = msgspec.json.encode(frame)
            new.append(self._waiting[cid])
        if new:
            link.send(*new)

    def _heard(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload.startswith(b'{"type":"ack"'):
                self._ack(decode(payload))
            elif payload.startswith(b'{"type":"error"'):
                frame = decode(payload)
                asyncio.get_running_loop().call_later((frame.retry_ms or 0) / 1000, self._again, frame.cid)
        if self.link is not None:
            self._fill(self.link)

    def _ack(self, frame: Frame) -> None:
        self._waiting.pop(frame.cid, None)
        first = self.acked.setdefault(frame.cid, frame.seq)
        if first != frame.seq:
            self.contradictions.append(f"{frame.cid} was acknowledged as {first} and as {frame.seq}")
        self._told(frame.cid)
        if not self.sending and not self._waiting:
            self.idle.set()

    def _again(self, cid: str) -> None:
        if self.link is not None and cid in self._waiting:
            self.link.send(self._waiting[cid])


class Reader(_Member):
    """Keeps the whole room: ``entries``, held complete by the client rule of DESIGN 3."""

    def __init__(self, url: str, room: str) -> None:
        super().__init__(url, room)
        self.entries: list[tuple[int, str | None]] = []
        self.last = 0
        self.epoch = ""
        self.gaps: list[str] = []
        self._held: list[bytes] | None = None
        self._reached = asyncio.Condition()
        self._paging: set[asyncio.Task[None]] = set()

    async def reach(self, seq: int) -> None:
        """Wait until the list holds everything up to ``seq``."""
        async with self._reached:
            await self._reached.wait_for(lambda: self.last >= seq)

    def _query(self) -> str:
        return f"?after={self.last}" + (f"&epoch={self.epoch}" if self.epoch else "")

    def _joined(self, link: Link) -> None:
        self._held = None

    def _heard(self, payloads: list[bytes]) -> None:
        if self._held is not None:
            self._held += payloads
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
                    self._held = payloads[index + 1 :]
                    task = asyncio.create_task(self._page(frame.to, self.link))
                    self._paging.add(task)
                    task.add_done_callback(self._paging.discard)
                    break
        if self.last != before:
            self._tell()

    def _add(self, entry: Entry) -> None:
        self.entries.append((entry.seq, entry.cid))
        self.last = entry.seq

    def _resume(self) -> None:
        if self.link is not None:
            self.link.send(
                msgspec.json.encode({"type": "chat.resume", "after": self.last, "epoch": self.epoch})
            )

    async def _page(self, upto: int, link: Link | None) -> None:
        """What the gap left out, by REST; what came meanwhile goes through the same rule afterwards."""
        with suppress(OSError):  # the server is gone: the next join begins where the list ends
            while self.last < upto and link is self.link:
                page = await get(self.url, f"/rooms/{self.room}/log?after={self.last}&limit=200")
                if link is not self.link:
                    return
                for entry in page:
                    self._add(Entry(entry["seq"], entry.get("text", ""), entry.get("cid")))
            held, self._held = self._held or [], None
            self._tell()
            self._heard(held)

    def _tell(self) -> None:
        async def notify() -> None:
            async with self._reached:
                self._reached.notify_all()

        task = asyncio.create_task(notify())
        self._paging.add(task)
        task.add_done_callback(self._paging.discard)
