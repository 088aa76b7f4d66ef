"""bqserver in a subprocess, to be killed, stopped and restarted on the same port."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.forking.server import start
from support.ports import free_port

MODULE = ("-m", "bqserver")


class ServerProcess:
    """Can be started and killed repeatedly. ``program`` replaces ``-m bqserver``, ``prefix`` precedes the
    interpreter (taskset), ``environ`` is added to the environment.
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
        self._arguments = arguments
        self._command = [*prefix, sys.executable, *program, *arguments]
        self._forks = program == MODULE and not prefix and "LD_PRELOAD" not in (environ or {})
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - ``close`` closes it

    def stderr_output(self) -> str:
        """Everything written to stderr since the first start, such as tracebacks."""
        # Not seek and read: the server writes at the same position of the file, and would overwrite its first lines.
        number = self._errors.fileno()
        return os.pread(number, os.fstat(number).st_size, 0).decode()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server; returns when it listens."""
        options = {"env": self._environ, "stdout": subprocess.PIPE, "stderr": self._errors, "bufsize": 1}
        self._process = (
            start(*self._arguments, **options) if self._forks else subprocess.Popen(self._command, text=True, **options)
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "listening" in line, f"{self._command} did not start: {self.stderr_output()}"

    def kill(self) -> None:
        """Simulate a crash: send SIGKILL and wait for the exit."""
        self._end(signal.SIGKILL)

    def stop(self) -> tuple[int, str]:
        """Stop as an operator does, by SIGTERM. Returns the exit code and the rest of stdout."""
        return self._end(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Kill the server if it runs, and release its files."""
        if self.running:
            self.kill()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()  # left open if start failed
        self._errors.close()

    def _end(self, number: int) -> tuple[int, str]:
        process = self._process
        assert process is not None
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
        return process.returncode, output


@contextlib.contextmanager
def server_process(log: str | Path, *options: str, **arguments: object) -> Iterator[ServerProcess]:
    """A started server, killed at exit if it still runs. ``log``: a path, or a log's URL."""
    server = ServerProcess(f"sqlite:{log}" if isinstance(log, Path) else log, *options, **arguments)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.close()
