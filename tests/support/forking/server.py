"""bqserver and Jupyter in processes of their own, forked from one that has imported them already (template.py).

Python's start and the imports take 0.5 s of a core for bqserver, 1.3 s for JupyterLab; the fork takes 0.01 s. On other
systems than Linux each is a new process of Python.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

STATUS = struct.Struct("=i")
CODE = "import importlib, sys; importlib.import_module(sys.argv.pop(1)).main(sys.argv[1:])"
TEMPLATE = Path(__file__).with_name("template.py")
_request_lock = threading.Lock()


def start(*arguments: str, module: str = "bqserver.app", uid: int = 0, **options: Any) -> subprocess.Popen[str]:
    """``bqserver ARGUMENTS``, with ``Popen``'s options; ``uid``: as another user, who need not be able to read our files.

    ``module``: the one with the function ``main``; ``jupyterlab.labapp``, ``jupyter_server.serverapp``, ``notebook.app``.
    """
    command = [sys.executable, "-c", CODE, module, *arguments]
    if sys.platform == "linux":
        return ForkedServer(command, uid=uid, **options)
    return subprocess.Popen(command, text=True, user=uid or None, **options)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """``bqserver ARGUMENTS`` until it exits, with its output; ``options`` are ``Popen``'s."""
    with start(*map(str, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            output, errors = process.communicate()
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@cache
def _template(kind: str, path: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that forks for this one, with a value of PYTHONPATH, and the socket for its requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, TEMPLATE, kind, str(number)]
        process = subprocess.Popen(command, pass_fds=[number], env={**os.environ, "PYTHONPATH": path})
    atexit.register(_end, ours, process, os.getpid())
    return ours, process


def _end(requests: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:  # not in a copy of it that a test has forked
        requests.close()
        process.kill()
        process.wait()


class ForkedServer(subprocess.Popen[str]):
    """Takes its pid and its exit status from the template, instead of from the system."""

    def __init__(self, command: list[str], *, uid: int, **options: Any) -> None:
        self._uid = uid
        self._exit_status = -1
        super().__init__(command, text=True, **options)

    def _execute_child(self, *received) -> None:
        args, _, _, _, _, cwd, env, *_ = received
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, _, _, _, _, umask, _, _ = received[10:]
        _python, _option, _code, module, *arguments = map(os.fspath, args)
        request = {
            "module": module,
            "arguments": arguments,
            "environ": dict(os.environ if env is None else env),
            "folder": os.fspath(cwd or Path.cwd()),
            "umask": umask,
            "uid": self._uid,
        }
        self._exit_status, status = os.pipe()
        given = (p2cread, c2pwrite, errwrite)
        streams = [number if stream == -1 else stream for number, stream in enumerate(given)]
        kind = "bqserver" if module.startswith("bqserver") else "jupyter"
        with _request_lock:
            requests, _process = _template(kind, request["environ"].get("PYTHONPATH", ""))
            socket.send_fds(requests, [json.dumps(request).encode()], [*streams, status])
            (self.pid,) = STATUS.unpack(requests.recv(STATUS.size))
        self._child_created = True
        os.close(status)
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags == os.WNOHANG and not select.select([self._exit_status], [], [], 0)[0]:
            return 0, 0
        (status,) = STATUS.unpack(os.read(self._exit_status, STATUS.size))
        os.close(self._exit_status)
        return self.pid, status

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode
