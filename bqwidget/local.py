"""Find the user's local server, or start it: what ``Room("lobby")`` joins when nothing is configured.

One server per user and machine, a process of its own, so that it outlives the kernel that started it and two
notebooks meet in the same room. It writes its address and token into a *runtime file* (JSON, mode 0600) and
ends by itself when nobody has been there for a while. All of this blocks: call it off any event loop.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from .errors import LocalServerError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

IDLE_TIMEOUT = 600
"""A server without members for so long ends."""
_POLL_INTERVAL = 0.05
_NOT_INHERITED = ("BQWIDGET_URL", "BQWIDGET_TOKEN", "BQSERVER_TOKEN", "PORT")
"""Environment of the kernel that is meant for other servers than this one."""


@dataclass(frozen=True)
class LocalServer:
    """Where the local server is (its base http address), and the token that it takes."""

    url: str
    token: str = field(repr=False)
    pid: int


def find_or_start(timeout: float = 20) -> LocalServer:
    """The running local server; started where there is none. Safe to call from many processes at once.

    Raises LocalServerError where none answers within ``timeout`` seconds, with what its log says last.
    """
    deadline = time.monotonic() + timeout
    folder = _private_folder(runtime_folder())
    runtime_file = folder / "server.json"
    if server := _find_running(runtime_file, deadline):
        return server
    with _locked(folder / "lock", deadline):
        if server := _find_running(
            runtime_file, deadline
        ):  # somebody else started it while we waited for the lock
            return server
        runtime_file.unlink(missing_ok=True)
        return _start(runtime_file, deadline)


def runtime_folder() -> Path:
    """Where the runtime file is: BQWIDGET_RUNTIME_DIR, else the login session's, else the data folder."""
    if chosen := os.environ.get("BQWIDGET_RUNTIME_DIR"):
        return Path(chosen)
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "bqwidget"
    return data_folder() / "runtime"


def data_folder() -> Path:
    """Where the history is: BQWIDGET_DATA_DIR, else the platform's folder for a user's data."""
    if chosen := os.environ.get("BQWIDGET_DATA_DIR"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "bqwidget"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "bqwidget"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "bqwidget"


def _find_running(runtime_file: Path, deadline: float) -> LocalServer | None:
    """The server that the runtime file tells of; None where it is gone or is another one by now.

    Raises LocalServerError for one that is there and does not answer: a second one would not help.
    """
    server = _read_runtime_file(runtime_file)
    if server is None or not _is_running(server.pid):
        return None
    try:
        if _request_status(server, "/health", deadline) == HTTPStatus.NOT_FOUND:
            return None
        return server if _request_status(server, "/rooms", deadline, token=True) == HTTPStatus.OK else None
    except TimeoutError as error:
        raise LocalServerError(
            f"the local server (process {server.pid}, {server.url}) does not answer: end that process, then try again",
            path=str(runtime_file),
        ) from error
    except (OSError, http.client.HTTPException):
        return None


def _read_runtime_file(runtime_file: Path) -> LocalServer | None:
    try:
        if sys.platform != "win32" and runtime_file.stat().st_uid != os.getuid():
            return None  # whoever wrote it would read what we send
        told = json.loads(runtime_file.read_bytes())
        return LocalServer(url=str(told["url"]), token=str(told["token"]), pid=int(told["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_running(pid: int) -> bool:
    """Asked before the port, which after a crash may be somebody else's, who is not to see the token."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _request_status(server: LocalServer, path: str, deadline: float, *, token: bool = False) -> int:
    """The answer's status, asked for directly: a proxy of the environment is not for loopback."""
    address = urlsplit(server.url)
    timeout = max(1, deadline - time.monotonic())
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)
    with closing(connection):
        headers = {"Authorization": f"Bearer {server.token}"} if token else {}
        connection.request("GET", address.path.rstrip("/") + path, headers=headers)
        return connection.getresponse().status


def _start(runtime_file: Path, deadline: float) -> LocalServer:
    data = _private_folder(data_folder())
    log = data / "local-server.log"
    command = [
        *(sys.executable, "-P", "-m", "bqserver"),  # -P: a file of the user's named like a module stays out
        *("--ip=127.0.0.1", "--port=0", f"--log=sqlite:{data / 'local.sqlite'}"),
        *(f"--runtime-file={runtime_file}", f"--idle-timeout={IDLE_TIMEOUT}"),
    ]
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    if "PYTHONPATH" in environ:  # the server's working folder is another one
        paths = environ["PYTHONPATH"].split(os.pathsep)
        environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths if path)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data,
            env=environ,
            start_new_session=True,  # Ctrl+C and the kernel's end are not for the server
        )
    # Its exit is collected here, so that no zombie stays behind while this kernel lives.
    ended = threading.Thread(target=process.wait, name="bqwidget-local-server", daemon=True)
    ended.start()
    while time.monotonic() < deadline:
        if server := _find_running(runtime_file, deadline):
            return server
        ended.join(_POLL_INTERVAL)
        if not ended.is_alive():
            raise _start_error(f"the local server ended with code {process.returncode} when it started", log)
    process.terminate()
    raise _start_error("the local server did not answer in time", log)


def _start_error(what: str, log: Path) -> LocalServerError:
    tail = log.read_text(errors="replace").strip().splitlines()[-10:]
    said = "".join(f"\n    {line}" for line in tail) or " nothing"
    return LocalServerError(
        f"{what}. Its log {log} says:{said}\nStart a server yourself with `bqserver` and set BQWIDGET_URL to join it.",
        path=str(log),
    )


def _private_folder(folder: Path) -> Path:
    """The folder, made for this user alone. Raises LocalServerError where others could put files into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise LocalServerError(f"{folder} can't be made: {error.strerror}", path=str(folder)) from error
    if sys.platform != "win32" and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        raise LocalServerError(
            f"{folder} is open to other users: `chmod 700` it if it is yours, else set BQWIDGET_RUNTIME_DIR"
            " and BQWIDGET_DATA_DIR to folders of your own",
            path=str(folder),
        )
    return folder


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Held by one process of this user at a time; the system lets go of it when that process dies."""
    with path.open("ab") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"another process has been starting the local server for too long (it holds {path})",
                    path=str(path),
                )
            time.sleep(_POLL_INTERVAL)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
