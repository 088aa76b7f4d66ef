"""Moderation: rooms that are closed, and members who may not write for a while.

It outlives a restart in a small JSON file beside the log; without a file (a log in memory) it ends with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from bqwidget.protocol import Struct

from .rights import AccessError
from .tokens import read_private, write_private


class Mute(Struct, frozen=True):
    """``user`` may not write in ``room``; ``until`` in seconds since the epoch, None: until it is lifted."""

    room: str
    user: str
    by: str
    until: float | None = None


class _State(Struct, frozen=True):
    closed: dict[str, str] = msgspec.field(default_factory=dict)
    """Room to who closed it."""
    mutes: tuple[Mute, ...] = ()


class Moderation:
    """Names are compared without regard to case. ``clock`` gives seconds since the epoch."""

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._closed: dict[str, str] = {}
        self._mutes: dict[tuple[str, str], Mute] = {}
        data = None if path is None else read_private(path)
        if data is not None:
            try:
                state = msgspec.json.decode(data, type=_State)
            except msgspec.DecodeError as error:
                raise AccessError(f"{path}: not what bqserver wrote: {error}; mend or delete it") from None
            self._closed = dict(state.closed)
            self._mutes = {_key(mute.room, mute.user): mute for mute in state.mutes}

    def is_closed(self, room: str) -> bool:
        return room in self._closed

    def muted(self, room: str, user: str) -> Mute | None:
        if not self._mutes:
            return None  # the message path's usual answer
        key = _key(room, user)
        mute = self._mutes.get(key)
        if mute is not None and mute.until is not None and mute.until <= self._clock():
            del self._mutes[key]
            return None
        return mute

    def close(self, room: str, by: str) -> None:
        self._closed[room] = by
        self._save()

    def reopen(self, room: str) -> None:
        self._closed.pop(room, None)
        self._save()

    def mute(self, mute: Mute) -> None:
        self._mutes[_key(mute.room, mute.user)] = mute
        self._save()

    def unmute(self, room: str, user: str) -> None:
        self._mutes.pop(_key(room, user), None)
        self._save()

    def _save(self) -> None:
        if self._path is not None:
            state = _State(closed=self._closed, mutes=tuple(self._mutes.values()))
            write_private(self._path, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")


def _key(room: str, user: str) -> tuple[str, str]:
    return room, user.strip().casefold()
