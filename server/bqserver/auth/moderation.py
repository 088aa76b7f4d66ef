"""Moderation: rooms that are closed, and members who may not write for a while.

It outlives a restart in a small JSON file beside the log; without a file (a log in memory) it ends with it. The
nodes of a cluster give it to a keeper that all of them learn from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from bqserver.errors import AccessFileError
from bqserver.files import read_private, write_private
from bqwidget.protocol import Struct


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


class ModerationStore(Protocol):
    """Who keeps the newest value of each key for all nodes, and lets them learn it."""

    async def put(self, key: str, value: bytes) -> None:
        """Durable when it returns. Raises StorageError."""


class Moderation:
    """Names are compared without regard to case. ``clock`` gives seconds since the epoch."""

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self.store: ModerationStore | None = None
        self._unflushed: list[tuple[str, bytes]] = []
        self._closed: dict[str, str] = {}
        self._mutes: dict[tuple[str, str], Mute] = {}
        data = None if path is None else read_private(path)
        if data is not None:
            try:
                state = msgspec.json.decode(data, type=_State)
            except msgspec.DecodeError as error:
                raise AccessFileError(
                    f"{path}: not what bqserver wrote: {error}; mend or delete it"
                ) from None
            self._closed = dict(state.closed)
            self._mutes = {_member(mute.room, mute.user): mute for mute in state.mutes}

    def is_closed(self, room: str) -> bool:
        return room in self._closed

    def find_mute(self, room: str, user: str) -> Mute | None:
        if not self._mutes:
            return None  # the message path's usual answer
        key = _member(room, user)
        mute = self._mutes.get(key)
        if mute is not None and mute.until is not None and mute.until <= self._clock():
            del self._mutes[key]
            return None
        return mute

    def close(self, room: str, by: str) -> None:
        self._closed[room] = by
        self._save(f"closed.{room}", msgspec.json.encode(by))

    def reopen(self, room: str) -> None:
        self._closed.pop(room, None)
        self._save(f"closed.{room}", _NONE)

    def mute(self, mute: Mute) -> None:
        self._mutes[_member(mute.room, mute.user)] = mute
        self._save(_mute_key(mute.room, mute.user), msgspec.json.encode(mute))

    def unmute(self, room: str, user: str) -> None:
        self._mutes.pop(_member(room, user), None)
        self._save(_mute_key(room, user), _NONE)

    def export_values(self) -> list[tuple[str, bytes]]:
        """What holds now, as a keeper keeps it."""
        closed = [(f"closed.{room}", msgspec.json.encode(by)) for room, by in self._closed.items()]
        mutes = [one for one in self._mutes.values() if one.until is None or one.until > self._clock()]
        return closed + [(_mute_key(mute.room, mute.user), msgspec.json.encode(mute)) for mute in mutes]

    async def flush(self) -> None:
        """Until what was ordered is with the keeper, if there is one. Raises StorageError."""
        while self.store is not None and self._unflushed:
            await self.store.put(*self._unflushed[0])
            self._unflushed.pop(0)

    def apply(self, key: str, value: bytes) -> None:
        """What the keeper has, whoever ordered it."""
        kind, room, *_ = key.split(".")
        try:
            if kind == "closed":
                by = msgspec.json.decode(value, type=str | None)
                self._closed.pop(room, None)
                if by is not None:
                    self._closed[room] = by
            else:
                mute = msgspec.json.decode(value, type=Mute | None)
                lifted = [place for place, one in self._mutes.items() if _mute_key(one.room, one.user) == key]
                for place in lifted:
                    del self._mutes[place]
                if mute is not None:
                    self._mutes[_member(mute.room, mute.user)] = mute
        except msgspec.DecodeError:
            return  # not what bqserver wrote

    def _save(self, key: str, value: bytes) -> None:
        if self.store is not None:
            self._unflushed.append((key, value))
        if self._path is not None:
            self.write_file(self._path)

    def write_file(self, path: Path) -> None:
        """Into a file of its own, from which another one begins. Raises AccessFileError."""
        state = _State(closed=self._closed, mutes=tuple(self._mutes.values()))
        write_private(path, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")


_NONE = b"null"


def moderation_path(log: Path) -> Path:
    """Where it is kept, for it is about that log's rooms."""
    return log.with_suffix(".moderation.json")


def _mute_key(room: str, user: str) -> str:
    """A mute's key with the keeper, where a user's name may not stand."""
    return f"mute.{room}.{hashlib.sha256(_member(room, user)[1].encode()).hexdigest()[:32]}"


def _member(room: str, user: str) -> tuple[str, str]:
    return room, user.strip().casefold()
