"""The file with the shared token of a server: one line, mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bqserver.errors import AccessFileError
from bqserver.files import make_folder, open_private, read_private


def read_token(path: Path) -> str:
    """The token in ``path``. Raises AccessFileError if the file is missing, empty, or readable by others."""
    data = read_private(path)
    if data is None:
        raise AccessFileError(f"the token file {path} does not exist: create it with a long random word, mode 0600")
    token = data.decode(errors="replace").strip()
    if not token:
        raise AccessFileError(f"the token file {path} is empty: put a long random word into it")
    return token


def read_or_create_token(path: Path) -> str:
    """The token in ``path``, created on first use: 256 random bits, mode 0600 in a folder of mode 0700.

    Raises AccessFileError.
    """
    try:
        make_folder(path.parent)
        descriptor = open_private(path, os.O_WRONLY | os.O_EXCL)
    except FileExistsError:
        return read_token(path)
    except OSError as error:
        raise AccessFileError(
            f"{path} can't be written ({error.strerror}): name a token file with --token-file=FILE"
        ) from error
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token
