"""Poll: a question in which every member has one vote, as it stands now."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from bqwidget._room.history import import_pandas
from bqwidget.errors import MessageRefused
from bqwidget.protocol import ChangeFrame, Message, Send, fold, is_open, printable, visible

from .asking import QuestionMixin

if TYPE_CHECKING:
    import pandas as pd


class Poll:
    """What ``room.poll`` returns. It is up to date whenever it is read, also after its end.

    Example: ``poll = room.poll("Which?", ["a", "b"], wait=False)``
    """

    def __init__(self, room: QuestionMixin, draft: Send, message: Message, deadline: float | None) -> None:
        """``deadline``: when it ends, by the monotonic clock; None: not by time."""
        self._room = room
        self._message = message
        self._ask_again = room._asks_again(draft)  # noqa: SLF001 - part of the room
        self._remove_listener = room._add_listener(self._on_frames)  # noqa: SLF001
        if deadline is not None:
            room._connection.call_later(max(0.0, deadline - time.monotonic()), self._expire)  # noqa: SLF001

    @property
    def message(self) -> Message:
        """The poll as a message, with ``votes``, as it reads now. Example: ``poll.message.seq``"""
        return self._room._connection.find(self._message.seq) or self._message  # noqa: SLF001

    @property
    def is_open(self) -> bool:
        """Whether votes still count. Example: ``while poll.is_open: ...``"""
        return is_open(self.message)

    @property
    def counts(self) -> dict[str, int]:
        """The choices with their numbers of votes, in the order in which they were given. Example: ``poll.counts["a"]``"""
        message = self.message
        choices = (message.ask and message.ask.choices) or ()
        return {choice: len(message.votes.get(choice, ())) for choice in choices}

    @property
    def votes(self) -> dict[str, str]:
        """The members who voted, with the choice of each. Example: ``poll.votes.get("bob")``"""
        return {user: choice for choice, users in self.message.votes.items() for user in users}

    def to_frame(self) -> pd.DataFrame:
        """The votes as a pandas DataFrame with the columns ``user`` and ``choice``, one row each.

        Raises BqwidgetError without pandas. Example: ``poll.to_frame().groupby("choice").size()``
        """
        frame: pd.DataFrame = import_pandas().DataFrame(self.votes.items(), columns=["user", "choice"])
        return frame

    def close(self) -> Self:
        """End it for everyone now, and return it. May be called again.

        Raises DeliveryTimeout, RoomClosed. Example: ``print(poll.close().counts)``
        """
        if self.is_open:
            try:
                self._room._deliver(self._room._expire_draft(self.message), None)  # noqa: SLF001
            except MessageRefused:
                if self.is_open:  # not ended by someone else meanwhile
                    raise
        return self

    async def aclose(self) -> Self:
        """``close`` for code that awaits. Example: ``await poll.aclose()``"""
        if self.is_open:
            try:
                await self._room._adeliver(self._room._expire_draft(self.message), None)  # noqa: SLF001
            except MessageRefused:
                if self.is_open:
                    raise
        return self

    def __repr__(self) -> str:
        counts = ", ".join(f"{printable(choice)}: {count}" for choice, count in self.counts.items())
        return f"Poll({printable(self._message.text)}, {{{counts}}}, {'open' if self.is_open else 'ended'})"

    def _repr_html_(self) -> str:
        counts = self.counts
        total = sum(counts.values())
        rows = "".join(map(partial(_row, total=total), counts.items()))
        state = f"{total} vote{'' if total == 1 else 's'}, {'open' if self.is_open else 'ended'}"
        return f"<p><b>{_escaped(self._message.text)}</b> ({state})</p><table>{rows}</table>"

    # ---- on the rooms' thread ----

    def _on_frames(self, frames: Sequence[Any]) -> None:
        """The room may keep fewer messages than come before the end: fold the changes here too."""
        for frame in frames:
            if isinstance(frame, ChangeFrame) and frame.entry.target == self._message.seq:
                self._message = fold(self._message, frame.entry)
        self._message = self.message
        if is_open(self._message):
            self._ask_again()
        else:
            self._remove_listener()

    def _expire(self) -> None:
        if self.is_open:
            self._room._submit(self._room._expire_draft(self._message), own=True)  # noqa: SLF001


def _row(counted: tuple[str, int], *, total: int) -> str:
    choice, count = counted
    share = round(100 * count / total) if total else 0
    return f'<tr><td dir="auto">{_escaped(choice)}</td><td>{count}</td><td>{share} %</td></tr>'


def _escaped(text: str) -> str:
    return html.escape(visible(text)).replace("\n", "<br>")
