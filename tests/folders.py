"""The tests' folders lie in memory where that is large enough: a disk takes milliseconds for each fsync, a busy one more.

A pytest plugin, loaded by ``conftest.py``. Tests that measure time (``-m alone``) use the disk, as do those with
``--basetemp`` or PYTEST_DEBUG_TEMPROOT. A folder in memory is removed when all tests have passed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
MIN_FREE_BYTES = 4 << 30
TEMPROOT = "PYTEST_DEBUG_TEMPROOT"
REMOVED = pytest.StashKey[Path]()
"""What is removed at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest decides where its folders lie, in the process that decides it for those of pytest-xdist too."""
    chosen = config.option.basetemp or TEMPROOT in os.environ or config.option.markexpr == "alone"
    if not chosen and MEMORY.is_dir() and _is_suitable(os.statvfs(MEMORY)):
        os.environ[TEMPROOT] = str(MEMORY)


def _is_suitable(found: os.statvfs_result) -> bool:
    """Tests also run programs that they have written there, which containers often forbid."""
    return found.f_bavail * found.f_frsize >= MIN_FREE_BYTES and not found.f_flag & os.ST_NOEXEC


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    folder = session.config._tmp_path_factory._basetemp
    if folder is not None and folder.is_relative_to(MEMORY) and exitstatus == pytest.ExitCode.OK:
        session.config.stash[REMOVED] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    if REMOVED in config.stash and not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[REMOVED], ignore_errors=True)
