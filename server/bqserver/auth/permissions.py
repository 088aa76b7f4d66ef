"""Roles of members in rooms, as configured in a TOML file: one table per room, one line per name.

::

    ["*"]                  # rooms without a more specific table
    "*" = "write"          # every member
    ada = "moderate"

    ["class-*"]            # rooms whose names begin with "class-"
    "*" = "read"

    [staff]
    "*" = "none"
    bob = "write"

The most specific table that matches the room and has a line for the name or for ``*`` decides. Pure: text in, rules
out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping

from bqserver.errors import AccessFileError
from bqserver.model import Role
from bqwidget.protocol import ROOM_NAME, printable

EVERYONE = "*"


DEFAULT_ROLE = Role.WRITE
ROLE_NAMES = {role.name.lower(): role for role in Role}


class Permissions:
    """``rooms`` maps room patterns (a name, or a prefix and ``*``) to the roles of names; the name ``*`` is everyone."""

    def __init__(self, rooms: Mapping[str, Mapping[str, Role]] | None = None) -> None:
        # The most specific pattern first: an exact name, then the longest prefix.
        self._rooms = sorted((rooms or {}).items(), key=lambda room: (room[0].endswith("*"), -len(room[0])))

    def role(self, name: str | None, room: str) -> Role:
        """The role of a verified ``name``, or (None) of members with self-asserted names."""
        for pattern, roles in self._rooms:
            if matches_room(pattern, room):
                role = roles.get(name) if name is not None else None
                role = roles.get(EVERYONE) if role is None else role
                if role is not None:
                    return role
        return DEFAULT_ROLE


class NarrowedPermissions(Permissions):
    """What two sets of permissions both allow."""

    def __init__(self, one: Permissions, other: Permissions) -> None:
        self._both = one, other

    def role(self, name: str | None, room: str) -> Role:
        one, other = self._both
        return min(one.role(name, room), other.role(name, room))


def matches_room(pattern: str, room: str) -> bool:
    return room.startswith(pattern[:-1]) if pattern.endswith("*") else room == pattern


def check_room_patterns(patterns: Iterable[str]) -> None:
    """Raises AccessFileError unless each is a room's name, or a prefix of one and ``*``."""
    for pattern in patterns:
        stem = pattern.removesuffix("*")
        if (stem or pattern == stem) and not ROOM_NAME.fullmatch(stem):
            raise AccessFileError(f"{printable(pattern)} is not a room: give a name, a prefix such as class-*, or *")


def parse_permissions(text: str) -> Permissions:
    """Parse TOML. Raises AccessFileError, which names the faulty line."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AccessFileError(f"not TOML: {error}") from None
    check_room_patterns(tables)
    rooms: dict[str, dict[str, Role]] = {}
    for room, names in tables.items():
        if not isinstance(names, dict):
            raise AccessFileError(f'{printable(room)} must be a table of names: [{room}] and then "*" = "read"')
        rooms[room] = {name: _parse_role(room, name, word) for name, word in names.items()}
    return Permissions(rooms)


def _parse_role(room: str, name: str, word: object) -> Role:
    if not isinstance(word, str) or word not in ROLE_NAMES:
        given = printable(word) if isinstance(word, str) else str(type(word).__name__)
        raise AccessFileError(f"[{room}] {printable(name)}: {given} is not a role; use one of {', '.join(ROLE_NAMES)}")
    return ROLE_NAMES[word]
