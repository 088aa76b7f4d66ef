"""A bqserver in a process of its own: to be killed, frozen, starved and started again on the same port."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.ports import free_port

MODULE = ("-m", "bqserver")


class ServerProcess:
    """``start`` it and ``kill`` it as often as you like. ``program`` stands for ``-m bqserver``, ``prefix``
    goes before the interpreter (taskset), ``environ`` is added to the environment.
    """

    def __init__(
        self,
        log: str,
        *options: str,
        program: tuple[str, ...] = MODULE,
        prefix: tuple[str, ...] = (),
        environ: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = (f"--port={self.port}", "--open", f"--log={log}", *options)
        self._command = [*prefix, sys.executable, *program, *arguments]
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - ``close`` closes it

    def complaints(self) -> str:
        """Everything it wrote to stderr since it was first started: tracebacks, if it has any."""
        self._errors.seek(0)
        return self._errors.read()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "listening" in line, f"{self._command} did not start: {self.complaints()}"

    def kill(self) -> None:
        """As a crash: SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> tuple[int, str]:
        """As an operator: SIGTERM. Returns the exit code and what it still said."""
        return self._end(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """For good."""
        if self.running:
            self.kill()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()  # of one that never listened
        self._errors.close()

    def _end(self, number: int) -> tuple[int, str]:
        process = self._process
        assert process is not None
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
        return process.returncode, said


@contextlib.contextmanager
def server_process(log: str | Path, *options: str, **more: object) -> Iterator[ServerProcess]:
    """A started one, killed at the end if it still runs. ``log``: a path, or a log's URL."""
    server = ServerProcess(f"sqlite:{log}" if isinstance(log, Path) else log, *options, **more)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.close()
