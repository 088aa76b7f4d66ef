"""A file of access rules whose last good state stays in effect while the file is missing, empty, cut off or faulty.

A copy of the last good contents is kept, so that this holds after a restart too. The copy begins with their SHA-256: a
damaged copy is never accepted. Removing rules on purpose is a command (``accept``), which changes the copy.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from bqserver.errors import AccessFileError
from bqserver.files import FileStamp, file_stamp, read_private, write_private

_log = logging.getLogger("bqserver.access")

_T = TypeVar("_T")


class AccessFormat(NamedTuple, Generic[_T]):
    """What a file holds. ``name``: the subcommand of ``bqserver`` for it. ``parse`` raises AccessFileError.

    ``empty``: contents without any rule. ``secret``: others may not read the file. ``narrow``: what two states both
    allow, for a format in which the beginning of a valid file can be valid.
    """

    name: str
    parse: Callable[[bytes], _T]
    empty: bytes
    secret: bool = True
    narrow: Callable[[_T, _T], _T] | None = None

    def has_rules(self, data: bytes) -> bool:
        return data.strip() not in (b"", self.empty)


class AccessFile(Generic[_T]):
    """The file ``path``, and the state in effect as ``value``. ``spare_folder``: see ``LastGoodCopy``.

    ``settling``: an edit that allows more is in effect only once the file stays unchanged until the next ``check``.
    ``problem``: why the file is not in effect as it is; empty if it is. Raises AccessFileError if the file can't be
    used, and its last good state is not known, or has no rules.
    """

    def __init__(self, path: Path, kind: AccessFormat[_T], *, spare_folder: Path | None = None) -> None:
        self.path = path
        self.settling = False
        self._kind = kind
        self._copy = LastGoodCopy(path, secret=kind.secret, spare_folder=spare_folder)
        self._stamps = self._read_stamps()
        self.problem = ""
        self._good: bytes | None = None
        self.value = self._good_value = self._fallback = kind.parse(kind.empty)
        """The state in effect, the last good one, and what is in effect if the file is lost now."""
        lost = self._adopt_copy()
        try:
            self._apply(settled=True)
        except AccessFileError as error:
            if self._good is None or not kind.has_rules(self._good):
                raise
            self._report(error)
        if lost is not None and self._good is None:
            raise AccessFileError(
                f"{path} is missing, and {lost}: restore the file, or run bqserver {kind.name} accept to go without it"
            )
        self._stamps[1:] = self._copy.stamps()

    @property
    def is_known(self) -> bool:
        """Whether there is, or ever was, such a file."""
        return self._good is not None

    def check(self, *, forced: bool = False) -> bool:
        """Read the file if it has changed, or if ``forced``. Returns whether ``value`` is another one now.

        A fault is logged; ``value`` is the last good state then.
        """
        stamps, before = self._read_stamps(), self._stamps
        if stamps == before and not forced and not self.settling:
            return False
        former = self.value
        if stamps[1:] != before[1:]:
            self._adopt_copy()
        try:
            self._apply(settled=forced or stamps == before)
        except AccessFileError as error:
            self._report(error, again=forced)
        else:
            if self.problem:
                _log.warning("%s is in effect again", self.path)
            self.problem = ""
        self._stamps = [stamps[0], *self._copy.stamps()]
        return self.value is not former

    def write(self, data: bytes) -> None:
        """Replace the file and its copy. What lies in place of the file and can't be used is moved aside.

        Raises AccessFileError if neither can be written.
        """
        self._set_good(data, self._kind.parse(data))
        is_kept = self._copy.write(data)
        if self.problem:
            self._move_aside()
        try:
            write_private(self.path, data)
        except AccessFileError as error:
            if not is_kept:
                raise
            self._report(error)
        else:
            self.problem = ""
        self._stamps = self._read_stamps()

    def _apply(self, *, settled: bool) -> None:
        """Put the file into effect. Raises AccessFileError if it can't be used; ``value`` is the last good state then."""
        kind, good = self._kind, self._good
        self.settling = False
        self.value = self._fallback
        data = read_private(self.path, secret=kind.secret)
        if good is not None and kind.has_rules(good) and not (data or b"").strip():
            raise AccessFileError(f"{self.path} is {'missing' if data is None else 'empty'}")
        if data is None:
            return
        try:
            value = self._good_value if data == good else kind.parse(data)
        except AccessFileError as error:
            raise AccessFileError(f"{self.path}: {error}") from None
        if kind.narrow is not None and good is not None and data != good:
            if len(data.rstrip()) < len(good.rstrip()) and good.startswith(data.rstrip()):
                self.value = kind.narrow(self._fallback, value)
                raise AccessFileError(f"{self.path} is cut off: it is the beginning of what it was")
            if not settled:  # the beginning of a file can allow more than the whole
                self.settling = True
                self.value = self._fallback = kind.narrow(self._good_value, value)
                return
        self._set_good(data, value)
        self._copy.write(data)

    def _set_good(self, data: bytes, value: _T) -> None:
        self._good = data
        self.value = self._good_value = self._fallback = value

    def _adopt_copy(self) -> AccessFileError | None:
        """Take over the copy, which a command or another server has written. Returns why it can't be used."""
        data, wrong = None, None
        try:
            data = self._copy.read()
            if data is not None and data != self._good:
                self._set_good(data, self._kind.parse(data))
        except AccessFileError as error:
            data, wrong = None, error
        if data is None and self._good is not None:
            self._copy.write(self._good)
        return wrong

    def _report(self, error: AccessFileError, *, again: bool = False) -> None:
        if again or str(error) != self.problem:
            remedy = f"correct it, or if this is intended run bqserver {self._kind.name} accept"
            sentence = f"{error}; the last good state stays in effect: {remedy}"
            _log.error(sentence)  # no arguments: another fault is no repetition (RepeatFilter)
        self.problem = str(error)

    def _move_aside(self) -> None:
        aside = self.path.with_name(f"{self.path.name}.faulty-{secrets.token_hex(3)}")
        with suppress(OSError):
            self.path.rename(aside)
            _log.warning("the faulty %s was moved to %s", self.path, aside)

    def _read_stamps(self) -> list[FileStamp | None]:
        return [file_stamp(self.path), *self._copy.stamps()]


