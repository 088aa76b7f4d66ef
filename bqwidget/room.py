"""Room: a member of a chat room: its live list, how it stands, and every verb."""

from __future__ import annotations

import difflib
import getpass
import os
import random
import sys
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakMethod, finalize

import msgspec
from traitlets import Any as Any_
from traitlets import List, Unicode

from bqwidget._client.endpoint import configured_endpoint
from bqwidget._client.message_list import MessageSnapshot
from bqwidget._room.history import REQUEST_TIMEOUT, HistoryMixin
from bqwidget._room.live_output import LiveOutputMixin
from bqwidget._room.observable import live_trait
from bqwidget._room.progress import ProgressMixin
from bqwidget._room.questions import QuestionMixin
from bqwidget._threads.cells import replace_previous

from .connection import Connection
from .errors import BqwidgetError, ConnectionRefused, WaitTimeout
from .protocol import Error, Limits, Member, ServerFrame, Typing, check_room, is_text, printable
from .session import Session, State, Status, StatusError

if TYPE_CHECKING:
    from .widget import ChatWidget

MAX_USER_LENGTH = 1_000
"""Characters of a name that fit into the join's address; how many it may have, the server's limits say."""
Frames = Sequence[ServerFrame | Status]
Listener = Callable[[Frames], object]


