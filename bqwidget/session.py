"""Session: one member's view of a room as a pure state machine: frames in, state and frames out.

It performs no I/O and reads no clock. Its driver passes ``now`` (seconds of a monotonic clock) and the frames
that arrive, sends what ``outgoing`` returns, fetches ``wanted_page``, and calls again at ``next_send_at``. The rule
that keeps the list complete (DESIGN 3): an entry at or below ``last_seq`` is a copy; an entry whose ``prev`` is at
or below ``last_seq`` is next; anything else means that entries are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from msgspec.structs import replace

from bqwidget._client.backoff import Backoff
from bqwidget._client.live.drafts import LiveDrafts
from bqwidget._client.message_list import PAGE_SIZE, MessageList, PageRequest
from bqwidget._client.outbox import MAX_IN_FLIGHT, Outbox
from bqwidget._client.status import State

from .protocol import (
    Ack,
    AppendFrame,
    Change,
    ChangeFrame,
    ClientFrame,
    Entry,
    Error,
    Gap,
    Hello,
    Limits,
    Member,
    Message,
    MessageFrame,
    Presence,
    ReadFrame,
    Resume,
    ServerFrame,
    StopFrame,
    Synced,
    to_entry,
)

MAX_HELD_FRAMES = 10_000
"""Live frames held while a page is fetched; more are dropped, and requested again afterwards."""
RESUME_INTERVAL = 1.0
"""Seconds before the same ``chat.resume`` is sent again."""


class Session:
    """``receive`` and ``receive_page`` return the frames that were accepted, in the order of the log."""

    def __init__(self, room: str, *, keep: int, random: Callable[[], float]) -> None:
        self.room = room
        self.messages = MessageList(keep)
        self.outbox = Outbox()
        self.live_drafts = LiveDrafts()
        self.hello: Hello | None = None
        self.limits = Limits()
        self.members: tuple[Member, ...] = ()
        self.last_seq = 0
        """The cursor: every entry up to this seq has been processed."""
        self.joined_seq: int | None = None
        """The cursor at which the list was loaded; entries above it are newer than the join."""
        self.wanted_page: PageRequest | None = None
        self.state: State = "connecting"
        self.attempts = 0
        """Joins attempted since the room was last open."""
        self._backoff = Backoff(random)
        self._hello_at = 0.0
        self._joined = False
        self._control: list[ClientFrame] = []
        self._held_frames: list[ServerFrame] = []
        self._loaded_pages: list[Sequence[Message]] = []
        self._gap_end = 0
        self._last_resume = (-1, 0.0)

    # ---- joining and losing the connection ----

    def is_from(self, entry: Entry, user: str) -> bool:
        """Whether ``user``, or this member's verified name, wrote ``entry``. Others may reuse its cids."""
        return entry.user == user or (self.hello is not None and entry.user == self.hello.user)

    def server_time_ms(self, now: float, own: int) -> int:
        """The server's clock in milliseconds since the epoch, or ``own``, the local clock, before it is known."""
        if self.hello is None or self.hello.now is None:
            return own
        return self.hello.now + int((now - self._hello_at) * 1000)

    def resume_query(self) -> dict[str, str]:
        """Query parameters of the next join: where to resume; empty for the first join."""
        return {"after": str(self.last_seq), "epoch": self.hello.epoch} if self.hello else {}

    def on_disconnect(self, now: float, retry_ms: int | None = None) -> float:
        """The connection, or an attempt, has ended. Returns the seconds to wait before the next."""
        self.attempts += 1
        self._joined = False
        self._held_frames.clear()
        self._control.clear()
        if self.wanted_page is not None and self.wanted_page.kind == "log":
            self.wanted_page = None  # the next join resumes from ``last_seq``
        self.members = ()
        self.outbox.on_disconnect()
        if self.state == "open":
            self.state = "reconnecting"
        return (retry_ms or 0) / 1000 + self._backoff.on_disconnect(now)

    def close(self) -> list[str]:
        """Close permanently. Returns the cids of the drafts that will not be delivered."""
        self.state, self.wanted_page, self.members = "closed", None, ()
        self.live_drafts.clear()
        return self.outbox.clear()

    def receive(self, frames: Iterable[ServerFrame], now: float) -> list[ServerFrame]:
        """Process frames of the server. Returns those that are new, in order; ``now``: seconds of the caller's clock."""
        accepted: list[ServerFrame] = []
        for frame in frames:
            self._receive_frame(frame, now, accepted)
        self._settle()
        return accepted

    def receive_page(self, page: PageRequest, entries: Sequence[Entry], now: float) -> list[ServerFrame]:
        """Process the answer to ``wanted_page``; an answer to an earlier request is ignored."""
        accepted: list[ServerFrame] = []
        if page is not self.wanted_page:
            return accepted
        if page.kind == "messages":
            self._load_messages(page, [entry for entry in entries if isinstance(entry, Message)], accepted)
        else:
            self._fill_gap(page, entries, accepted)
        if self.wanted_page is None:
            held, self._held_frames = self._held_frames, []
            for frame in held:
                self._receive_frame(frame, now, accepted)
        self._settle()
        return accepted

    def _receive_frame(self, frame: ServerFrame, now: float, accepted: list[ServerFrame]) -> None:
        match frame:
            case MessageFrame() | ChangeFrame() | AppendFrame() | Gap() | Synced() if not self._joined:
                pass  # ignored before hello
            case MessageFrame() | ChangeFrame() | AppendFrame() | Gap() | Synced() if self.wanted_page is not None:
                if len(self._held_frames) < MAX_HELD_FRAMES:
                    self._held_frames.append(frame)
            case MessageFrame() | ChangeFrame():
                entry = frame.entry
                if entry.seq <= self.last_seq:
                    return
                if (frame.prev is not None and frame.prev > self.last_seq) or self.messages.lacks(entry):
                    self._resume(now)
                    return
                self._accept(frame, accepted)
            case AppendFrame():
                if self.messages.grow(frame) is not None:
                    accepted.append(frame)
            case StopFrame():
                self.live_drafts.on_frame(frame, self.outbox)
                accepted.append(frame)
            case Synced():
                if frame.seq > self.last_seq:
                    self._resume(now)
                elif self.state != "open":
                    self.state = "open"
                    self.attempts = 0
            case Gap():
                if frame.reason == "epoch":
                    self._reload(frame.to)
                elif frame.to > self.last_seq:
                    self._gap_end = frame.to
                    self.wanted_page = PageRequest("log", self.last_seq)
            case Hello():
                self._on_hello(frame, now)
            case Ack():
                if self.outbox.on_ack(frame):
                    accepted.append(frame)
            case Error():
                self.outbox.on_error(frame, now)
                self.live_drafts.on_frame(frame, self.outbox)
                if frame.cid is not None or frame.target is None:  # else it is about a piece, which is sent again
                    accepted.append(frame)
            case Presence():
                self.members = frame.after(self.members)
                accepted.append(frame)
            case ReadFrame() if self.hello is not None:
                self.hello = replace(self.hello, read=max(frame.seq, self.hello.read or 0))
                accepted.append(frame)

    def _on_hello(self, hello: Hello, now: float) -> None:
        known, self.hello = self.hello, hello
        self.limits = hello.limits
        # Half of the allowed rate, so that a burst above it is refused only a few times.
        rate = hello.limits.rate
        self.outbox.max_in_flight = max(1, min(MAX_IN_FLIGHT, rate // 2)) if rate else MAX_IN_FLIGHT
        self._backoff.on_open(now)
        self._hello_at, self._joined = now, True
        self.live_drafts.on_hello(self.messages)
        self._last_resume = (-1, 0.0)
        if known is None or known.epoch != hello.epoch:
            self._reload(hello.seq)

    def _accept(self, frame: MessageFrame | ChangeFrame, accepted: list[ServerFrame]) -> None:
        entry = frame.entry
        self.last_seq = entry.seq
        if isinstance(entry, Message):
            self.messages.append(entry)
        else:
            frame = self._fold(ChangeFrame(entry=entry, prev=frame.prev))
            if entry.pin and self.hello is not None:
                self.hello = replace(self.hello, pins=True)
        draft = self.outbox.find(entry.cid)
        if draft is not None and self.is_from(entry, draft.user):
            self.outbox.delivered(draft.cid, entry)
        accepted.append(frame)

    def _fold(self, frame: ChangeFrame) -> ChangeFrame:
        """Fold a change, and return it as windows need it: an end that drops unsaved text has the text."""
        entry = frame.entry
        before, after = self.messages.find(entry.target), self.messages.fold(entry)
        self.live_drafts.on_frame(frame, self.outbox)
        if entry.kind == "end" and before is not None and after is not None and after.text != before.text:
            return ChangeFrame(entry=replace(entry, text=after.text), prev=frame.prev)
        return frame

    def _resume(self, now: float) -> None:
        """Request the missing entries, unless the same request was sent less than RESUME_INTERVAL ago."""
        seq, when = self._last_resume
        if self.hello is not None and (seq != self.last_seq or now - when >= RESUME_INTERVAL):
            self._last_resume = (self.last_seq, now)
            self._control.append(Resume(after=self.last_seq, epoch=self.hello.epoch))

    # ---- pages in ----

    def _reload(self, seq: int) -> None:
        """Reload the list: pages from ``seq`` backwards; live frames are held meanwhile."""
        self.last_seq = seq
        self._loaded_pages.clear()
        self._held_frames.clear()
        self.wanted_page = PageRequest("messages", seq + 1, min(PAGE_SIZE, self.messages.keep))

    def _load_messages(self, page: PageRequest, messages: list[Message], accepted: list[ServerFrame]) -> None:
        self._loaded_pages.append(messages)
        have = sum(map(len, self._loaded_pages))
        if len(messages) == page.limit and have < self.messages.keep:
            self.wanted_page = PageRequest("messages", messages[0].seq, min(PAGE_SIZE, self.messages.keep - have))
            return
        self.wanted_page = None
        older = list(chain.from_iterable(reversed(self._loaded_pages)))
        self._loaded_pages.clear()
        self.messages.load(older, gapless_after=older[0].seq - 1 if have >= self.messages.keep else 0)
        self.joined_seq = self.last_seq
        if self.hello is not None:
            accepted.append(self.hello)

    def _fill_gap(self, page: PageRequest, entries: Sequence[Entry], accepted: list[ServerFrame]) -> None:
        for entry in entries:
            if entry.seq > self.last_seq:
                frame = ChangeFrame(entry=entry) if isinstance(entry, Change) else MessageFrame(entry=entry)
                self._accept(frame, accepted)
        if self.last_seq < self._gap_end and len(entries) == page.limit:
            self.wanted_page = PageRequest("log", self.last_seq)
        else:
            self.last_seq = max(self.last_seq, self._gap_end)
            self.wanted_page = None

    # ---- frames out ----

    def outgoing(self, now: float) -> list[ClientFrame]:
        """The frames to send now; none before the server's hello."""
        if not self._joined:
            return []
        control, self._control = self._control, []
        return [*control, *self.live_drafts.take(now, self.outbox), *self.outbox.take(now)]

    def next_send_at(self) -> float | None:
        """When ``outgoing`` has drafts again without another event, or None."""
        if not self._joined:
            return None
        dues = (self.outbox.next_send_at(), self.live_drafts.next_send_at())
        return min((due for due in dues if due is not None), default=None)

    def snapshot(self, limit: int, server_time: int) -> list[ServerFrame]:
        """Frames from which a view can build the newest ``limit`` messages. ``server_time``: of now, in milliseconds."""
        if self.hello is None or (self.wanted_page is not None and self.wanted_page.kind == "messages"):
            return []  # the hello that follows the loaded list makes the view ask again
        oldest = self.hello.oldest
        if oldest == 0 and self.messages.gapless_after == 0:  # the room was empty, and all since then is in the list
            oldest = next((message.seq for message in self.messages.after(0)), 0)
        hello = replace(self.hello, now=server_time, oldest=oldest)
        messages = [MessageFrame(entry=message) for message in self.messages.newest(limit)]
        return [hello, Presence(members=self.members), *messages, Synced(seq=self.last_seq)]

    def _settle(self) -> None:
        """Deliver acknowledged drafts whose entries were part of a folded page, and what the live drafts wait for."""
        for draft, ack in self.outbox.acked_up_to(self.last_seq):
            self.outbox.delivered(
                draft.cid, self.messages.find(ack.seq) or to_entry(draft, room=self.room, seq=ack.seq, at=ack.at)
            )
        self.live_drafts.settle(self.outbox)
