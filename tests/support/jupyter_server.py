"""A real Jupyter server as a process, and its kernels, driven over the server's WebSocket like a notebook."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.certificate import unverified_context
from support.eventually import eventually
from support.forking.server import start
from support.paths import PYTHONPATH, ROOT
from support.ws_client import request
from websockets.sync.client import connect

CONFIG_PATH = os.pathsep.join([str(ROOT / "tests" / "support" / "jupyter_config"), str(ROOT / "server")])
"""JUPYTER_CONFIG_PATH: the configuration that installing bqwidget adds to Jupyter, and no other extension of the tests."""


class JupyterServer:
    """``url`` ends with the base path, without a slash; ``token`` is Jupyter's own."""

    def __init__(self, process: subprocess.Popen[bytes] | None, url: str, token: str, log: Path | None) -> None:
        self.process = process
        self.token = token
        self.log = log
        self.origin = "/".join(url.split("/")[:3])
        self.base = url[len(self.origin) :].rstrip("/")
        self.rooms = f"{self.base}/bqserver"

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str):
        """Send a request to ``path`` below the base, with Jupyter's token unless ``token`` or the headers give another."""
        if not {"Authorization", "Cookie"} & headers.keys():
            headers["Authorization"] = f"token {token or self.token}"
        return request(self.origin, method, self.base + path, body, **headers)

    def kernel(self, token: str | None = None) -> Kernel:
        made = self.ask("POST", "/api/kernels", {}, token=token)
        assert made.status == 201, made.body
        return Kernel(self, made.json["id"], token or self.token)


class Kernel:
    def __init__(self, server: JupyterServer, kernel_id: str, token: str) -> None:
        self.server = server
        self.id = kernel_id
        self.token = token

    def run(self, code: str, timeout: float = 60) -> str:
        """Run ``code`` and return what it prints. Raises AssertionError with its traceback if it fails."""
        server = self.server
        address = f"{server.origin.replace('http', 'ws', 1)}{server.base}/api/kernels/{self.id}/channels"
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "t", "username": "t"}
        message = {
            "header": {**header, "version": "5.3", "date": "2027-01-01T00:00:00Z"},
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
            "channel": "shell",
        }
        printed = ""
        authorization = {"Authorization": f"token {self.token}"}
        context = unverified_context() if address.startswith("wss") else None
        with connect(address, additional_headers=authorization, max_size=None, ssl=context) as socket:
            socket.send(json.dumps(message))
            while True:
                reply = json.loads(socket.recv(timeout))
                if reply["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                content = reply["content"]
                match reply["msg_type"]:
                    case "stream":
                        printed += content["text"]
                    case "error":
                        raise AssertionError("\n".join(content["traceback"]))
                    case "status" if content["execution_state"] == "idle":
                        return printed


@contextmanager
def jupyter_server(
    home: Path,
    environ: dict[str, str],
    *args: str,
    base: str = "/",
    app: str = "jupyter_server.serverapp",
    shows: str = "notebooks",
) -> Iterator[JupyterServer]:
    """A Jupyter server for the folder ``shows`` in ``home``, with bqserver's extension unless ``args`` disable it."""
    token = secrets.token_hex(16)
    folder = home / shows
    folder.mkdir(exist_ok=True)
    log = home / f"{app}-{secrets.token_hex(2)}.log"
    command = [
        *("--no-browser", "--allow-root"),
        *("--ServerApp.port=0", f"--ServerApp.root_dir={folder}", f"--ServerApp.base_url={base}", *args),
    ]
    environ = {
        **environ,
        "JUPYTER_CONFIG_PATH": CONFIG_PATH,
        "JUPYTER_TOKEN": token,
        "PYTHONPATH": PYTHONPATH,
    }
    with log.open("wb") as output:
        process = start(
            *command,
            module=app,
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        info = home / "jupyter-runtime" / f"jpserver-{process.pid}.json"

        def read() -> dict[str, str]:
            assert process.poll() is None, log.read_text()
            try:
                return json.loads(info.read_text())
            except (FileNotFoundError, json.JSONDecodeError):  # not written yet, or incomplete
                return {}

        def answers() -> bool:
            try:
                return server.ask("GET", "/api/status").status == 200 and has_rooms()
            except OSError:  # it listens only once its event loop runs, and a busy machine answers late
                assert process.poll() is None, log.read_text()
                return False

        def has_rooms() -> bool:
            """Whether the extension has opened them, or will not; Jupyter answers earlier."""
            said = log.read_text()
            closed = "bqserver.extension" not in said or "chat rooms unavailable" in said
            return closed or server.ask("GET", "/bqserver/health").status == 200

        server = JupyterServer(process, eventually(read, 60, "Jupyter's start")["url"], token, log)
        eventually(answers, what="Jupyter's first answer")
        yield server
    finally:
        process.terminate()
        wait_ended(process)


def wait_ended(process: subprocess.Popen[Any]) -> None:
    """Wait until a Jupyter server ends, which was told to; kill it if it does not.

    Jupyter stays when SIGTERM comes while a kernel starts (InvalidStateError in ``cleanup_kernels``) or while it reads
    a file (a thread of anyio is not ended). Its kernels end when they have lost it.
    """
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
