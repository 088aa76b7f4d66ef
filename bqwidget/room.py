"""Room: a member of a chat room, with its live list of messages, its state, and all verbs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Never, Self
from weakref import finalize

import msgspec

from bqwidget._client.endpoint import configured_endpoint
from bqwidget._client.message_list import MessageSnapshot
from bqwidget._client.session_task import now_ms
from bqwidget._client.status import Status, StatusError
from bqwidget._room.access import AccessMixin
from bqwidget._room.arguments import check_flag, check_timeout
from bqwidget._room.callbacks.membership import KernelMember
from bqwidget._room.cells.magic import load_magic
from bqwidget._room.commands.verbs import CommandMixin
from bqwidget._room.conversation.verbs import ConversationMixin
from bqwidget._room.live_output import LiveOutputMixin
from bqwidget._room.observable import CompletedType
from bqwidget._room.options import check_keep, check_options, check_user
from bqwidget._room.progress import ProgressMixin
from bqwidget._room.questions.polls import PollMixin
from bqwidget._threads.cell_registry import replace_previous
from bqwidget._threads.cells import ipython_shell
from bqwidget._threads.loop_thread import CLOSE_TIMEOUT
from bqwidget._threads.weak import weak

from .connection import Connection
from .errors import ArgumentTypeError, WaitTimeout
from .protocol import Error, ServerFrame, printable
from .session import Session

if TYPE_CHECKING:
    from .widget import ChatWidget

Frames = Sequence[ServerFrame | Status]
Listener = Callable[[Frames], object]


class Room(
    PollMixin, CommandMixin, LiveOutputMixin, ProgressMixin, ConversationMixin, AccessMixin, metaclass=CompletedType
):
    """A member of the room ``name``. Returns at once and joins in the background.

    ``name``: 1 to 64 of ``A-Z a-z 0-9 _ -``. ``user``: the name that others see; default: Jupyter's identity, else
    the login name. ``keep``: how many of the newest messages ``messages`` holds. ``url``: the server's base address;
    default: ``BQWIDGET_URL``, else the user's local server, which is started if needed. ``token``: for that server.
    ``insecure``: allow unencrypted ``http://`` beyond loopback. Rooms of one kernel with the same name and user are one
    member: what they send is own to each, and in a notebook the newest that registers handlers answers. ``separate``:
    a member of its own. A Room with callbacks or a shown window lives until it is closed; without, while code refers to
    it. All traits are up to date in a busy cell too.

    Raises TypeError or BqwidgetError for a wrong argument, ProtocolError for a wrong name. Example::

        room = Room("lobby", user="ada")
        room.send("hi")
    """

    _kind = "kernel"

    def __init__(  # noqa: PLR0917 - the first few are readable by position
        self,
        name: str,
        user: str | None = None,
        keep: int = 1000,
        url: str | None = None,
        token: str | None = None,
        insecure: bool = False,  # noqa: FBT001, FBT002 - passed by name
        separate: bool = False,  # noqa: FBT001, FBT002 - passed by name
        **unknown: Never,
    ) -> None:
        check_options(name, unknown)
        super().__init__()
        if token is not None and not isinstance(token, str):
            raise ArgumentTypeError(f"token must be text, not {type(token).__name__}", argument="token")
        insecure, separate = check_flag("insecure", insecure), check_flag("separate", separate)
        self.name = name
        self.user = check_user(user)
        self.keep = check_keep(keep)
        self._listeners: list[Listener] = []
        self._last_status: Status | None = None
        self._cached_messages: tuple[int, MessageSnapshot] = (-1, MessageSnapshot())
        self._widget: ChatWidget | None = None
        endpoint = configured_endpoint(url, token, insecure=insecure)
        self._member = KernelMember(endpoint.base if endpoint else "", name, self.user, separate=separate)
        self._connection = Connection(
            # Not the generator of the random module, which a notebook may have seeded.
            Session(name, keep=self.keep, random=Random().random),  # noqa: S311 - no secret
            endpoint,
            query={
                "user": self.user,
                "kind": self._kind,
                "client": token_hex(8),
                "member": self._member.id,
                "live": "1",
            },
            on_update=weak(self._on_update),
        )
        self._connection.start()
        finalize(self, self._connection.close, wait=False).atexit = False
        replace_previous(self, "room", Room.close)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("name", "user", "keep") and name in self.__dict__:
            raise AttributeError(f"room.{name} can't change: make another Room with this {name}")
        super().__setattr__(name, value)

    # ---- joining and leaving ----

    def wait_open(self, timeout: float | None = None) -> Self:
        """Wait until the room is joined and its list is loaded, and return the Room.

        ``timeout``: seconds, None without limit. Raises ConnectionRefused if the server refuses permanently,
        RoomClosed, WaitTimeout. Example: ``room.wait_open(timeout=20)``
        """
        timeout = check_timeout(timeout)
        self._connection.wait_until(self._connection.has_joined_or_closed, timeout)
        return self._joined(timeout)

    async def await_open(self, timeout: float | None = None) -> Self:  # noqa: ASYNC109 - raises WaitTimeout
        """``wait_open`` for code that awaits. Example: ``await room.await_open(timeout=20)``"""
        timeout = check_timeout(timeout)
        await self._until(self._connection.has_joined_or_closed, timeout)
        return self._joined(timeout)

    def _joined(self, timeout: float | None) -> Self:
        connection = self._connection
        if connection.session.state == "open":
            return self
        if connection.close_error is not None:
            raise connection.error or connection.close_error
        reason, timeout = f": {connection.error}" if connection.error else "", timeout or 0
        raise WaitTimeout(f"room {self.name} is not open after {timeout:g} s{reason}", timeout=timeout)

    def close(self) -> None:
        """Leave the room, once queued messages are delivered, after at most ten seconds. May be called again.

        What was not delivered by then is printed, and its Sending raises RoomClosed.

        A Room is also a context manager that closes it. Example: ``room.close()``
        """
        self._stop_handlers()
        self._connection.close()
        self._update_lifetime()

    async def aclose(self) -> None:
        """``close`` for code that awaits; ``async with Room(...)`` calls it. Example: ``await room.aclose()``"""
        self._stop_handlers()
        self._connection.close(wait=False)
        await self._until(lambda: self._connection.session.state == "closed", CLOSE_TIMEOUT)
        self._update_lifetime()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # ---- the window ----

    @property
    def widget(self) -> ChatWidget:
        """The room's window, a ChatWidget, for layouts; created on first use.

        Example: ``room.widget.layout.width = "50%"``
        """
        if self._widget is None:
            from .widget import ChatWidget  # noqa: PLC0415 - a script needs no Jupyter

            self._widget = ChatWidget(self)
        return self._widget

    def __repr__(self) -> str:
        if "user" not in self.__dict__:  # shown by a debugger after __init__ failed
            return "Room(unfinished)"
        return f"Room({self.name!r}, user={printable(self.user)})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The window in a notebook, the repr elsewhere."""
        if not hasattr(ipython_shell(), "kernel"):
            return {"text/plain": repr(self)}
        bundle = self.widget._repr_mimebundle_(**options)
        if bundle is not None:
            bundle[0]["text/plain"] = repr(self)
        return bundle

    # ---- used by widget.py, whose comm messages are handled on the rooms' thread ----

    def _add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(frames)`` on the rooms' thread after every step, with what it accepted, if anything.

        Returns a function that ends this.
        """
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def _snapshot_frames(self, limit: int) -> list[ServerFrame | Status]:
        """Frames that rebuild the newest ``limit`` messages and the status; on the rooms' thread."""
        return [*self._connection.session.snapshot(limit, self._connection.server_time_ms()), self._current_status()]

    # ---- on the rooms' thread ----

    def _on_update(self, accepted: Sequence[ServerFrame]) -> None:
        """After every step of the connection: notify the window, the observers and the handlers."""
        frames: list[ServerFrame | Status] = list(accepted)
        before, status = self._last_status, self._current_status()
        if before is None or status != msgspec.structs.replace(before, now=status.now):
            self._last_status = status
            frames.append(status)
            if status.status == "closed":
                self._update_lifetime()
        self._notify_listeners(frames)
        self._mark_changed()
        self._on_frames(accepted)
        self._refresh_live_outputs(accepted)
        if status.status == "open" and before is not None and before.status == "reconnecting":
            self._on_reconnected()

    def _notify_listeners(self, frames: Frames) -> None:
        for listener in list(self._listeners):
            try:
                listener(frames)
            except Exception as error:  # noqa: BLE001 - an error in a window must not end the room
                sys.excepthook(type(error), error, error.__traceback__)

    def _current_status(self) -> Status:
        connection, error = self._connection, self._connection.error
        status_error = None
        if error is not None:
            code = getattr(error, "code", None) or type(error).__name__
            status_error = StatusError(code=code, message=str(error))
        return Status(
            status=connection.session.state,
            error=status_error,
            retry_at=connection.retry_at,
            queued=len(connection.session.outbox),
            now=now_ms(),
        )

    # ---- for the traits ----

    def _current_value(self, name: str) -> Any:
        connection = self._connection
        match name:
            case "messages" | "value":
                return self._messages_snapshot()
            case "status":
                return connection.session.state
            case "members":
                return list(connection.session.members)
            case "unread":
                return self._count_unread()
            case "queued":
                return len(connection.session.outbox)
            case "reconnect_attempts":
                return connection.session.attempts
            case _:  # error, latency, last_disconnected_at
                return getattr(connection, name)

    def _messages_snapshot(self) -> MessageSnapshot:
        version, snapshot = self._cached_messages
        if version != self._connection.version:
            with self._connection.lock:
                version, snapshot = self._connection.version, self._connection.session.messages.snapshot()
            self._cached_messages = version, snapshot
        return snapshot

    def _on_callback_error(self, function: Callable[..., object], error: BaseException) -> None:
        """Show a callback's error in the window too."""
        message = f"{getattr(function, '__name__', function)}: {type(error).__name__}: {error}"
        self._connection.call_soon(self._notify_listeners, [Error(code="callback", message=message)])


load_magic(Room)
