"""A process that has imported ``bqserver`` and forks a copy of itself for each command that a test starts.

A script: its argument is the number of a socket. A request is a JSON object, with the descriptors for standard output,
standard error and the exit status; the answer is the pid. It ends when the other end of the socket is closed.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - bqserver imports these when it serves, perhaps as a user who can't read them
import gc
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

import tornado.locale  # noqa: F401
from bqserver.app import main

STATUS = struct.Struct("=i")
MAX_REQUEST_BYTES = 1 << 20


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request. Returns the request in the new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the watchers are reaped by the kernel
    gc.collect()
    gc.freeze()
    while True:
        data, descriptors, *_ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 3)
        if not data:
            sys.exit()
        output, errors, status = descriptors
        if os.fork() == 0:  # the watcher: it reports the exit status of the command
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                requests.close()
                os.close(status)
                os.dup2(output, 1)
                os.dup2(errors, 2)
                os.close(output)
                os.close(errors)
                return json.loads(data)
            requests.send(STATUS.pack(pid))
            requests.close()
            for descriptor in (0, 1, 2, output, errors):
                os.close(descriptor)
            os.write(status, STATUS.pack(os.waitpid(pid, 0)[1]))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def become(request: dict[str, Any]) -> None:
    """Take the user, folder, environment and arguments of the command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    if request["umask"] >= 0:
        os.umask(request["umask"])
    if uid := request["uid"]:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    sys.argv[1:] = request["arguments"]


if __name__ == "__main__":
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
    main(sys.argv[1:])
