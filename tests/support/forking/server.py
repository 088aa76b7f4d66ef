"""The ``bqserver`` command in a process of its own, forked from one that has imported it already (template.py).

Python's start and the imports take 0.4 s of a core; the fork takes 0.01 s. On other systems than Linux it is started anew.
"""

from __future__ import annotations

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
COMMAND = [sys.executable, "-m", "bqserver"]
TEMPLATE = Path(__file__).with_name("template.py")
_request_lock = threading.Lock()


def start(*arguments: str, uid: int = 0, **options: Any) -> subprocess.Popen[str]:
    """``bqserver ARGUMENTS``, with ``Popen``'s options; ``uid``: as another user, who need not be able to read our files."""
    if sys.platform == "linux":
        return ForkedServer(*arguments, uid=uid, **options)
    return subprocess.Popen([*COMMAND, *arguments], text=True, user=uid or None, **options)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """``bqserver ARGUMENTS`` until it exits, with its output; ``options`` are ``Popen``'s."""
    with start(*map(str, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            output, errors = process.communicate()
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@cache
def _template(path: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that forks for this one, with a value of PYTHONPATH, and the socket for its requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, TEMPLATE, str(number)]
        return ours, subprocess.Popen(command, pass_fds=[number], env={**os.environ, "PYTHONPATH": path})


class ForkedServer(subprocess.Popen[str]):
    """Takes its pid and its exit status from the template, instead of from the system."""

    def __init__(self, *arguments: str, uid: int, **options: Any) -> None:
        self._uid = uid
        self._exit_status = -1
        super().__init__([*COMMAND, *arguments], text=True, **options)

    def _execute_child(self, *received) -> None:
        args, _, _, _, _, cwd, env, *_ = received
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, _, _, _, _, umask, _, _ = received[10:]
        request = {
            "arguments": args[len(COMMAND) :],
            "environ": dict(os.environ if env is None else env),
            "folder": os.fspath(cwd or Path.cwd()),
            "umask": umask,
            "uid": self._uid,
        }
        self._exit_status, status = os.pipe()
        output = 1 if c2pwrite == -1 else c2pwrite
        errors = 2 if errwrite == -1 else errwrite
        with _request_lock:
            requests, _process = _template(request["environ"].get("PYTHONPATH", ""))
            socket.send_fds(requests, [json.dumps(request).encode()], [output, errors, status])
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
