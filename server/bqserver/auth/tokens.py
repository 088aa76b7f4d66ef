"""Named tokens: a readable file with each token's holder, rooms and expiry.

A token is 256 random bits, printed once when it is created. The file keeps only its SHA-256, which does not grant
access: a stolen copy of the file is useless.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from bqserver.errors import AccessFileError, StorageError
from bqserver.files import LockFile
from bqserver.model import Role
from bqwidget.protocol import INVISIBLE, Limits, Struct, is_visible, printable

from .access_file import AccessFile, AccessFormat
from .permissions import check_room_patterns, matches_room

TOKEN_PREFIX = "bq_"  # noqa: S105 - not a secret
"""Lets scanners recognise tokens in published files."""


class Grant(Struct, frozen=True, forbid_unknown_fields=True):
    """One named token. ``rooms``: patterns of the rooms it is valid in; empty: all rooms that ``name`` may enter.

    ``made``, ``expires`` and ``revoked`` are times. A revoked grant stays in the file, so that its name stays reserved.
    """

    id: str
    name: str
    sha256: str
    made: datetime
    rooms: tuple[str, ...] = ()
    read_only: bool = False
    expires: datetime | None = None
    revoked: datetime | None = None
    kind: Literal["agent"] | None = None
    """``agent``: the holder is shown as one, whatever their client says."""

    def max_role(self, room: str) -> Role:
        """Upper bound on the role in ``room``, in addition to the holder's permissions."""
        if self.rooms and not any(matches_room(pattern, room) for pattern in self.rooms):
            return Role.NONE
        return Role.READ if self.read_only else Role.MODERATE

    def expires_at(self) -> float | None:
        """Seconds since the epoch."""
        return None if self.expires is None else self.expires.timestamp()

    def __repr__(self) -> str:
        return f"Grant({self.id}, {printable(self.name)})"


class Grants:
    """The grants of a file, indexed by token, id and name."""

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self.all = tuple(grants)
        self._by_digest = {grant.sha256: grant for grant in self.all}
        self._by_id = {grant.id: grant for grant in self.all}
        self._names = {normalize_name(grant.name) for grant in self.all}

    def find_by_token(self, token: str) -> Grant | None:
        # The lookup is by digest, so its duration reveals nothing about any token.
        digest = sha256_hex(token)
        grant = self._by_digest.get(digest)
        return grant if grant is not None and hmac.compare_digest(grant.sha256, digest) else None

    def find_by_id(self, grant_id: str) -> Grant | None:
        return self._by_id.get(grant_id)

    def has_name(self, name: str) -> bool:
        """Whether ``name`` belongs to the holder of a grant, so that others may not assert it."""
        return bool(self._names) and normalize_name(name) in self._names


def normalize_name(name: str) -> str:
    """``name`` without case, width and invisible characters: equal for names that look equal."""
    visible = INVISIBLE.sub("", unicodedata.normalize("NFKC", name))
    visible = "".join(one for one in visible if one.isprintable())
    return " ".join(visible.split()).casefold()


def sha256_hex(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def parse_grants(data: bytes) -> Grants:
    """Parse JSON. Raises AccessFileError, which names the faulty field."""
    try:
        grants = msgspec.json.decode(data, type=list[Grant])
    except (msgspec.DecodeError, RecursionError) as error:
        raise AccessFileError(f"not a list of tokens: {error}") from None
    for grant in grants:
        check_room_patterns(grant.rooms)
        if any(time is not None and time.tzinfo is None for time in (grant.made, grant.expires, grant.revoked)):
            raise AccessFileError(f"token {grant.id}: times need a zone, such as 2027-01-31T12:00:00Z")
    return Grants(grants)


TOKENS = AccessFormat("token", parse_grants, b"[]")
"""The file of named tokens."""


def add_grant(
    path: Path,
    name: str,
    *,
    rooms: Iterable[str] = (),
    read_only: bool = False,
    expires: datetime | None = None,
    kind: Literal["agent"] | None = None,
    spare_folder: Path | None = None,
) -> tuple[str, Grant]:
    """Create a token for ``name`` and add its grant to the file. The token itself is only returned, not stored.

    Raises AccessFileError.
    """
    limit = Limits().user
    if name != name.strip() or not name.isprintable() or not 0 < len(name) <= limit or not is_visible(name):
        raise AccessFileError(
            f"{printable(name)} is not a name: use 1 to {limit} printable characters, no space at either end"
        )
    check_room_patterns(rooms)
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    grant = Grant(
        id=secrets.token_hex(4),
        name=name,
        sha256=sha256_hex(token),
        made=_now(),
        rooms=tuple(rooms),
        read_only=read_only,
        expires=expires,
        kind=kind,
    )
    with _locked(path):
        file = AccessFile(path, TOKENS, spare_folder=spare_folder)
        _write_grants(file, (*file.value.all, grant))
    return token, grant


def revoke_grants(path: Path, name_or_id: str, *, spare_folder: Path | None = None) -> list[Grant]:
    """Revoke every valid token of a name, or the one with an id. Raises AccessFileError if there is none."""
    with _locked(path):
        file = AccessFile(path, TOKENS, spare_folder=spare_folder)
        grants = file.value.all
        found = [grant for grant in grants if name_or_id in (grant.name, grant.id) and grant.revoked is None]
        if not found:
            raise AccessFileError(
                f"{printable(name_or_id)} has no token that could be revoked: see bqserver token list"
            )
        now = _now()
        ended = {grant.id: msgspec.structs.replace(grant, revoked=now) for grant in found}
        _write_grants(file, [ended.get(grant.id, grant) for grant in grants])
    return list(ended.values())


def read_grants(path: Path, *, spare_folder: Path | None = None) -> Grants:
    """The grants in ``path``; none if it does not exist. Raises AccessFileError if others can read it, or it is faulty."""
    file = AccessFile(path, TOKENS, spare_folder=spare_folder)
    if file.problem:
        raise AccessFileError(file.problem)
    return file.value


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a second command from changing the file at the same time: one change would be lost."""
    try:
        lock = LockFile(path)
    except StorageError as error:
        raise AccessFileError(f"{path} can't be changed, or another command is changing it: try again") from error
    try:
        yield
    finally:
        lock.release()


def _write_grants(file: AccessFile[Grants], grants: Iterable[Grant]) -> None:
    file.write(msgspec.json.format(msgspec.json.encode(list(grants)), indent=2) + b"\n")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
