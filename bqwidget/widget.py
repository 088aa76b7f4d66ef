"""ChatWidget: a Room's window in a notebook: the comm on one side, the rooms' thread on the other.

Comm handlers, which Jupyter may run on any thread, only queue work for the rooms' thread; the widget's state is used
on that thread only. No part of the conversation is a synced trait, so neither the token nor messages are saved in the
notebook file.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from bqwidget._room.observable import Observable
from bqwidget._threads.cell_registry import replace_previous
from bqwidget._threads.cells import ipython_shell
from bqwidget._threads.weak import weak
from bqwidget._widget.chunked_transfer import ChunkedTransfer
from bqwidget._widget.comm_server import CommServer
from bqwidget._widget.commands import (
    Answer,
    DownloadCommand,
    FrameCommand,
    HistoryCommand,
    LinkCommand,
    ModerateCommand,
    Query,
    SearchCommand,
    UploadCommand,
)
from bqwidget._widget.queries import query

from .errors import BqwidgetError
from .protocol import Error, Read, Stop, Typing
from .room import Room

FLUSH_INTERVAL = 0.02
"""Seconds between two flushes under load. Frames are batched because Jupyter silently drops floods of comm messages."""
FRAME_INTERVAL = 0.0005
"""Seconds that each frame of a flush adds: a flood comes in fewer envelopes, each of which costs a busy cell about 1 ms."""
MAX_FLUSH_INTERVAL = 0.05
MAX_FLUSH_BURST = 4
"""Flushes that need not wait: a message and its acknowledgement, status and presence, in a calm room."""
OFFER_DELAYS = (0.3, 0.6, 1.2, 2.4, 5.0, 10.0, 20.0)
"""Seconds after which a new window is sent its code and a snapshot unasked, while it has not asked: in marimo, and in a
kernel before ipykernel 7.4, the next cell may block what it asks. A page that is slow to load misses the first ones."""
OPENING = ("code", "open")
"""The commands that open a window."""
SNAPSHOT_LIMIT = 200
"""Messages in a snapshot; the view requests older ones when they are scrolled to."""
STATIC_FOLDER = Path(__file__).parent / "static"

try:
    _LOADER, *_CODE = [(STATIC_FOLDER / name).read_bytes() for name in ("loader.js", "widget.js", "widget.css")]
    _PROGRAMS = {name: (STATIC_FOLDER / f"{name}.js").read_bytes() for name in ("worker", "math")}
except FileNotFoundError as error:
    raise BqwidgetError(
        f"the window's bundle {error.filename} is missing: reinstall bqwidget,"
        " or in a checkout run `npm ci && npm run build` in js/"
    ) from None
_CODE_VERSION = hashlib.sha256(b"".join([*_CODE, *_PROGRAMS.values()])).hexdigest()[:16]


class ChatWidget(Observable, anywidget.AnyWidget):
    """The window of ``room``: a Room, or the name of a room, for which ``Room(name, **options)`` is created.

    ``layout``: as of any widget. ``.room`` is the Room. It has the live traits of the Room, such as ``messages``, which
    can be observed and linked, but are neither saved nor sent to browsers. A window that created its Room also closes it. Raises
    TypeError for options together with a Room, and the errors of ``Room``. Example::

        ChatWidget("lobby", user="ada")
    """

    # A text, not a path: with a path, anywidget keeps every widget alive that was created with it. It is saved with
    # every window, so it is small, and requests the rest.
    _esm = _LOADER.decode()
    _version = traitlets.Unicode(_CODE_VERSION).tag(sync=True)
    layout: Any
    room_name = traitlets.Unicode().tag(sync=True)
    user = traitlets.Unicode().tag(sync=True)
    _kernel_id = traitlets.Unicode().tag(sync=True)
    """Marks the cids of this kernel: the window shows what its code said as the reader's own."""

    def __init__(self, room: Room | str, *, layout: Any = None, **options: Any) -> None:
        if isinstance(room, Room) and options:
            raise TypeError(f"{', '.join(options)}: the Room exists already; pass options to Room(...)")
        self._owns_room, self._owns_layout = not isinstance(room, Room), layout is None
        self.room = room = room if isinstance(room, Room) else Room(room, **options)
        self._comm_server = CommServer(lambda: room._snapshot_frames(SNAPSHOT_LIMIT))
        self._transfer = ChunkedTransfer(room._connection)
        self._flush_timer: asyncio.TimerHandle | None = None
        self._next_flush = 0.0
        self._done_early: list[object] = []
        self.on_msg(_on_comm_message)
        names = {"room_name": room.name, "user": room.user, "_kernel_id": room._member.kernel_id}
        super().__init__(**names, **({} if layout is None else {"layout": layout}))
        self._unlisten = room._add_listener(_frame_listener(self))
        replace_previous(self, f"window {room.name}", ChatWidget.close)
        for delay in OFFER_DELAYS:
            room._connection.call_later(delay, weak(self._offer))

    def open(self) -> None:
        super().open()
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = self._subshell_for

    def close(self) -> None:
        """Close the window, and its Room if the window created it. Example: ``room.widget.close()``"""
        if unlisten := self.__dict__.pop("_unlisten", None):
            unlisten()
            if self._owns_room:
                self.room.close()
            if self._owns_layout:
                self.layout.close()  # ipywidgets keeps every model that is not closed
        super().close()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Ignores state from browsers: they send commands; traits are written by Python only."""

    def __repr__(self) -> str:
        return f"ChatWidget({self.room_name!r}, user={self.user!r})"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle: tuple[dict[str, Any], dict[str, Any]] | None = super()._repr_mimebundle_()
        if bundle is not None:
            bundle[0]["text/html"] = (
                f"<p>Chat room <b>{html.escape(self.room_name)}</b>: run this cell to open its window.</p>"
            )
        return bundle

    def _subshell_for(self, data: Any, requested: str | None) -> str | None:
        """The subshell that processes a browser's command: the one that it asks for, else the main thread.

        ipykernel 7.4 would use the thread that sent last, which a busy cell blocks. JupyterLab has no subshell yet when
        the first window opens, and one that does not exist any more after a restart from another tab. The main thread
        gets these commands when its cells have ended, so they are executed here already.
        """
        kernel = getattr(ipython_shell(), "kernel", None)
        manager = getattr(getattr(kernel, "shell_channel_thread", None), "manager", None)
        if manager is None or requested in manager.list_subshell():
            return requested
        command = data.get("content") if isinstance(data, dict) else None
        do = command.get("do") if isinstance(command, dict) else None
        if do in OPENING or (requested is not None and do not in {None, "put"}):  # without the buffers of a put
            self._done_early.append(command)
            _execute(self, command)
        return None

    # ---- for the traits ----

    def _current_value(self, name: str) -> Any:
        return getattr(self.room, name)

    def _on_callback_error(self, function: Callable[..., object], error: BaseException) -> None:
        self.room._on_callback_error(function, error)

    def _has_callbacks(self) -> bool:
        """No callback keeps a window alive: ipywidgets does, until it is closed."""
        return False

    # ---- on the rooms' thread ----

    def _on_frames(self, frames: Sequence[Any]) -> None:
        self._mark_changed()
        if self._comm_server.push(frames):
            self._flush_soon()

    def _offer(self) -> None:
        if self.room.status != "open":
            return
        self._flush()
        if (offered := self._comm_server.offer()) is not None:
            self._send_code()
            self.send(offered)

    def _send_code(self) -> None:
        self.send({"code": _CODE_VERSION}, _CODE)

    def _on_command(self, content: object, data: bytes = b"") -> None:
        if content == {"do": "code"}:
            self._send_code()
            return
        if isinstance(content, dict) and content.get("do") == "code":  # for a worker of the window, when it needs one
            name = content.get("name")
            if isinstance(name, str) and name in _PROGRAMS:
                self.send({"code": _CODE_VERSION, "name": name}, [_PROGRAMS[name]])
            return
        for command in self._comm_server.receive(content, data):
            match command:
                case DownloadCommand():
                    self._transfer.download(command, self.send)
                case UploadCommand():
                    self._transfer.upload(command, self.send)
                case HistoryCommand() | SearchCommand() | LinkCommand() | ModerateCommand():
                    self._answer(command)
                case FrameCommand(frame=frame) if isinstance(frame, Typing | Stop | Read):
                    self.room._connection.send_transient(frame)
                case FrameCommand(frame=frame) if not isinstance(frame, Typing | Stop | Read):
                    self.room._submit(frame, own=False)
        self._flush_soon()

    def _answer(self, command: Query) -> None:
        def answered(result: Future[Answer]) -> None:
            try:
                answer: Answer | Error = result.result()
            except BqwidgetError as error:
                answer = Error(code=getattr(error, "code", None) or "unreachable", message=str(error))
            self._comm_server.reply(command, answer)
            self._flush_soon()

        request = partial(query, command, self.room.name)
        self.room._connection.request(request).add_done_callback(answered)

    def _flush_soon(self) -> None:
        """Flush at once, or under load when FLUSH_INTERVAL has passed for each flush."""
        wait = self._next_flush - MAX_FLUSH_BURST * FLUSH_INTERVAL - time.monotonic()
        if wait <= 0 or self.room.status == "closed":  # then its loop has ended
            self._flush()
        elif self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(wait, self._flush)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        envelopes = self._comm_server.drain()
        frames = sum(len(envelope.get("frames", ())) for envelope in envelopes)
        pause = min(FLUSH_INTERVAL + FRAME_INTERVAL * frames, MAX_FLUSH_INTERVAL)
        self._next_flush = max(self._next_flush, time.monotonic()) + pause
        for envelope in envelopes:
            self.send(envelope)


def _on_comm_message(widget: ChatWidget, content: object, buffers: Sequence[memoryview]) -> None:
    """Handle a comm message, on any thread."""
    try:
        widget._done_early.remove(content)
    except ValueError:
        _execute(widget, content, buffers)


def _execute(widget: ChatWidget, content: object, buffers: Sequence[memoryview] = ()) -> None:
    if widget.room.status == "closed":  # its thread has ended, so this thread may use the state
        widget._on_command(content)
    else:
        widget.room._connection.call_soon(widget._on_command, content, bytes(buffers[0]) if buffers else b"")


def _frame_listener(widget: ChatWidget) -> Callable[[Sequence[Any]], None]:
    """A listener that does not keep the widget alive, because the room may outlive its windows."""
    reference = weakref.ref(widget)

    def listener(frames: Sequence[Any]) -> None:
        if (alive := reference()) is not None:
            alive._on_frames(frames)

    return listener
