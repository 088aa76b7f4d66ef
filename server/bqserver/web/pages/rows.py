"""The rows of a room's page as the view draws them, so that nothing moves when it takes them over (js/src/view/messages)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from bqwidget.protocol import Message

GROUP_INTERVAL_MS = 5 * 60_000
"""Messages of one author within this time of each other are under one name."""
HUES = 10
_OF_PROGRAM = re.compile(r"[^.]+\.[0-9a-f]{20}")
_WORDS = re.compile(r"[\s._-]+")


class MessageRow(NamedTuple):
    """A message, and what its row shows. ``day``: for the divider above it. ``program``: "kernel" or "agent"."""

    message: Message
    quoted: Message | None
    day: str
    mine: bool
    program: str
    starts_group: bool
    ends_group: bool
    timed: bool

    @property
    def classes(self) -> str:
        shown = {"own": self.mine, "first": self.starts_group, "last": self.ends_group, "untimed": not self.timed}
        return "bq-row" + "".join([f" bq-{name}" for name, given in shown.items() if given])

    @property
    def hue(self) -> int:
        number = 0
        for character in self.message.user:
            number = (number * 31 + ord(character)) & 0xFFFFFFFF
        return number % HUES

    @property
    def initials(self) -> str:
        words = [word for word in _WORDS.split(self.message.user) if word]
        ends = words if len(words) < 2 else [words[0], words[-1]]  # noqa: PLR2004 - the first and the last
        return "".join([word[0].upper() for word in ends])

    @property
    def when(self) -> str:
        return datetime.fromtimestamp(self.message.at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rows_of(messages: Sequence[Message], user: str | None, *, complete: bool) -> list[MessageRow]:
    """The rows of ``messages``, oldest first. ``user``: the reader's verified name. ``complete``: none is before them."""
    by_seq = {message.seq: message for message in messages}
    neighbours = zip([None, *messages], messages, [*messages[1:], None], strict=False)
    return [_row(*each, user, by_seq, complete=complete) for each in neighbours]


def _row(
    before: Message | None,
    message: Message,
    after: Message | None,
    user: str | None,
    by_seq: dict[int, Message],
    *,
    complete: bool,
) -> MessageRow:
    ends = not _is_same_group(message, after)
    new_day = before is None or _day(before) != _day(message)
    program = _program(message)
    return MessageRow(
        message,
        by_seq.get(message.re or 0),
        _day(message) if new_day and (before is not None or complete) else "",
        mine=message.verified and message.user == user and not program,
        program=program,
        starts_group=not _is_same_group(before, message),
        ends_group=ends,
        timed=ends or after is None or _interval(message) != _interval(after),
    )


def _is_same_group(a: Message | None, b: Message | None) -> bool:
    if a is None or b is None or b.at - a.at >= GROUP_INTERVAL_MS:
        return False
    return all(part(a) == part(b) for part in (lambda each: (each.user, each.verified), _program, _day))


def _program(message: Message) -> str:
    if message.author_kind == "agent":
        return "agent"
    return "kernel" if _OF_PROGRAM.fullmatch(message.cid or "") else ""


def _day(message: Message) -> str:
    return datetime.fromtimestamp(message.at / 1000, UTC).strftime("%Y-%m-%d")


def _interval(message: Message) -> int:
    return message.at // GROUP_INTERVAL_MS
