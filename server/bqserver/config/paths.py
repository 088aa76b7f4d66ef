"""The folder for histories, tokens and rights, and the runtime file of the user's local server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from traitlets import Unicode

from bqserver.errors import StartError


def data_dir() -> Path:
    """``BQWIDGET_DATA_DIR``, else the platform's data folder of this user. It need not exist.

    Raises StartError if the user has no home folder, as some users in containers.
    """
    if folder := os.environ.get("BQWIDGET_DATA_DIR"):
        return Path(folder)
    try:
        return user_data_path("bqwidget", appauthor=False).expanduser()  # older platformdirs leave the ~
    except RuntimeError:
        raise StartError(
            "this user has no home folder: set BQWIDGET_DATA_DIR to a folder for the history and the token"
        ) from None


class DataFile(Unicode[str, str | bytes]):
    """A setting that names a file; by default ``name`` in the data folder, after ``scheme``."""

    def __init__(self, name: str, *, help: str, scheme: str = "") -> None:  # noqa: A002 - traitlets' name
        super().__init__(help=help)
        self._name = name
        self._scheme = scheme

    def default(self, obj: Any = None) -> str:
        return "" if obj is None else f"{self._scheme}{data_dir() / self._name}"


def runtime_file() -> Path:
    """Where the user's local server, which notebooks start, writes its address and token (``bqwidget.local``)."""
    for variable, below in (("BQWIDGET_RUNTIME_DIR", "."), ("XDG_RUNTIME_DIR", "bqwidget")):
        if folder := os.environ.get(variable):
            return Path(folder) / below / "server.json"
    return data_dir() / "runtime" / "server.json"
