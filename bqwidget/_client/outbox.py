"""Outbox: drafts on their way to the log, each under one cid until it is acknowledged or refused."""

from __future__ import annotations

from heapq import heappop, heappush

from bqwidget.protocol import Ack, Draft, Entry, Error

MAX_IN_FLIGHT = 64
"""Unacknowledged drafts at once: enough to fill the server's commits, few enough that a refusal stops the rest."""
RESEND_TIMEOUT = 10.0
"""Seconds after which an unanswered draft is sent again; its cid prevents a second entry."""


class Delivery(Ack, frozen=True):
    """The acknowledgement of a draft together with the entry that it became."""

    entry: Entry


class _QueuedDraft:
    __slots__ = ("ack", "draft", "number", "sent")

    def __init__(self, draft: Draft, number: int) -> None:
        self.draft = draft
        self.number = number
        self.sent: float | None = None
        self.ack: Ack | None = None


class Outbox:
    """Sends drafts in the order of their submission. Times are in seconds of the caller's clock.

    A draft ends once: by the entry with its cid, or by an error without ``retry_ms``. ``results`` collects these
    for the caller to take. After an error with ``retry_ms``, one draft is sent as a probe, and each delivery
    doubles the number that may be in flight, up to ``max_in_flight``. An acknowledged draft is never sent again,
    but its result waits for its entry, so that it is in the room's list when the caller gets the result.
    """

    def __init__(self) -> None:
        self.results: list[tuple[str, Delivery | Error]] = []
        self._items: dict[str, _QueuedDraft] = {}
        self._waiting: list[tuple[int, str]] = []
        self._in_flight: dict[str, _QueuedDraft] = {}
        self._acked: dict[str, _QueuedDraft] = {}
        self.max_in_flight = MAX_IN_FLIGHT
        self._window = MAX_IN_FLIGHT
        self._paused_until = 0.0
        self._count = 0

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, cid: str | None) -> bool:
        return cid in self._items

    def find(self, cid: str | None) -> Draft | None:
        item = self._items.get(cid) if cid is not None else None
        return item.draft if item is not None else None

    def put(self, draft: Draft) -> None:
        """Queue ``draft``, unless a draft with this cid is queued."""
        if draft.cid not in self._items:
            self._count += 1
            self._items[draft.cid] = item = _QueuedDraft(draft, self._count)
            heappush(self._waiting, (item.number, draft.cid))

    def take(self, now: float) -> list[Draft]:
        """The drafts to send now."""
        for item in list(self._in_flight.values()):
            if item.sent is None or item.sent + RESEND_TIMEOUT > now:
                break  # the rest was sent later
            self._requeue(item)
        if now < self._paused_until:
            return []
        drafts: list[Draft] = []
        while self._waiting and self._can_send():
            _, cid = heappop(self._waiting)
            waiting = self._items.get(cid)
            if waiting is None or waiting.ack is not None:
                continue
            waiting.sent = now
            self._in_flight[cid] = waiting
            drafts.append(waiting.draft)
        return drafts

    def next_send_at(self) -> float | None:
        """When ``take`` has drafts again without another event; None: only after an event."""
        if self._waiting and self._can_send():
            return self._paused_until
        first = next(iter(self._in_flight.values()), None)
        return None if first is None or first.sent is None else first.sent + RESEND_TIMEOUT

    def on_disconnect(self) -> None:
        """Queue the drafts in flight again, in their old order."""
        for item in list(self._in_flight.values()):
            self._requeue(item)

    def on_ack(self, ack: Ack) -> bool:
        """Record the acknowledgement; False if no draft has its cid."""
        item = self._items.get(ack.cid)
        if item is None:
            return False
        if item.ack is None:
            item.ack = ack
            self._in_flight.pop(ack.cid, None)
            self._acked[ack.cid] = item
        return True

    def acked_up_to(self, last: int) -> list[tuple[Draft, Ack]]:
        """The acknowledged drafts with a seq up to ``last`` whose entries have not been received as such."""
        return [(item.draft, item.ack) for item in self._acked.values() if item.ack and item.ack.seq <= last]

    def delivered(self, cid: str, entry: Entry) -> None:
        """The draft ``cid`` became ``entry``, whether its acknowledgement has arrived or not."""
        item = self._items.pop(cid)
        self._window = min(MAX_IN_FLIGHT, 2 * self._window)
        self._in_flight.pop(cid, None)
        self._acked.pop(cid, None)
        dup = item.ack.dup if item.ack else False
        self.results.append((cid, Delivery(cid=cid, seq=entry.seq, at=entry.at, dup=dup, entry=entry)))

    def on_error(self, error: Error, now: float) -> bool:
        """Retry the draft after ``retry_ms``, or end it if the error has none. False if no draft has its cid."""
        item = self._items.get(error.cid) if error.cid is not None else None
        if item is None:
            return False
        if item.ack is not None:
            return True  # it is in the log: an error about a second copy has no effect
        if error.retry_ms is not None:
            self._paused_until = max(self._paused_until, now + error.retry_ms / 1000)
            self._window = 1
            self._requeue(item)
        else:
            del self._items[item.draft.cid]
            self._in_flight.pop(item.draft.cid, None)
            self.results.append((item.draft.cid, error))
        return True

    def clear(self) -> list[str]:
        """Drop all drafts, and return their cids."""
        cids = list(self._items)
        self._items.clear()
        self._waiting.clear()
        self._in_flight.clear()
        self._acked.clear()
        return cids

    def _can_send(self) -> bool:
        return len(self._in_flight) < min(self._window, self.max_in_flight)

    def _requeue(self, item: _QueuedDraft) -> None:
        if self._in_flight.pop(item.draft.cid, None) is not None:
            item.sent = None
            heappush(self._waiting, (item.number, item.draft.cid))
