"""Lifetime: a Room with callbacks lives until it is closed, even if no variable refers to it."""

from __future__ import annotations

_kept: set[object] = set()


def keep_alive(room: object, *, needed: bool) -> None:
    """Keep ``room`` from being garbage-collected, or no longer. Callable from any thread."""
    if needed:
        _kept.add(room)
    else:
        _kept.discard(room)
