"""Observable: traits whose values belong to another thread, observed under the thread rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Lock
from typing import Any
from weakref import WeakMethod, ref

import traitlets
from traitlets.utils.bunch import Bunch

from bqwidget._threads.callback import Callback
from bqwidget._threads.cell_registry import CALLBACKS, replace_previous
from bqwidget.dispatch import CallbackLoop, ThreadCallbackLoop, callback_loop

from .callbacks import loop_guard
from .callbacks.lifetime import keep_alive


class _LiveTrait(traitlets.TraitType[Any, Any]):
    """Reads its value from the object's ``_current_value``, so that a busy cell sees the latest one."""

    def get(self, obj: traitlets.HasTraits, cls: Any = None) -> Any:  # noqa: ARG002 - traitlets' signature
        assert isinstance(obj, Observable)
        assert self.name is not None
        return obj._current_value(self.name)  # noqa: SLF001 - a trait is part of its object


class _LiveList(_LiveTrait, traitlets.List[Any]):
    pass


class _LiveString(_LiveTrait, traitlets.Unicode[str, str]):
    pass


def live_trait(kind: type[traitlets.TraitType[Any, Any]], help: str) -> Any:  # noqa: A002 - traitlets' name
    """A read-only live trait of ``kind``: List, Unicode, or Any."""
    known = {traitlets.List: _LiveList, traitlets.Unicode: _LiveString, traitlets.Any: _LiveTrait}
    return known[kind](read_only=True, help=help)


class Observable(traitlets.HasTraits):
    """Observers run in the callback loop, once for all changes since the last notification."""

    status: Any

    def __init__(self) -> None:
        super().__init__()
        self._callback_loop: CallbackLoop = callback_loop()
        self._last_values: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._changed_lock = Lock()

    def _current_value(self, name: str) -> Any:
        """The value of a live trait; called on any thread."""
        raise NotImplementedError

    def _on_callback_error(self, function: Callable[..., object], error: BaseException) -> None:
        """Called after a callback raised and its traceback was printed."""

    def observe(self, handler: Callable[..., Any], names: Any = traitlets.All, type: Any = "change") -> None:  # noqa: A002 - traitlets' name
        """Call ``handler(change)`` when a trait changes, as in traitlets, but under the thread rule.

        ``names``: a trait's name or a list of names. Output appears in the cell that called ``observe``, and a new
        run of that cell replaces it. Example::

            room.observe(lambda change: print(len(change.new), "messages"), "messages")
        """
        if not isinstance(handler, traitlets.EventHandler):
            handler = self._make_callback(handler)
            reference = ref(self)

            def unobserve(callback: Callback) -> None:
                if (observed := reference()) is not None:
                    with suppress(ValueError):  # the user has removed it
                        observed.unobserve(callback, names, type)

            replace_previous(handler, "observe", unobserve, group=CALLBACKS)
        for name in traitlets.parse_notifier_name(names):
            if name in self.traits():
                self._last_values[name] = getattr(self, name)
        super().observe(handler, names, type)
        self._update_lifetime()

    def _remove_notifiers(self, *args: Any) -> None:
        """Called by traitlets' ``unobserve``."""
        super()._remove_notifiers(*args)
        self._update_lifetime()

    def _has_callbacks(self) -> bool:
        return any(callbacks for kinds in self._trait_notifiers.values() for callbacks in kinds.values())

    def _update_lifetime(self) -> None:
        """After every change of the callbacks, and when the room is closed."""
        keep_alive(self, needed=self.status != "closed" and self._has_callbacks())

    def _make_callback(self, function: Callable[..., object]) -> Callback:
        """A callback for ``function``. It does not keep this object alive."""
        if isinstance(self._callback_loop, ThreadCallbackLoop):
            self._callback_loop = callback_loop()  # the main thread may have a loop by now
        on_callback_error = WeakMethod(self._on_callback_error)

        def on_error(error: BaseException) -> None:
            if (method := on_callback_error()) is not None:
                method(function, error)

        return Callback(function, on_error, loop_guard.begin)

    def _mark_changed(self, names: Iterable[str]) -> None:
        """Note on any thread that these traits may have new values."""
        observed = [name for name in names if self._is_observed(name)]
        with self._changed_lock:
            first = bool(observed) and not self._changed
            self._changed.update(observed)
        if first:
            self._callback_loop.post(self._flush_changes)

    def _is_observed(self, name: str) -> bool:
        return bool(self._trait_notifiers.get(name) or self._trait_notifiers.get(traitlets.All))

    def _flush_changes(self) -> None:
        with self._changed_lock:
            names, self._changed = self._changed, set()
        for name in sorted(names):
            old, new = self._last_values.get(name), getattr(self, name)
            if new is not old and (name == "messages" or new != old):  # a list is created once per change
                self._last_values[name] = new
                self.notify_change(Bunch(name=name, old=old, new=new, owner=self, type="change"))
