"""A process that has imported a program, and forks a copy of itself for each start of it in a test.

A script: its arguments are a row of MODULES and the number of a socket. A request is a JSON object, with the descriptors
for standard input, output and error, and for the exit status; the answer is the pid. It ends when the other end of the
socket is closed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

MODULES = {
    "bqserver": (
        "bqserver.app",
        "bqserver.cli.access",
        "bqserver.cli.copy",
        "bqserver.cli.invite",
        "bqserver.cli.maintenance",
        "bqserver.cli.tokens",
        "encodings.idna",  # this and the next: when it serves, perhaps as a user who can't read them
        "tornado.locale",
    ),
    "jupyter": (  # not jupyterlab.labapp, which reads the environment when it is imported
        "jupyter_server.serverapp",
        "jupyterlab_server.app",
        "jupyterlab.commands",
        "jupyter_client.ioloop",
        "nbconvert.exporters",
        "notebook_shim.shim",
    ),
}
STATUS = struct.Struct("=i")
MAX_REQUEST_BYTES = 1 << 20


def serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request. Returns the request in the new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the watchers are reaped by the kernel
    gc.collect()
    gc.freeze()
    while True:
        data, descriptors, *_ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 4)
        if not data:
            sys.exit()
        *streams, status = descriptors
        if os.fork() == 0:  # the watcher: it reports the exit status of the command
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                requests.close()
                os.close(status)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                    os.close(stream)
                return json.loads(data)
            requests.send(STATUS.pack(pid))
            requests.close()
            for descriptor in (0, 1, 2, *streams):
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
    for module in MODULES[sys.argv[1]]:
        importlib.import_module(module)
    request = serve(socket.socket(fileno=int(sys.argv[2])))
    become(request)
    importlib.import_module(request["module"]).main(sys.argv[1:])
