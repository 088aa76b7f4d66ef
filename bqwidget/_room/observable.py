"""Observable: a room's traits, whose values belong to another thread, observed under the thread rule."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, NoReturn, SupportsIndex
from weakref import ref

import traitlets
from traitlets.utils.bunch import Bunch

from bqwidget._client.message_list import MessageSnapshot
from bqwidget._client.status import State
from bqwidget._threads.callback import Callback
from bqwidget._threads.cell_registry import CALLBACK_GROUP, replace_previous
from bqwidget._threads.weak import weak
from bqwidget.dispatch import CallbackLoop, ThreadCallbackLoop, callback_loop
from bqwidget.errors import ArgumentError, BqwidgetError
from bqwidget.protocol import Member

from .arguments import check_signature, wrong_type, wrong_value
from .callbacks import loop_guard
from .callbacks.lifetime import keep_alive

_linked: ContextVar[Bunch | None] = ContextVar("bqwidget_linked", default=None)
"""The change that a ``traitlets.link`` passes on now."""


class _LiveTrait(traitlets.TraitType[Any, Any]):
    """Reads its value from the object's ``_current_value``, so that a busy cell sees the latest one."""

    def get(self, obj: traitlets.HasTraits, cls: Any = None) -> Any:  # noqa: ARG002 - traitlets' signature
        assert isinstance(obj, Observable)
        assert self.name is not None
        change = _linked.get()
        if change is not None and change.owner is obj and change.name == self.name:
            return change.new  # a link raises if the value changes while it sets its target
        return obj._current_value(self.name)  # noqa: SLF001 - a trait is part of its object

    def __set__(self, obj: traitlets.HasTraits, value: Any) -> None:
        raise traitlets.TraitError(
            f"{self.name} is read-only: it shows the state of the room; room.send(text) adds a message"
        )


class _LiveList(_LiveTrait, traitlets.List[Any]):
    pass


class _LiveString(_LiveTrait, traitlets.Unicode[str, str]):
    pass


def live_trait(kind: type[traitlets.TraitType[Any, Any]], help: str) -> Any:  # noqa: A002 - traitlets' name
    """A read-only live trait of ``kind``: List, Unicode, or Any."""
    known = {traitlets.List: _LiveList, traitlets.Unicode: _LiveString, traitlets.Any: _LiveTrait}
    return known[kind](read_only=True, help=help)


HIDDEN = {name for name in dir(traitlets.HasTraits) if name[0] != "_"} - {"observe", "unobserve", "unobserve_all"}
"""Methods of traitlets that completion does not offer; they work as in every HasTraits."""


class CompletedType(traitlets.MetaHasTraits):
    """The type of a class whose ``dir``, and so completion, shows verbs and traits without the methods of traitlets."""

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in HIDDEN]


