"""The folder for histories, tokens and rights, and the runtime file of the user's local server."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

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


def runtime_file() -> Path:
    """Where the user's local server, which notebooks start, writes its address and token (``bqwidget.local``)."""
    for variable, below in (("BQWIDGET_RUNTIME_DIR", "."), ("XDG_RUNTIME_DIR", "bqwidget")):
        if folder := os.environ.get(variable):
            return Path(folder) / below / "server.json"
    return data_dir() / "runtime" / "server.json"
