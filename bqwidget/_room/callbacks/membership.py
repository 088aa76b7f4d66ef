"""Membership: the Rooms of this kernel that are one member of a room, because they have its name, user and server."""

from __future__ import annotations

import os
from collections import OrderedDict
from hashlib import blake2b
from itertools import count
from secrets import token_bytes, token_hex
from typing import Any
from weakref import WeakSet

from bqwidget._threads.cells import current_cell, marimo_context

from .loop_guard import current_chain


class KernelMember:
    """Of one Room. It makes unpredictable cids and recognises those of all Rooms of this member.

    All members of a room can read cids, and may send any. ``separate``: a member of its own.
    """

    def __init__(self, server: str, room: str, user: str, *, separate: bool) -> None:
        context = marimo_context()
        session = "" if context is None else str(id(context))
        self.key = (session, server, room, user, token_hex(8) if separate else "")
        self._identity = "\0".join(self.key[2:])

    @property
    def kernel_id(self) -> str:
        """What all cids of this process have after their dot, before a signature."""
        return _process.id

    @property
    def id(self) -> str:
        """The same for all Rooms of this member, by which the server counts them as one."""
        return blake2b("\0".join(self.key).encode(errors="replace"), key=_process.key, digest_size=8).hexdigest()

    def make_cid(self) -> str:
        chain = current_chain()
        return self._sign(f"{next(_process.counter)}{chain.suffix if chain else ''}")

    def is_own(self, cid: str | None) -> bool:
        return cid is not None and cid == self._sign(cid.partition(".")[0])

    def note_typed(self, cid: str) -> None:
        """A person has typed the message ``cid`` in a window of this member."""
        _typed[self.key, cid] = None
        if len(_typed) > MAX_TYPED:
            _typed.popitem(last=False)

    def is_typed_here(self, cid: str | None) -> bool:
        return (self.key, cid) in _typed

    def _sign(self, number: str) -> str:
        text = f"{number}\0{self._identity}".encode(errors="replace")
        return f"{number}.{_process.id}{blake2b(text, key=_process.key, digest_size=6).hexdigest()}"


class _Process:
    """The id and the secret of this process, and the number of the next cid."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.id = token_hex(4)
        self.key = token_bytes(16)
        self.counter = count(1)


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.renew)

MAX_TYPED = 1000
"""The newest messages that are known to come from windows of this process."""
_typed: OrderedDict[tuple[tuple[str, ...], str | None], None] = OrderedDict()
_rooms: WeakSet[Any] = WeakSet()


def earlier_rooms(room: Any) -> list[Any]:
    """The other Rooms of the same member that called this too; none outside of notebooks, where code decides."""
    if current_cell() is None:
        return []
    found = [other for other in _rooms if other is not room and other._member.key == room._member.key]  # noqa: SLF001
    _rooms.add(room)
    return found
