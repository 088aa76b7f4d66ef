"""The runtime file: where a server listens and what lets its owner in, for ``bqwidget.local`` to find."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bqserver.errors import StartError


@contextmanager
def telling(path: str, url: str, token: str | None) -> Iterator[None]:
    """As long as it listens; ``path`` may be empty. Raises StartError where it can't be written."""
    if path:
        _write(Path(path), url, token)
    try:
        yield
    finally:
        if path:
            _remove(Path(path))


def _write(path: Path, url: str, token: str | None) -> None:
    """Whole or not at all, and for its owner's eyes only."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise StartError(f"the runtime file {path} can't be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "pid": os.getpid(), "token": token}, file)
    part.replace(path)


def _remove(path: Path) -> None:
    """Unless it is a newer server's by now."""
    try:
        if json.loads(path.read_text())["pid"] == os.getpid():
            path.unlink()
    except (OSError, ValueError, KeyError):
        pass
