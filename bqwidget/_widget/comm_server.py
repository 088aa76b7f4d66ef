"""The kernel's side of a window's comm, without I/O: numbered envelopes to browsers, validated commands from them.

Jupyter delivers each comm message to every browser that shows the widget, may drop messages in a flood, and may
deliver commands late, twice or in another order. So envelopes are numbered (``n``), and a gap is repaired by a
snapshot; commands are numbered per browser (``k``), and executed once and in order; and no envelopes are sent while
all browsers lag behind.

To all browsers: ``{"n", "frames"}``. To one: ``{"to", "n", "snapshot"}``, ``{"to", "ack"}``, ``{"to", "reply", ...}``.
``chunked_transfer`` sends the replies to ``part`` and ``put``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from bqwidget._client.status import Status
from bqwidget.protocol import Ack, AppendFrame, Error, MessageFrame, spliced

from .commands import (
    AckCommand,
    Answer,
    InvalidCommand,
    OpenCommand,
    PingCommand,
    Query,
    Request,
    UploadCommand,
    parse_command,
)

FRAMES_PER_ENVELOPE = 500
MAX_UNSEEN_ENVELOPES = 40
"""With more envelopes that no browser has acknowledged, deltas stop until one acknowledges."""
MAX_EARLY_COMMANDS = 100
"""Commands of one browser that wait for an earlier one; more are dropped, and sent again by the browser."""
MAX_BROWSERS = 256
"""Browsers known per window; each page load is a new one, and the least recently active is dropped."""


class _Browser:
    """The state of one browser: the last command executed, early commands, the last envelope shown."""

    def __init__(self) -> None:
        self.last_done = 0
        self.early: dict[int, OpenCommand | PingCommand | Request | InvalidCommand] = {}
        self.seen: int | None = None


class CommServer:
    """The comm of one window. ``snapshot`` returns the frames that rebuild the newest messages.

    Not thread-safe: all methods run on the rooms' thread.
    """

    def __init__(self, snapshot: Callable[[], Sequence[Any]]) -> None:
        self._snapshot = snapshot
        self._n = 0
        self._frames: list[Any] = []
        self._browsers: OrderedDict[str, _Browser] = OrderedDict()
        self._opened: dict[str, None] = {}
        self._acks: dict[str, int] = {}
        self._replies: list[dict[str, Any]] = []
        self._paused = False
        self._status: Status | None = None

    def push(self, frames: Iterable[Any]) -> bool:
        """Queue frames for all browsers until the next ``drain``; False if nothing is queued.

        Pieces of a live message are joined. A status that differs in its count of drafts only is left out: browsers
        count their own.
        """
        for frame in frames:
            if isinstance(frame, Status):
                before, self._status = self._status, msgspec.structs.replace(frame, queued=0, now=0)
                if before == self._status:
                    continue
            if not (isinstance(frame, AppendFrame) and self._join(frame)):
                self._frames.append(frame)
        return bool(self._frames)

    def _join(self, piece: AppendFrame) -> bool:
        """Join ``piece`` with the one before it of the same message, if only pieces are queued after that."""
        for at in range(len(self._frames) - 1, -1, -1):
            before = self._frames[at]
            if not isinstance(before, AppendFrame):
                return False
            if before.target == piece.target:
                joined = _joined(before, piece)
                if joined is not None:
                    self._frames[at] = joined
                return joined is not None
        return False

    def reply(self, command: Query | InvalidCommand, answer: Answer | Error) -> None:
        """Queue the reply to a query until the next ``drain``."""
        envelope: dict[str, Any] = {"to": command.client, "reply": command.k}
        match answer:
            case Error():
                envelope["error"] = {"code": answer.code, "message": answer.message}
            case str():
                envelope["url"] = answer
            case dict():
                envelope["moderation"] = answer
            case _:
                envelope["messages"] = msgspec.to_builtins(list(answer))
        self._replies.append(envelope)

    def receive(self, content: object, data: bytes = b"") -> list[Request]:
        """Process a command from a browser; ``data`` is its buffer.

        Returns the commands to execute now, in the browser's order: usually one, but possibly none or several.
        """
        command = parse_command(content)
        if isinstance(command, UploadCommand):
            command = msgspec.structs.replace(command, data=data)
        if command is None:
            return []
        browser = self._browser(command.client)
        if isinstance(command, AckCommand):
            browser.seen = max(browser.seen or 0, min(command.n, self._n))
            if self._paused:
                self._opened[command.client] = None
            return []
        if browser.last_done < command.k <= browser.last_done + MAX_EARLY_COMMANDS:
            browser.early[command.k] = command
        todo: list[Request] = []
        while (due := browser.early.pop(browser.last_done + 1, None)) is not None:
            browser.last_done += 1
            match due:
                case OpenCommand():
                    self._opened[due.client] = None
                case PingCommand():
                    if self._paused:  # the envelopes that it would acknowledge may be lost
                        self._opened[due.client] = None
                case InvalidCommand(do="history" | "search" | "link" | "moderate" | "part" | "put"):
                    self.reply(due, due.error)
                case InvalidCommand():
                    self._frames.append(due.error)
                case _:
                    todo.append(due)
        self._acks[command.client] = browser.last_done
        return todo

    def offer(self) -> dict[str, Any] | None:
        """A snapshot for any browser, or None if one has sent a command: then each asks for its own."""
        if self._browsers:
            return None
        return {"n": self._n, "snapshot": msgspec.to_builtins(list(self._snapshot()))}

    def drain(self) -> list[dict[str, Any]]:
        """The envelopes to send now, in order, as JSON types."""
        resuming = self._paused and bool(self._opened)
        self._paused = not resuming and (self._paused or self._is_behind())
        if resuming or self._paused:  # a snapshot contains all but the answers to a browser's sends
            self._frames = [frame for frame in self._frames if _is_answer(frame)][-FRAMES_PER_ENVELOPE:]
        if resuming:
            self._n += 1  # skip a number, so that the other browsers notice a gap and open again
            out = [*self._snapshots(), self._delta(self._frames)]
            self._frames = []
        elif self._paused:
            out = []
        else:
            chunks = range(0, len(self._frames), FRAMES_PER_ENVELOPE)
            out = [self._delta(self._frames[start : start + FRAMES_PER_ENVELOPE]) for start in chunks]
            self._frames = []
            out += self._snapshots()
        out += [{"to": client, "ack": k} for client, k in self._acks.items()]
        out += self._replies
        self._acks, self._replies = {}, []
        return out

    def _delta(self, frames: Sequence[Any]) -> dict[str, Any]:
        """Without acknowledgements of messages that are in it: a browser knows its own by the cid."""
        self._n += 1
        cids = {frame.entry.cid for frame in frames if isinstance(frame, MessageFrame)}
        needed = [frame for frame in frames if not (isinstance(frame, Ack) and frame.cid in cids)]
        return {"n": self._n, "frames": msgspec.to_builtins(needed)}

    def _snapshots(self) -> list[dict[str, Any]]:
        frames = msgspec.to_builtins(list(self._snapshot())) if self._opened else []
        for client in self._opened:
            browser = self._browser(client)
            if browser.seen is not None:
                browser.seen = self._n
        envelopes = [{"to": client, "n": self._n, "snapshot": frames} for client in self._opened]
        self._opened = {}
        return envelopes

    def _is_behind(self) -> bool:
        """Whether even the fastest browser lags behind. The others may be closed, which sends no command."""
        seen = [browser.seen for browser in self._browsers.values() if browser.seen is not None]
        return bool(self._frames and seen) and self._n - max(seen) > MAX_UNSEEN_ENVELOPES

    def _browser(self, client: str) -> _Browser:
        browser = self._browsers.setdefault(client, _Browser())
        self._browsers.move_to_end(client)
        if len(self._browsers) > MAX_BROWSERS:
            self._browsers.popitem(last=False)
        return browser


def _joined(before: AppendFrame, piece: AppendFrame) -> AppendFrame | None:
    """One piece that has the effect of both, where they fit together."""
    progress = piece.progress or before.progress
    at = piece.offset - before.offset
    if 0 <= at <= len(before.text):
        text = before.text[:at] + piece.text if piece.replace else spliced(before.text, at, piece.text)
        return msgspec.structs.replace(before, text=text, progress=progress, replace=piece.replace or before.replace)
    return msgspec.structs.replace(piece, progress=progress) if at < 0 and piece.replace else None


def _is_answer(frame: object) -> bool:
    return isinstance(frame, Ack | Error) and frame.cid is not None
