"""A method as a callback that does not keep its object alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod


def weak(method: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls ``method``, and returns None once its object is gone."""
    reference = WeakMethod(method)

    def call(*args: Any) -> Any:
        bound = reference()
        return None if bound is None else bound(*args)

    return call
