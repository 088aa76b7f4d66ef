"""Observed: traits whose values live on another thread, observed under the thread rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any
from weakref import WeakMethod

import traitlets
from traitlets.utils.bunch import Bunch

from bqwidget._threads.callback import Callback
from bqwidget.dispatch import CallbackLoop, ThreadCallbackLoop, callback_loop


class _LiveTrait(traitlets.TraitType[Any, Any]):
    """Always read from the object's ``_now``, so a busy cell sees what its room's thread has just learned."""

    def get(self, obj: traitlets.HasTraits, cls: Any = None) -> Any:  # noqa: ARG002 - traitlets' signature
        assert isinstance(obj, Observable)
        assert self.name is not None
        return obj._current_value(self.name)  # noqa: SLF001 - a trait is a part of its object


class _LiveList(_LiveTrait, traitlets.List[Any]):
    pass


class _LiveString(_LiveTrait, traitlets.Unicode[str, str]):
    pass


def live_trait(kind: type[traitlets.TraitType[Any, Any]], help: str) -> Any:  # noqa: A002 - traitlets' name
    """A read-only trait that is live: a List, a Unicode, or a value of any type."""
    known = {traitlets.List: _LiveList, traitlets.Unicode: _LiveString, traitlets.Any: _LiveTrait}
    return known[kind](read_only=True, help=help)


class Observable(traitlets.HasTraits):
    """Observers run at home, one notification for everything since the last; reading is free of it."""

    def __init__(self) -> None:
        super().__init__()
        self._callback_loop: CallbackLoop = callback_loop()
        self._last_values: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._changed_lock = Lock()

    def _current_value(self, name: str) -> Any:
        """The value of a live trait, on any thread."""
        raise NotImplementedError

    def _on_callback_error(self, function: Callable[..., object], error: BaseException) -> None:
        """A callback has failed; its traceback is printed already."""

    def observe(self, handler: Callable[..., Any], names: Any = traitlets.All, type: Any = "change") -> None:  # noqa: A002 - traitlets' name
        """As in traitlets, except that ``handler`` runs under the thread rule, in the context it was given in."""
        if not isinstance(handler, traitlets.EventHandler):
            handler = self._make_callback(handler)
        for name in traitlets.parse_notifier_name(names):
            if name in self.traits():
                self._last_values[name] = getattr(self, name)
        super().observe(handler, names, type)

    def _make_callback(self, function: Callable[..., object]) -> Callback:
        """``function`` as a callback of this object, which it doesn't keep alive."""
        if isinstance(self._callback_loop, ThreadCallbackLoop):
            self._callback_loop = callback_loop()  # there may be a better one by now
        told = WeakMethod(self._on_callback_error)

        def failed(error: BaseException) -> None:
            if (method := told()) is not None:
                method(function, error)

        return Callback(function, failed)

    def _mark_changed(self, names: Iterable[str]) -> None:
        """From any thread: these traits have new values."""
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
            if new is not old and (name == "messages" or new != old):  # a snapshot is made once per change
                self._last_values[name] = new
                self.notify_change(Bunch(name=name, old=old, new=new, owner=self, type="change"))
