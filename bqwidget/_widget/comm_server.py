"""The kernel's end of a window's comm, without the comm: numbered envelopes out, checked commands in; no I/O.

Jupyter gives every comm message to every browser that shows the widget, may drop some in a flood, and delivers
commands late, twice or in another order. So what goes out is numbered (``n``) and repaired by a snapshot, what
comes in is numbered per browser (``k``) and done once and in order, and who falls behind is not drowned.

Out: ``{"n", "frames"}`` to all; ``{"to", "n", "snapshot"}``, ``{"to", "ack"}`` and ``{"to", "reply", ...}`` to one.
The answers to ``part`` and ``put`` are ``carrying``'s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import msgspec

from bqwidget.protocol import Ack, Delete, Edit, Error, Message, React, Send, Struct, Typing

FRAMES_PER_ENVELOPE = 500
MAX_UNSEEN_ENVELOPES = 40
"""Above this many envelopes that no browser has seen, the deltas stop until one says something."""
MAX_EARLY_COMMANDS = 100
"""Commands of one browser that wait for an earlier one; later ones are dropped, and sent again by the browser."""
MAX_BROWSERS = 256
"""Browsers remembered per window; a page load is a new one, and the longest silent is forgotten."""

_Client = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Number = Annotated[int, msgspec.Meta(ge=1)]


class OpenCommand(Struct, frozen=True, tag_field="do", tag="open"):
    """Send a snapshot: the first command of a browser, and again when it misses something."""

    client: _Client
    k: _Number


class FrameCommand(Struct, frozen=True, tag_field="do", tag="frame"):
    """Pass a client frame on to the room."""

    client: _Client
    k: _Number
    frame: Send | Edit | Delete | React | Typing


class HistoryCommand(Struct, frozen=True, tag_field="do", tag="history"):
    """Answer with the ``limit`` messages before ``before`` (None: the newest)."""

    client: _Client
    k: _Number
    before: int | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class DownloadCommand(Struct, frozen=True, tag_field="do", tag="part"):
    """Answer with the attachment's bytes from ``at`` on: as many as go at once, in a buffer."""

    client: _Client
    k: _Number
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    at: Annotated[int, msgspec.Meta(ge=0)] = 0


class UploadCommand(Struct, frozen=True, tag_field="do", tag="put"):
    """Keep this piece of an attachment, which came in a buffer; with the last, upload it and answer with the part."""

    client: _Client
    k: _Number
    upload: _Client
    mime: Annotated[str, msgspec.Meta(max_length=100)]
    size: _Number
    at: Annotated[int, msgspec.Meta(ge=0)] = 0
    data: bytes = b""


class AckCommand(Struct, frozen=True, tag_field="do", tag="seen"):
    """This browser has shown everything up to envelope ``n``."""

    client: _Client
    n: Annotated[int, msgspec.Meta(ge=0)]


class _CommandHeader(Struct, frozen=True):
    """What a command that is wrong otherwise must at least have, to be told so."""

    client: _Client
    k: _Number
    do: str = ""
    frame: Any = None


class _InvalidCommand(Struct, frozen=True):
    client: str
    k: int
    do: str
    error: Error


class _Browser:
    """What is known of one browser: commands done, commands that came too early, the newest envelope seen."""

    def __init__(self) -> None:
        self.last_done = 0
        self.early: dict[
            int,
            OpenCommand | FrameCommand | HistoryCommand | DownloadCommand | UploadCommand | _InvalidCommand,
        ] = {}
        self.seen: int | None = None


class CommServer:
    """One window's numbering. ``snapshot`` gives the frames that rebuild the room's tail, as of now.

    Not thread-safe: everything is called on the room's thread.
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

    def push(self, frames: Iterable[Any]) -> None:
        """Frames for everybody, to leave with the next ``drain``."""
        self._frames.extend(frames)

    def reply(self, command: HistoryCommand | _InvalidCommand, answer: Sequence[Message] | Error) -> None:
        """The answer to a history command, to leave with the next ``drain``."""
        envelope: dict[str, Any] = {"to": command.client, "reply": command.k}
        if isinstance(answer, Error):
            envelope["error"] = {"code": answer.code, "message": answer.message}
        else:
            envelope["messages"] = msgspec.to_builtins(list(answer))
        self._replies.append(envelope)

    def receive(
        self, content: object, data: bytes = b""
    ) -> list[FrameCommand | HistoryCommand | DownloadCommand | UploadCommand]:
        """What is to be done for a browser now, in its order: usually one command, none, or several.

        ``data`` came beside the content.
        """
        command = _parse(content)
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
        todo = []
        while (due := browser.early.pop(browser.last_done + 1, None)) is not None:
            browser.last_done += 1
            match due:
                case OpenCommand():
                    self._opened[due.client] = None
                case _InvalidCommand(do="history" | "part" | "put"):
                    self.reply(due, due.error)
                case _InvalidCommand():
                    self._frames.append(due.error)
                case _:
                    todo.append(due)
        self._acks[command.client] = browser.last_done
        return todo

    def drain(self) -> list[dict[str, Any]]:
        """The envelopes to send now, in order, as what JSON can say."""
        resuming = self._paused and bool(self._opened)
        self._paused = not resuming and (self._paused or self._is_behind())
        if resuming or self._paused:  # a snapshot has all but the answers to what a browser sent
            self._frames = [frame for frame in self._frames if _is_answer(frame)][-FRAMES_PER_ENVELOPE:]
        if resuming:
            self._n += 1  # a number that nobody gets, so that the other browsers notice, and open again
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
        self._n += 1
        return {"n": self._n, "frames": msgspec.to_builtins(frames)}

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
        """Whether even the quickest browser has a lot before it; it is the quickest that counts, for a closed one
        says nothing either."""
        seen = [browser.seen for browser in self._browsers.values() if browser.seen is not None]
        return bool(self._frames and seen) and self._n - max(seen) > MAX_UNSEEN_ENVELOPES

    def _browser(self, client: str) -> _Browser:
        browser = self._browsers.setdefault(client, _Browser())
        self._browsers.move_to_end(client)
        if len(self._browsers) > MAX_BROWSERS:
            self._browsers.popitem(last=False)
        return browser


def _parse(
    content: object,
) -> (
    OpenCommand
    | FrameCommand
    | HistoryCommand
    | DownloadCommand
    | UploadCommand
    | AckCommand
    | _InvalidCommand
    | None
):
    """The command; what was wrong with it, if that can be told to a browser; None where it can't."""
    try:
        return msgspec.convert(
            content,
            OpenCommand | FrameCommand | HistoryCommand | DownloadCommand | UploadCommand | AckCommand,
        )
    except msgspec.ValidationError as error:
        wrong = str(error)
    try:
        told = msgspec.convert(content, _CommandHeader)
    except msgspec.ValidationError:
        return None
    cid = told.frame.get("cid") if isinstance(told.frame, dict) else None
    answer = Error(code="bad_field", message=wrong, cid=cid if isinstance(cid, str) else None)
    return _InvalidCommand(client=told.client, k=told.k, do=told.do, error=answer)


def _is_answer(frame: object) -> bool:
    return isinstance(frame, Ack | Error) and frame.cid is not None
