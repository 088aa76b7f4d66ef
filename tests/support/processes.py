"""Processes that a test started or found; the ``bqserver`` command in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from support.eventually import eventually
from support.forking.server import start
from support.ws_client import Answer, request

OTHER_UID = 4711
"""A user of this machine without a name, as a container or a systemd service with DynamicUser has."""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def stop_local_server(runtime: Path) -> None:
    """Stop the servers whose runtime files are in ``runtime``, and wait until they have exited."""
    for file in runtime.glob("server*.json"):
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = json.loads(file.read_text())["pid"]
            os.kill(pid, signal.SIGTERM)
            eventually(partial(lambda pid: not is_running(pid), pid), what=f"the end of the local server {pid}")


@contextmanager
def bqserver(
    *args: str, stdout: int | IO[str] = subprocess.PIPE, stderr: int | IO[str] = subprocess.PIPE, **env: str
) -> Iterator[subprocess.Popen[str]]:
    process = start(*args, stdout=stdout, stderr=stderr, env={**os.environ, **env})
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
        out, err = process.communicate(timeout=60)
        assert out == ""
        assert "Traceback" not in err
        return process.returncode, err


class ServerProcess:
    """A running ``bqserver``. ``url``: its address."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[bytes]) -> None:
        self.process = process
        self._errors = errors
        line = (process.stdout and process.stdout.readline()) or ""
        assert "listening on" in line, f"the server did not start: {self.log()}"
        self.url = line.split()[-1]

    def log(self) -> str:
        """What the server has written to standard error."""
        # Not seek and read: the server writes at the same position of the file, and would overwrite its first lines.
        number = self._errors.fileno()
        return os.pread(number, os.fstat(number).st_size, 0).decode()

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str) -> Answer:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return request(self.url, method, path, body, **headers)

    def stop(self) -> None:
        """Stop it by SIGTERM, which must end it within 20 s, with exit status 0."""
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log()


@contextmanager
def server_process(*args: str, uid: int = 0, umask: int = -1, **environ: str) -> Iterator[ServerProcess]:
    """A ``bqserver`` on a free port in a process of its own; stopped at the end, if the test has not done so."""
    options = {"stdout": subprocess.PIPE, "uid": uid, "umask": umask, "env": {**os.environ, **environ}}
    with tempfile.TemporaryFile(buffering=0) as errors, start("--port=0", *args, stderr=errors, **options) as process:
        try:
            server = ServerProcess(process, errors)
            yield server
            if process.poll() is None:
                server.stop()
        finally:
            process.kill()