class Room(QuestionMixin, LiveOutputMixin, ProgressMixin, HistoryMixin):
    """Join the room ``name`` as ``user``; returns at once and joins in the background.

    ``keep`` messages are kept, the newest. ``url`` is the server's base address: by default ``BQWIDGET_URL``,
    else the user's local server, which is started when needed. Plain ``http://`` is refused beyond loopback
    unless ``insecure``. All that can be observed is live, in a busy cell too.
    """

    messages: MessageSnapshot = live_trait(List, "The newest messages, oldest first: a snapshot to read.")
    status: State = live_trait(Unicode, "connecting, open, reconnecting or closed.")
    error: BqwidgetError | None = live_trait(
        Any_, "What went wrong last, as an exception; None while all is well."
    )
    latency: float | None = live_trait(Any_, "Seconds to the server and back, as last measured.")
    members: list[Member] = live_trait(List, "Who is in the room now.")
    queued: int = live_trait(Any_, "How many sends are not acknowledged yet.")
    reconnect_attempts: int = live_trait(Any_, "Joins tried since the room was last open.")
    last_disconnected_at: int | None = live_trait(
        Any_, "When it was last lost, in milliseconds since the epoch."
    )

    _kind = "kernel"

    def __init__(  # noqa: PLR0917 - the first few read well by place
        self,
        name: str,
        user: str | None = None,
        keep: int = 1000,
        url: str | None = None,
        token: str | None = None,
        insecure: bool = False,  # noqa: FBT001, FBT002 - read like the others, by its name
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(_unknown_options(unknown))
        if not isinstance(name, str):
            raise TypeError(f"a room's name is text, not {type(name).__name__}: Room('lobby')")
        super().__init__()
        self.name = check_room(name)
        self.user = _check_user(user)
        self.keep = _check_keep(keep)
        self._listeners: list[Listener] = []
        self._last_status: Status | None = None
        self._cached_messages: tuple[int, MessageSnapshot] = (-1, MessageSnapshot())
        self._widget: ChatWidget | None = None
        update = WeakMethod(self._on_update)
        self._connection = Connection(
            Session(name, keep=keep, random=random.random),
            configured_endpoint(url, token, insecure=insecure),
            query={"user": self.user, "kind": self._kind, "client": token_hex(8)},
            on_update=lambda accepted: (method := update()) and method(accepted),
        )
        self._connection.start()
        finalize(self, self._connection.close, wait=False).atexit = False
        replace_previous(self, ("room", name, self.user), Room.close)

    # ---- life ----

    def wait_open(self, timeout: float | None = None) -> Self:
        """Wait until the room is joined and its list loaded; the room itself.

        Raises ConnectionRefused where the server will never let us in, RoomClosed, or WaitTimeout.
        """
        connection = self._connection
        connection.wait_until(lambda: connection.session.state in ("open", "closed"), timeout)
        if connection.session.state == "open":
            return self
        if connection.close_error is not None:
            raise connection.error or connection.close_error
        why = f": {connection.error}" if connection.error else ""
        raise WaitTimeout(f"room {self.name} is not open after {timeout or 0:g} s{why}", timeout=timeout or 0)

    def close(self) -> None:
        """Leave. What is queued has two seconds to go, if the room is open. Closing again does nothing."""
        self._handlers.clear()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- its page ----

    @property
    def url(self) -> str:
        """The address of the room's page, for a browser; there is never a secret in it."""
        connection = self._connection
        connection.wait_until(lambda: connection.endpoint or connection.close_error, REQUEST_TIMEOUT)
        if connection.endpoint is None:
            raise (
                connection.error or connection.close_error or ConnectionRefused("no server found yet", url="")
            )
        return connection.endpoint.http_url(f"rooms/{self.name}")

    def invite(self, uses: int = 1, minutes: float = 10) -> str:
        """A link that lets ``uses`` people in, within ``minutes``: give it only to them.

        Where somebody else does the logging in, as inside Jupyter, it is the page's plain address.
        """
        try:
            body = self._request(lambda rest: rest.post("invites", {"uses": uses, "minutes": minutes}))
        except ConnectionRefused as error:
            if error.code != "no_invites":
                raise
            return self.url
        return f"{self.url}#invite={msgspec.json.decode(body)['code']}"

    # ---- its window ----

    @property
    def widget(self) -> ChatWidget:
        """The room's window, a ChatWidget, for layouts: ``HBox([room.widget, plot])``."""
        if self._widget is None:
            from .widget import ChatWidget  # noqa: PLC0415 - a script needs no Jupyter

            self._widget = ChatWidget(self)
        return self._widget

    def __repr__(self) -> str:
        if "user" not in self.__dict__:  # a debugger may look at one that could not be made
            return "Room(unfinished)"
        return f"Room({self.name!r}, user={printable(self.user)})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """In a notebook its window, elsewhere its repr."""
        ipython = sys.modules.get("IPython")
        if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
            return {"text/plain": repr(self)}
        bundle = self.widget._repr_mimebundle_(**options)
        if bundle is not None:
            bundle[0]["text/plain"] = repr(self)
        return bundle

    # ---- what widget.py uses: its comm ends on the room's thread ----

    def _add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(frames)`` on the room's thread with all that is accepted; the un-listener."""
        self._listeners.append(listener)

        def unlisten() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unlisten

    def _call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function`` on the room's thread soon."""
        self._connection.call_soon(function, *args)

    def _snapshot_frames(self, limit: int) -> list[ServerFrame | Status]:
        """Frames that rebuild the newest ``limit`` messages and the status; on the room's thread."""
        return [*self._connection.session.snapshot(limit), self._current_status()]

    def _send_typing(self, typing: Typing) -> None:
        self._connection.send_transient(typing)

    # ---- on the room's thread ----

    def _on_update(self, accepted: Sequence[ServerFrame]) -> None:
        """After every step of the connection: tell the window, the observers and the handlers."""
        frames: list[ServerFrame | Status] = list(accepted)
        before, status = self._last_status, self._current_status()
        if status != before:
            self._last_status = status
            frames.append(status)
        self._notify_listeners(frames)
        self._mark_changed(_LIVE_TRAITS)
        self._on_frames(accepted)
        self._refresh_live_outputs(accepted)
        if status.status == "open" and before is not None and before.status == "reconnecting":
            self._on_reconnected()

    def _notify_listeners(self, frames: Frames) -> None:
        for listener in list(self._listeners) if frames else ():
            try:
                listener(frames)
            except Exception as error:  # noqa: BLE001 - a window that fails is no reason to leave the room
                sys.excepthook(type(error), error, error.__traceback__)

    def _current_status(self) -> Status:
        connection, error = self._connection, self._connection.error
        trouble = None
        if error is not None:
            trouble = StatusError(
                code=getattr(error, "code", None) or type(error).__name__, message=str(error)
            )
        return Status(
            status=connection.session.state,
            error=trouble,
            retry_at=connection.retry_at,
            queued=len(connection.session.outbox),
        )

    # ---- for the traits ----

    def _current_value(self, name: str) -> Any:
        connection = self._connection
        match name:
            case "messages":
                return self._messages_snapshot()
            case "status":
                return connection.session.state
            case "members":
                return list(connection.session.members)
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
        """A callback's error is shown in the window too."""
        what = f"{getattr(function, '__name__', function)}: {type(error).__name__}: {error}"
        self._call_soon(self._notify_listeners, [Error(code="callback", message=what)])


_LIVE_TRAITS = tuple(name for name, trait in Room.class_traits().items() if trait.read_only)


def _unknown_options(unknown: dict[str, Any]) -> str:
    name = next(iter(unknown))
    known = ("user", "keep", "url", "token", "insecure")
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}"
    return f"Room() has no option {name!r}: {hint}"


def _check_user(user: str | None) -> str:
    if user is None:
        user = os.environ.get("JUPYTERHUB_USER") or _login_name()
    if not isinstance(user, str):
        raise TypeError(f"user is a name, not {type(user).__name__}")
    if not user.strip() or len(user) > MAX_USER_LENGTH:
        raise BqwidgetError(
            f"user is {printable(user)}: a name of 1 to {MAX_USER_LENGTH:,} characters is needed"
        )
    if not is_text(user):
        raise BqwidgetError(f"user is {printable(user)}, which holds half a character: leave it away")
    return user


def _login_name() -> str:
    try:
        return getpass.getuser()[: Limits().user]
    except (OSError, KeyError):  # a container's user may have no name
        return "someone"


def _check_keep(keep: int) -> int:
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise BqwidgetError(f"keep is {keep!r}: how many messages to keep, 1 or more")
    return keep
