"""MessageList: the newest messages of a room, oldest first, with every change folded in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NoReturn

from bqwidget.protocol import Change, Message, answered, fold

PAGE_SIZE = 200
"""Entries in one page: the most that the HTTP API returns."""

_seq = attrgetter("seq")


@dataclass(frozen=True, slots=True, eq=False)
class PageRequest:
    """A page to fetch: the last ``limit`` messages below ``seq``, or the first ``limit`` entries above it.

    ``messages`` are folded (``GET /rooms/{room}/messages``), ``log`` are entries (``GET /rooms/{room}/log``).
    """

    kind: Literal["messages", "log"]
    seq: int
    limit: int = PAGE_SIZE


class MessageList:
    """At most ``keep`` messages; the cost of an append does not depend on ``keep``.

    Removed messages stay in the list, before ``_start``, until they are half of it, and are then deleted at once.
    So an append is one ``list.append``, a change is found by bisection, and a snapshot is one slice.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.gapless_after = 0
        """Every message of the log above this seq, up to the session's ``last_seq``, is in the list."""
        self._items: list[Message] = []
        self._start = 0

    def __len__(self) -> int:
        return len(self._items) - self._start

    def append(self, message: Message) -> None:
        """Add the newest message, whose seq must be the highest. An answer marks its question as answered."""
        items = self._items
        if message.re is not None and (at := self._index(message.re)) is not None:
            items[at] = answered(items[at], message)
        items.append(message)
        if len(items) - self._start > self.keep:
            self.gapless_after = items[self._start].seq
            self._start += 1
            if self._start > self.keep:
                del items[: self._start]
                self._start = 0

    def fold(self, change: Change) -> Message | None:
        """The message after ``change``; None if it is not in the list."""
        at = self._index(change.target)
        if at is None:
            return None
        self._items[at] = folded = fold(self._items[at], change)
        return folded

    def find(self, seq: int) -> Message | None:
        at = self._index(seq)
        return None if at is None else self._items[at]

    def load(self, messages: Iterable[Message], *, gapless_after: int) -> None:
        """Replace the list by ``messages`` (ascending), which are complete above the seq ``gapless_after``."""
        self._items, self._start = [], 0
        self.gapless_after = gapless_after
        for message in messages:
            self.append(message)

    def snapshot(self) -> MessageSnapshot:
        return MessageSnapshot(self._items[self._start :])

    def newest(self, limit: int) -> list[Message]:
        return self._items[max(self._start, len(self._items) - limit) :]

    def after(self, seq: int) -> list[Message]:
        """The messages in the list above ``seq``: complete if ``seq >= gapless_after``."""
        return self._items[bisect_right(self._items, seq, lo=self._start, key=_seq) :]

    def _index(self, seq: int) -> int | None:
        at = bisect_left(self._items, seq, lo=self._start, key=_seq)
        return at if at < len(self._items) and self._items[at].seq == seq else None


class MessageSnapshot(list[Message]):
    """A read-only list: appending to it would not send anything."""

    def _read_only(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("room.messages is a read-only snapshot: room.send(text) adds a message to the room")

    append = extend = insert = remove = pop = clear = sort = reverse = _read_only
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _read_only