class Observable(traitlets.HasTraits):
    """Observers run in the callback loop, once for all changes since the last notification."""

    messages: MessageSnapshot = live_trait(traitlets.List, "The newest messages, oldest first; a read-only snapshot.")
    value: MessageSnapshot = live_trait(traitlets.List, "The messages, by ipywidgets' name for interactive_output.")
    status: State = live_trait(traitlets.Unicode, "connecting, open, reconnecting or closed.")
    error: BqwidgetError | None = live_trait(traitlets.Any, "The last error of the connection, or None.")
    latency: float | None = live_trait(traitlets.Any, "The last measured round-trip time, in seconds.")
    members: list[Member] = live_trait(traitlets.List, "The members who are in the room now.")
    unread: int = live_trait(traitlets.Any, "How many of the messages of others are not read yet.")
    queued: int = live_trait(traitlets.Any, "The number of sends that are not acknowledged.")
    reconnect_attempts: int = live_trait(traitlets.Any, "Joins attempted since the room was last open.")
    last_disconnected_at: int | None = live_trait(traitlets.Any, "When it was last lost, in ms since the epoch.")

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._callback_loop: CallbackLoop = callback_loop()
        self._last_values: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._changed_lock = Lock()

    def _current_value(self, name: str) -> Any:
        """The value of a live trait; called on any thread."""
        raise NotImplementedError

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in HIDDEN]

    def __copy__(self) -> NoReturn:
        """Before that of ipywidgets, whose error does not say what to do."""
        self.__reduce_ex__(2)

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce_ex__(2)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """For copy and pickle."""
        kind = type(self).__name__
        raise TypeError(
            f"a {kind} is a live connection, which can't be copied: make another {kind}; room.messages can be"
        )

    def _on_callback_error(self, function: Callable[..., object], error: BaseException) -> None:
        """Called after a callback raised and its traceback was printed."""

    def observe(self, handler: Callable[[Bunch], object], names: Any = traitlets.All, type: Any = "change") -> None:  # noqa: A002 - traitlets' name
        """Call ``handler(change)`` when a trait changes, as in traitlets, but under the thread rule.

        ``names``: a trait's name or a list of names. Output appears in the cell that called ``observe``, and a new
        run of that cell replaces it. Raises ValueError for a name that is no trait. Example::

            room.observe(lambda change: print(len(change.new), "messages"), "messages")
        """
        if isinstance(handler, traitlets.EventHandler):  # of a class, registered before __init__
            super().observe(handler, names, type)
            return
        self._check_observer(handler, names, type)
        is_link = isinstance(getattr(handler, "__self__", None), traitlets.link)
        callback = self._make_callback(handler, _begin_link if is_link else loop_guard.begin)
        reference = ref(self)

        def unobserve(callback: Callback) -> None:
            if (observed := reference()) is not None:
                with suppress(ValueError):  # the user has removed it
                    observed.unobserve(callback, names, type)

        replace_previous(callback, "observe", unobserve, group=CALLBACK_GROUP)
        for name in traitlets.parse_notifier_name(names):
            if name in _LIVE_TRAITS and not self._is_observed(name):
                self._last_values[name] = getattr(self, name)
        super().observe(callback, names, type)
        self._update_lifetime()

    def unobserve(self, handler: Callable[[Bunch], object], names: Any = traitlets.All, type: Any = "change") -> None:  # noqa: A002 - traitlets' name
        """End what ``observe`` with the same arguments started. Raises ValueError for a name that is no trait.

        Example::

            def announce(change): print(len(change.new), "messages")
            room.observe(announce, "messages")
            room.unobserve(announce, "messages")
        """
        self._check_observer(handler, names, type)
        try:
            super().unobserve(handler, names, type)
        except ValueError:  # of traitlets: "list.remove(x): x not in list"
            raise wrong_value("handler", handler, "it does not observe that: write what observe was given") from None

    def _check_observer(self, handler: object, names: Any, event: object) -> None:
        if event is not traitlets.All and not (isinstance(event, str) and event == "change"):
            raise wrong_value("type", event, "leave it out: what traits tell is 'change'")
        if not callable(handler):
            raise wrong_type("handler", "a function of a change, before the names of traits", handler)
        check_signature("handler", handler, "change")
        if names is not traitlets.All and not (isinstance(names, str | list | tuple | set | frozenset) and names):
            raise wrong_type("names", "the name of a trait, such as 'messages', or a list of names", names)
        for name in traitlets.parse_notifier_name(names):
            if name is not traitlets.All and name not in self.traits():
                public = [trait for trait in self.traits() if not trait.startswith("_")]
                close = difflib.get_close_matches(str(name), public, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"use {', '.join(_LIVE_TRAITS)}"
                raise ArgumentError(f"names has {name!r}, which is not a trait: {hint}", argument="names")

    def _remove_notifiers(self, *args: Any) -> None:
        """Called by traitlets' ``unobserve``."""
        super()._remove_notifiers(*args)
        self._update_lifetime()

    def _has_callbacks(self) -> bool:
        return any(callbacks for kinds in self._trait_notifiers.values() for callbacks in kinds.values())

    def _update_lifetime(self) -> None:
        """After every change of the callbacks, and when the room is closed."""
        keep_alive(self, needed=self.status != "closed" and self._has_callbacks())

    def _make_callback(
        self,
        function: Callable[..., object],
        before: Callable[..., None] = loop_guard.begin,
        on_result: Callable[..., object] | None = None,
    ) -> Callback:
        """A callback for ``function``. It does not keep this object alive."""
        if isinstance(self._callback_loop, ThreadCallbackLoop):
            self._callback_loop = callback_loop()  # the main thread may have a loop by now
        return Callback(function, partial(weak(self._on_callback_error), function), before, on_result)

    def _mark_changed(self) -> None:
        """Note on any thread that the live traits may have new values."""
        observed = [name for name in _LIVE_TRAITS if self._is_observed(name)]
        with self._changed_lock:
            first = bool(observed) and not self._changed
            self._changed.update(observed)
        if first:
            self._callback_loop.post(self._flush_changes)

    def _is_observed(self, name: str) -> bool:
        all_names = name != "value" and self._trait_notifiers.get(traitlets.All)
        return bool(self._trait_notifiers.get(name) or all_names)

    def _flush_changes(self) -> None:
        with self._changed_lock:
            names, self._changed = self._changed, set()
        for name in sorted(names):
            old, new = self._last_values.get(name), getattr(self, name)
            if new is not old and (isinstance(new, MessageSnapshot) or new != old):  # a list is created once per change
                self._last_values[name] = new
                self.notify_change(Bunch(name=name, old=old, new=new, owner=self, type="change"))


_LIVE_TRAITS = tuple(name for name, trait in Observable.class_traits().items() if trait.read_only)


def _begin_link(change: Bunch) -> None:
    loop_guard.begin(change)
    _linked.set(change)