class LastGoodCopy:
    """The last good contents of the file ``path``, in ``.NAME.last-good`` next to it.

    ``spare_folder``: where the copy is kept if the folder of ``path`` can't be written.
    """

    def __init__(self, path: Path, *, secret: bool, spare_folder: Path | None = None) -> None:
        self._path = path
        self._secret = secret
        self._places = [path.with_name(f".{path.name}.last-good")]
        if spare_folder is not None:
            folder = hashlib.sha256(bytes(path.absolute().parent)).hexdigest()[:12]
            self._places.append(spare_folder / f".{folder}.{path.name}.last-good")

    def read(self) -> bytes | None:
        """The contents kept; None if there never were any. Raises AccessFileError if they were damaged."""
        wrong = None
        for place in self._newest_first():
            try:
                data = self._read(place)
            except AccessFileError as error:
                wrong = wrong or error
            else:
                if data is not None:
                    return data
        if wrong is not None:
            raise AccessFileError(f"its last good state is lost: {wrong}")
        return None

    def write(self, data: bytes) -> bool:
        """Keep ``data`` where a copy was kept last, or in the first folder that can be written. Returns whether it is kept."""
        why: Exception | None = None
        for place in self._newest_first():
            with suppress(AccessFileError):
                if self._read(place) == data:
                    return True
            try:
                if place.is_dir():
                    place.rename(place.with_name(f"{place.name}.{secrets.token_hex(3)}"))
                write_private(place, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
            except (AccessFileError, OSError) as error:
                why = error
            else:
                return True
        _log.warning("the loss of %s could not be noticed after a restart: %s", self._path, why)
        return False

    def stamps(self) -> list[FileStamp | None]:
        return [file_stamp(place) for place in self._places]

    def _read(self, place: Path) -> bytes | None:
        found = read_private(place, secret=self._secret)
        if found is None:
            return None
        digest, _, data = found.partition(b"\n")
        if digest != hashlib.sha256(data).hexdigest().encode():
            raise AccessFileError(f"{place} is damaged")
        return data

    def _newest_first(self) -> list[Path]:
        return sorted(self._places, key=lambda place: file_stamp(place) or (0, 0, 0, 0), reverse=True)


def accept(path: Path, kind: AccessFormat[_T], *, spare_folder: Path | None = None) -> str:
    """Make the file as it is now the last good state: without any rule if it is missing or empty. Returns a sentence.

    Raises AccessFileError if it is faulty, or its copy can't be written.
    """
    data = read_private(path, secret=kind.secret)
    is_empty = not (data or b"").strip()
    good = kind.empty if data is None or is_empty else data
    try:
        kind.parse(good)
    except AccessFileError as error:
        raise AccessFileError(f"{path}: {error}") from None
    if not LastGoodCopy(path, secret=kind.secret, spare_folder=spare_folder).write(good):
        raise AccessFileError(f"the last good copy of {path} can't be written: run this as the user of the server")
    if is_empty:
        return f"{path} is {'missing' if data is None else 'empty'}: nothing of it is in effect any more"
    return f"{path} is in effect as it is"
