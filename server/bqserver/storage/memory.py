"""The in-memory log: nothing survives the process, and each room keeps only its newest entries."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from msgspec.structs import replace

from bqserver.model import Bounds, LiveRow, Outcome, References, RoomRow, RoomView, Stored, Submission
from bqwidget.protocol import Append, Delete, Edit, End, Send, SetStep, Vote

from .attachments import MemoryAttachments
from .interface import Listener, read_view
from .read_positions import MemoryReadPositions
from .redaction import decode_message
from .search_text import searchable
from .sequencer import IdempotencyKey, RoomHead, Target, sequence

MIN_ROOM_ENTRIES = 100_000
"""Entries that each room keeps; the oldest are removed when there is an eighth more."""
MAX_SEARCHED_AT_ONCE = 500
"""Messages, one or two milliseconds, after which a search lets the rest of the server run."""

_PINNED = re.compile(rb'"pinned":[1-9]')
_seq = attrgetter("seq")


@dataclass(slots=True)
class _RoomLog:
    head: RoomHead = field(default_factory=lambda: RoomHead(0, 0))
    entries: list[Stored] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    targets: dict[int, Target] = field(default_factory=dict)
    cids: dict[tuple[str, str], int] = field(default_factory=dict)
    texts: dict[int, set[int]] = field(default_factory=dict)
    """By message: the seqs of the changes that have a text of it."""
    live: dict[int, str] = field(default_factory=dict)
    """The live messages, and ``Submission.author`` of each."""
    additions: dict[int, list[int]] = field(default_factory=dict)
    """By message: the seqs of its ADDITIONS."""
    pinned: set[int] = field(default_factory=set)
    references: Counter[str] = field(default_factory=Counter)
    """By attachment: how many messages reference it."""

    def index(self, seq: int) -> int:
        """The position of the entry ``seq``, or of the first after it."""
        return bisect_left(self.entries, seq, key=_seq)


class MemoryLog:
    """MessageLog in memory: ``append`` returns a completed future."""

    def __init__(self, *, min_entries: int = MIN_ROOM_ENTRIES) -> None:
        self.epoch = secrets.token_hex(8)
        self.attachments = MemoryAttachments()
        self.read_positions = MemoryReadPositions()
        self._min_entries = min_entries
        self._rooms: dict[str, _RoomLog] = {}
        self._listeners: list[Listener] = []

    def append(self, batch: Sequence[Submission]) -> asyncio.Future[list[Outcome]]:
        plan = sequence(batch, self, int(time.time() * 1000))
        for row in plan.rows:
            entry, submission = row.entry, row.submission
            log = self._rooms[entry.room]
            log.entries.append(entry)
            if not entry.change:
                log.messages.append(entry.seq)
                log.targets[entry.seq] = Target(submission.principal, entry.body)
            if submission.draft.cid:
                log.cids[submission.principal, submission.draft.cid] = entry.seq
            self._index(log, entry, submission)
        for (room, seq), body in plan.folded.items():
            log = self._rooms[room]
            targets = log.targets
            targets[seq] = replace(targets[seq], body=body)
            (log.pinned.add if _PINNED.search(body) else log.pinned.discard)(seq)
        for (room, seq), body in plan.redacted.items():
            self._redact(self._rooms[room], seq, body, plan.targets[room, seq])
        for (room, seq), parts in plan.emptied.items():
            self._rooms[room].additions.pop(seq, None)
            self._release(room, {part.sha256 for part in parts})
        for room in {row.entry.room for row in plan.rows}:
            if len(self._rooms[room].entries) > self._min_entries + self._min_entries // 8:
                self._trim(room)
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        done.set_result(plan.outcomes)
        if plan.rows:
            entries = [row.entry for row in plan.rows]
            for listener in self._listeners:
                listener(entries)
        return done

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def bounds(self, room: str, *, min_seq: int = 0) -> Bounds:
        del min_seq  # this log is never behind
        log = self._rooms.get(room)
        if log is None or not log.entries:
            return Bounds(0, 0)
        oldest = log.entries[0].seq
        return Bounds(oldest, log.entries[-1].seq, oldest - 1)

    async def count(self, room: str, *, after: int, upto: int, limit: int) -> int:
        entries = self._rooms[room].entries if room in self._rooms else []
        found = bisect_right(entries, upto, key=_seq) - bisect_right(entries, after, key=_seq)
        return min(max(0, found), limit)

    async def entries(self, room: str, *, after: int, upto: int, limit: int) -> list[Stored]:
        entries = self._rooms[room].entries if room in self._rooms else []
        start, stop = bisect_right(entries, after, key=_seq), bisect_right(entries, upto, key=_seq)
        return entries[start : min(stop, start + limit)]

    async def messages(
        self, room: str, *, limit: int, before: int | None = None, after: int | None = None, pinned: bool = False
    ) -> list[bytes]:
        if room not in self._rooms:
            return []
        log = self._rooms[room]
        seqs = sorted(log.pinned) if pinned else log.messages
        if after is not None:
            start = bisect_right(seqs, after)
            stop = start + limit if before is None else min(start + limit, bisect_left(seqs, before))
        else:
            stop = len(seqs) if before is None else bisect_left(seqs, before)
            start = max(0, stop - limit)
        return [log.targets[seq].body for seq in seqs[start:stop]]

    async def room_view(self, room: str, *, limit: int) -> RoomView:
        return await read_view(self, room, limit)

    async def search(self, room: str, words: str, *, limit: int) -> list[bytes]:
        wanted = [word for word in map(searchable, words.split()) if word]
        targets = self._rooms[room].targets if room in self._rooms else {}
        found: list[bytes] = []
        for number, body in enumerate([target.body for target in reversed(targets.values())]):
            if number % MAX_SEARCHED_AT_ONCE == MAX_SEARCHED_AT_ONCE - 1:
                await asyncio.sleep(0)
            message = decode_message(body)
            text = searchable(f"{message.user} {message.text}")
            if wanted and not message.deleted and not message.live and all(word in text for word in wanted):
                found.append(body)
                if len(found) == limit:
                    break
        return found[::-1]

    async def rooms(self) -> list[RoomRow]:
        return [RoomRow(name, log.head.seq) for name, log in sorted(self._rooms.items()) if log.entries]

    async def live_messages(self) -> list[LiveRow]:
        return [
            LiveRow(room, seq, author, log.targets[seq].body)
            for room, log in self._rooms.items()
            for seq, author in log.live.items()
        ]

    def healthy(self) -> bool:
        return True

    async def close(self) -> None:
        self._rooms.clear()
        await self.attachments.close()

    # ---- LogState

    def head(self, room: str) -> RoomHead:
        log = self._rooms.get(room)
        if log is None:
            log = self._rooms[room] = _RoomLog()
        return log.head

    def find_stored(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, Stored]:
        found = {}
        for key in keys:
            room, principal, cid = key
            log = self._rooms.get(room)
            if log is not None and (seq := log.cids.get((principal, cid))) is not None:
                found[key] = log.entries[log.index(seq)]
        return found

    def target(self, room: str, seq: int) -> Target | None:
        return self._rooms[room].targets.get(seq)

    def texts(self, room: str, seq: int) -> dict[int, bytes]:
        log = self._rooms[room]
        seqs = [seq, *sorted(log.texts.get(seq, ()))]
        return {one: log.entries[log.index(one)].body for one in seqs}

    def additions(self, room: str, seq: int) -> dict[int, bytes]:
        log = self._rooms[room]
        return {one: log.entries[log.index(one)].body for one in log.additions.get(seq, ())}

    def trimmed(self, room: str) -> int:
        del room
        return 0  # a draft that refers to a removed entry is rejected

    def _index(self, log: _RoomLog, entry: Stored, submission: Submission) -> None:
        """Note what ``entry`` references, and where the parts of a message are."""
        match submission.draft:
            case Send(parts=parts, live=live):
                if parts:
                    hashes = {part.sha256 for part in parts}
                    log.references.update(hashes)
                    self.attachments.settle(References(named=[(entry.room, sha256) for sha256 in hashes]))
                if live:
                    log.live[entry.seq] = submission.author or ""
            case Edit(target=target) | Append(target=target):
                log.texts.setdefault(target, set()).add(entry.seq)
            case Vote(target=target) | SetStep(target=target):
                log.additions.setdefault(target, []).append(entry.seq)
            case End(target=target, text=text):
                log.live.pop(target, None)
                if text is not None:
                    log.texts.setdefault(target, set()).add(entry.seq)
            case Delete(target=target):
                log.live.pop(target, None)

    def _redact(self, log: _RoomLog, seq: int, body: bytes, target: int) -> None:
        log.texts.get(target, set()).discard(seq)
        index = log.index(seq)
        log.entries[index] = replace(log.entries[index], body=body)

    def _release(self, room: str, hashes: Iterable[str]) -> None:
        """One message less references these attachments."""
        references = self._rooms[room].references
        references.subtract(hashes)
        freed = [(room, sha256) for sha256 in hashes if references[sha256] <= 0]
        self.attachments.settle(References(freed=freed))

    def _trim(self, room: str) -> None:
        log = self._rooms[room]
        removed, log.entries = log.entries[: -self._min_entries], log.entries[-self._min_entries :]
        last = removed[-1].seq
        count = bisect_right(log.messages, last)
        for seq in log.messages[:count]:
            body = log.targets.pop(seq).body
            log.texts.pop(seq, None)
            log.live.pop(seq, None)
            log.additions.pop(seq, None)
            log.pinned.discard(seq)
            if b'"parts":' in body:
                self._release(room, {part.sha256 for part in decode_message(body).parts})
        log.messages = log.messages[count:]
        log.cids = {key: seq for key, seq in log.cids.items() if seq > last}
