"""The folder for histories, tokens and rights, and the runtime file of the user's local server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from traitlets import Unicode

from bqserver.errors import StartError
from bqwidget.errors import LocalServerError
from bqwidget.local import data_folder, runtime_folder


def data_dir() -> Path:
    """``BQWIDGET_DATA_DIR``, else the platform's data folder of this user. It need not exist.

    Raises StartError if the user has no home folder, as some users in containers.
    """
    return _found(data_folder)


def runtime_file() -> Path:
    """Where the user's local server, which notebooks start, writes its address and token. Raises StartError."""
    return _found(runtime_folder) / "server.json"


def _found(folder: Callable[[], Path]) -> Path:
    try:
        return folder()
    except LocalServerError:
        raise StartError(
            "this user has no home folder: set BQWIDGET_DATA_DIR to a folder for the history and the token"
        ) from None


class DataFile(Unicode[str, str | bytes]):
    """A setting that names a file; by default ``name`` in the data folder, after ``scheme``.

    ``instead``: the name by default if that file exists, and nothing of the first one.
    """

    def __init__(self, name: str, *, help: str, scheme: str = "", instead: str = "") -> None:  # noqa: A002 - traitlets' name
        super().__init__(help=help)
        self._name = name
        self._scheme = scheme
        self._instead = instead

    def default(self, obj: Any = None) -> str:
        if obj is None:
            return ""
        path, other = data_dir() / self._name, data_dir() / self._instead
        return f"{self._scheme}{other if self._instead and other.exists() and not has_traces(path) else path}"


def has_traces(history: Path) -> bool:
    """Whether there is ``history``, or a file that a server keeps next to it, such as its closed rooms."""
    return any(history.parent.glob(f"{history.stem}.*"))


def local_history() -> Path:
    """The history of the user's local server."""
    return data_dir() / "local.sqlite"
