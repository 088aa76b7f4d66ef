"""Who may do what, in which room: levels, and the readable file that grants them.

Pure: text in, rules out. The file is TOML, one table a room, one line a name::

    ["*"]                  # rooms without a table that fits better
    "*" = "write"          # everyone who was let in
    ada = "moderate"

    ["class-*"]            # rooms whose names begin so
    "*" = "read"

    [staff]
    "*" = "none"
    bob = "write"

Of the tables that fit a room, the closest one that names the person, or everyone, decides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping

from bqserver.errors import AccessFileError
from bqserver.model import Role
from bqwidget.protocol import ROOM_NAME, printable

EVERYONE = "*"


DEFAULT_ROLE = Role.WRITE
ROLE_NAMES = {level.name.lower(): level for level in Role}


class Permissions:
    """``rooms`` maps a room's name, or its beginning and ``*``, to the levels of names; ``*`` is everyone."""

    def __init__(self, rooms: Mapping[str, Mapping[str, Role]] | None = None) -> None:
        # The closest pattern first: an exact name, then the longest beginning.
        self._rooms = sorted((rooms or {}).items(), key=lambda room: (room[0].endswith("*"), -len(room[0])))

    def role(self, name: str | None, room: str) -> Role:
        """Of a verified ``name``, or (None) of those whose names nobody has verified."""
        for pattern, levels in self._rooms:
            if matches_room(pattern, room):
                level = levels.get(name) if name is not None else None
                level = levels.get(EVERYONE) if level is None else level
                if level is not None:
                    return level
        return DEFAULT_ROLE


def matches_room(pattern: str, room: str) -> bool:
    return room.startswith(pattern[:-1]) if pattern.endswith("*") else room == pattern


def check_room_patterns(patterns: Iterable[str]) -> None:
    """Raises AccessFileError for what can't be a room's name or the beginning of one."""
    for pattern in patterns:
        stem = pattern.removesuffix("*")
        if (stem or pattern == stem) and not ROOM_NAME.fullmatch(stem):
            raise AccessFileError(
                f"{printable(pattern)} is no room: give a name, a beginning such as class-*, or *"
            )


def parse_permissions(text: str) -> Permissions:
    """The rules in ``text``. Raises AccessFileError, naming what is wrong."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AccessFileError(f"not TOML: {error}") from None
    check_room_patterns(told)
    rooms: dict[str, dict[str, Role]] = {}
    for room, names in told.items():
        if not isinstance(names, dict):
            raise AccessFileError(
                f'{printable(room)} must be a table of names: [{room}] and then "*" = "read"'
            )
        rooms[room] = {name: _parse_role(room, name, word) for name, word in names.items()}
    return Permissions(rooms)


def _parse_role(room: str, name: str, word: object) -> Role:
    if not isinstance(word, str) or word not in ROLE_NAMES:
        given = printable(word) if isinstance(word, str) else str(type(word).__name__)
        raise AccessFileError(
            f"[{room}] {printable(name)}: {given} is no right; it must be one of {', '.join(ROLE_NAMES)}"
        )
    return ROLE_NAMES[word]
