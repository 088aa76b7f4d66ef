"""ModerationState: closed rooms, and members who are muted for a while.

The state is kept in a small JSON file next to the log; a log in memory has no file, and the state ends with it. The
nodes of a cluster share the state through a store of keys and values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from bqserver.errors import AccessFileError
from bqwidget.protocol import Struct

from .access_file import AccessFile, AccessFormat

MAX_MUTES, MAX_CLOSED_ROOMS = 1_000, 10_000
"""All are written to the file with each change."""


class Mute(Struct, frozen=True):
    """``user`` may not write in ``room``; ``until`` in seconds since the epoch, None: until it is lifted."""

    room: str
    user: str
    by: str
    until: float | None = None


class _State(Struct, frozen=True):
    closed: dict[str, str] = msgspec.field(default_factory=dict)
    """Room to the moderator who closed it."""
    mutes: tuple[Mute, ...] = ()


def _parse_state(data: bytes) -> _State:
    try:
        return msgspec.json.decode(data, type=_State)
    except msgspec.DecodeError as error:
        raise AccessFileError(f"not what bqserver wrote ({error}): correct it") from None


MODERATION = AccessFormat("moderation", _parse_state, b"{}")
"""The file of closed rooms and mutes."""


class ModerationStore(Protocol):
    """Keeps the newest value of each key for all nodes of a cluster; nodes get changes by ``ModerationState.apply``."""

    async def put(self, key: str, value: bytes) -> None:
        """Store durably. Raises StorageError."""


class ModerationState:
    """``path``: the state's file, read once; None for no file. ``clock`` gives seconds since the epoch.

    Users' names are compared without regard to case. Raises AccessFileError if the file can't be used.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._file = None if path is None else AccessFile(path, MODERATION)
        self._clock = clock
        self.store: ModerationStore | None = None
        self._unflushed: list[tuple[str, bytes]] = []
        self._closed: dict[str, str] = {}
        self._mutes: dict[tuple[str, str], Mute] = {}
        if path is not None and self._file is not None:
            is_new = not self._file.is_known
            state = (AccessFile(_former_path(path), MODERATION) if is_new else self._file).value
            self._closed = dict(state.closed)
            self._mutes = {_member(mute.room, mute.user): mute for mute in state.mutes}

    def is_closed(self, room: str) -> bool:
        return room in self._closed

    def find_mute(self, room: str, user: str) -> Mute | None:
        """The mute in force, if any."""
        if not self._mutes:
            return None  # the usual case when a message is sent
        key = _member(room, user)
        mute = self._mutes.get(key)
        if mute is not None and mute.until is not None and mute.until <= self._clock():
            del self._mutes[key]
            return None
        return mute

    def mutes(self, room: str) -> list[Mute]:
        """The mutes in force in ``room``, by name."""
        found = [
            one for one in self._mutes.values() if one.room == room and (one.until is None or one.until > self._clock())
        ]
        return sorted(found, key=lambda one: one.user)

    def why_full(self, *, closing: bool) -> str | None:
        """Why no further room can be closed, or no further member muted; None: one can."""
        if closing:
            full = len(self._closed) >= MAX_CLOSED_ROOMS
            return f"{MAX_CLOSED_ROOMS:,} rooms are closed, which is the limit: reopen one first" if full else None
        if len(self._mutes) >= MAX_MUTES:
            now = self._clock()
            self._mutes = {key: one for key, one in self._mutes.items() if one.until is None or one.until > now}
        full = len(self._mutes) >= MAX_MUTES
        return f"{MAX_MUTES:,} members are muted, which is the limit: unmute one first" if full else None

    def close(self, room: str, by: str) -> None:
        self._closed[room] = by
        self._save(f"closed.{room}", msgspec.json.encode(by))

    def reopen(self, room: str) -> None:
        self._closed.pop(room, None)
        self._save(f"closed.{room}", _REMOVED)

    def mute(self, mute: Mute) -> None:
        self._mutes[_member(mute.room, mute.user)] = mute
        self._save(_mute_key(mute.room, mute.user), msgspec.json.encode(mute))

    def unmute(self, room: str, user: str) -> None:
        self._mutes.pop(_member(room, user), None)
        self._save(_mute_key(room, user), _REMOVED)

    def export_values(self) -> list[tuple[str, bytes]]:
        """The current state as keys and values of a ``ModerationStore``."""
        closed = [(f"closed.{room}", msgspec.json.encode(by)) for room, by in self._closed.items()]
        mutes = [one for one in self._mutes.values() if one.until is None or one.until > self._clock()]
        return closed + [(_mute_key(mute.room, mute.user), msgspec.json.encode(mute)) for mute in mutes]

    async def flush(self) -> None:
        """Wait until all changes made here are in the store, if there is one. Raises StorageError."""
        while self.store is not None and self._unflushed:
            await self.store.put(*self._unflushed[0])
            self._unflushed.pop(0)

    def apply(self, key: str, value: bytes) -> None:
        """Take over a value from the store, whichever node set it."""
        kind, room, *_ = key.split(".")
        try:
            if kind == "closed":
                by = msgspec.json.decode(value, type=str | None)
                self._closed.pop(room, None)
                if by is not None:
                    self._closed[room] = by
            else:
                mute = msgspec.json.decode(value, type=Mute | None)
                lifted = [member for member, one in self._mutes.items() if _mute_key(one.room, one.user) == key]
                for member in lifted:
                    del self._mutes[member]
                if mute is not None:
                    self._mutes[_member(mute.room, mute.user)] = mute
        except msgspec.DecodeError:
            return  # not written by bqserver

    def _save(self, key: str, value: bytes) -> None:
        if self.store is not None:
            self._unflushed.append((key, value))
        if self._file is not None:
            self._file.write(self._encode())

    def write_file(self, path: Path) -> None:
        """Replace the file at ``path``. Raises AccessFileError."""
        AccessFile(path, MODERATION).write(self._encode())

    def _encode(self) -> bytes:
        if not self._closed and not self._mutes:
            return MODERATION.empty + b"\n"
        state = _State(closed=self._closed, mutes=tuple(self._mutes.values()))
        return msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"


_FILE_SUFFIX = "-moderation.json"
_REMOVED = b"null"
"""The value of a key in the store that no longer applies."""


def moderation_path(log: Path) -> Path:
    """The moderation file of a SQLite log: its own, also if another log differs only in what follows the last dot."""
    if log.suffix == ".sqlite":
        return log.with_suffix(".moderation.json")
    return log.with_name(f"{log.name}{_FILE_SUFFIX}")


def _former_path(path: Path) -> Path:
    """Where an earlier release kept the file that is now at ``path``."""
    log = path.name.removesuffix(_FILE_SUFFIX)
    return path if log == path.name else path.with_name(log).with_suffix(".moderation.json")


def _mute_key(room: str, user: str) -> str:
    """The key of a mute in the store. Keys can't contain a user's name, so it is hashed."""
    return f"mute.{room}.{hashlib.sha256(_member(room, user)[1].encode()).hexdigest()[:32]}"


def _member(room: str, user: str) -> tuple[str, str]:
    return room, user.strip().casefold()
