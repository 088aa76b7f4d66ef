"""The files written by the release 938af9b, what it served from them, and the present command started on a copy."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bqserver.testing import running_server
from support.forking.server import run
from support.paths import TESTS

RELEASE = TESTS / "fixtures" / "release_938af9b"
CLEARED_VARIABLES = ("BQWIDGET_URL", "BQWIDGET_TOKEN", "BQSERVER_TOKEN", "PORT")
"""Variables of a developer's shell that would change which server the command uses."""


def expected() -> dict[str, Any]:
    return json.loads((RELEASE / "expected.json").read_text())


def pinned_names() -> dict[str, Any]:
    return json.loads((RELEASE / "names.json").read_text())


def unpack(name: str, folder: Path) -> Path:
    """``home`` (the folders ``data`` and ``runtime``) or ``streams`` (the folder ``jetstream``), with their modes."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(RELEASE / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def bqserver(data: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a subcommand to its end, with ``data`` as the data folder."""
    return run(*words, env={**os.environ, "BQWIDGET_DATA_DIR": str(data)})


@contextmanager
def serving(data: Path, log: str, **traits: Any) -> Iterator[str]:
    """The URL of a server that reads its token, tokens and rights from ``data`` under their default names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BQWIDGET_DATA_DIR", str(data))
        for name in CLEARED_VARIABLES:
            patch.delenv(name, raising=False)
        with running_server(log=log, **traits) as server:
            yield server.url
