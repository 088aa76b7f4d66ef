"""Processes that a test started or found; the ``bqserver`` command in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def bqserver(
    *args: str, stdout: int | IO[str] = subprocess.PIPE, stderr: int | IO[str] = subprocess.PIPE, **env: str
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bqserver", *args],
        stdout=stdout,
        stderr=stderr,
        text=True,
        env={**os.environ, **env},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def listening(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline()
    found = re.fullmatch(r"bqserver listening on (http://127\.0\.0\.1:\d+)\n", line)
    assert found, (line, process.stderr.read())
    return found[1]


def run_to_exit(*args: str, **env: str) -> tuple[int, str]:
    with bqserver(*args, **env) as process:
        out, err = process.communicate(timeout=20)
        assert out == ""
        assert "Traceback" not in err
        return process.returncode, err
