"""Finds or starts the user's local server, which ``Room("lobby")`` joins if no server is configured.

There is one server per user and machine. It is a separate process, so that it outlives the kernel that started it,
and two notebooks share a room. It writes its address and token into a *runtime file* (JSON, mode 0600), and ends when
it has had no members for IDLE_TIMEOUT seconds. These functions block: do not call them on an event loop.
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
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_data_path

from .errors import LocalServerError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

IDLE_TIMEOUT = 600
"""Seconds without members after which the server ends."""
_POLL_INTERVAL = 0.05
_NOT_INHERITED = ("BQWIDGET_URL", "BQWIDGET_TOKEN", "BQSERVER_TOKEN", "PORT")
"""Environment variables of the kernel that concern other servers."""


@dataclass(frozen=True)
class LocalServer:
    """The base http address of the local server, its token, and its process id."""

    url: str
    token: str = field(repr=False)
    pid: int


def find_or_start(timeout: float = 20) -> LocalServer:
    """The running local server, started if there is none. May be called by many processes at once.

    Raises LocalServerError, with the end of the server's log, if it does not answer within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    folder = _private_folder(runtime_folder())
    runtime_file = folder / "server.json"
    if server := _find_running(runtime_file, deadline):
        return server
    with _locked(folder / "lock", deadline):
        if server := _find_running(runtime_file, deadline):  # another process started it meanwhile
            return server
        runtime_file.unlink(missing_ok=True)
        return _start(runtime_file, deadline)


def runtime_folder() -> Path:
    """The folder of the runtime file: BQWIDGET_RUNTIME_DIR, else the session's folder, else in the data folder."""
    if chosen := os.environ.get("BQWIDGET_RUNTIME_DIR"):
        return Path(chosen)
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "bqwidget"
    return data_folder() / "runtime"


def data_folder() -> Path:
    """The folder of the history: BQWIDGET_DATA_DIR, else the platform's folder for a user's data."""
    if folder := os.environ.get("BQWIDGET_DATA_DIR"):
        return Path(folder)
    try:
        return user_data_path("bqwidget", appauthor=False).expanduser()  # older platformdirs leave the ~
    except RuntimeError:
        raise LocalServerError(
            "this user has no home folder: set BQWIDGET_DATA_DIR to a folder for the history, or BQWIDGET_URL"
        ) from None


def _find_running(runtime_file: Path, deadline: float) -> LocalServer | None:
    """The server of the runtime file; None if it has ended, or if another program has its port.

    Raises LocalServerError if it runs and does not answer: starting a second one would not help.
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
            f"the local server (process {server.pid}, {server.url}) does not answer: end that process and try again",
            path=str(runtime_file),
        ) from error
    except (OSError, http.client.HTTPException):
        return None


def _read_runtime_file(runtime_file: Path) -> LocalServer | None:
    try:
        if sys.platform != "win32" and runtime_file.stat().st_uid != os.getuid():
            return None  # its author could read what is sent
        fields = json.loads(runtime_file.read_bytes())
        return LocalServer(url=str(fields["url"]), token=str(fields["token"]), pid=int(fields["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_running(pid: int) -> bool:
    """Checked before a request: after a crash the port may belong to another program, which must not get the token."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _request_status(server: LocalServer, path: str, deadline: float, *, token: bool = False) -> int:
    """The status of a request, without the environment's proxy, which does not apply to loopback."""
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
        *(sys.executable, "-P", "-m", "bqserver"),  # -P: ignore modules in the user's working folder
        *("--ip=127.0.0.1", "--port=0", f"--log=sqlite:{data / 'local.sqlite'}"),
        *(f"--runtime-file={runtime_file}", f"--idle-timeout={IDLE_TIMEOUT}"),
    ]
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    if "PYTHONPATH" in environ:  # the server has another working folder
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
            start_new_session=True,  # the server survives Ctrl+C and the kernel
        )
    while time.monotonic() < deadline:
        if server := _find_running(runtime_file, deadline):
            _collect(process)
            return server
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(_POLL_INTERVAL)
            raise _start_error(f"the local server ended with code {code} when it started", log)
    process.terminate()
    _collect(process)
    raise _start_error("the local server did not answer in time", log)


def _collect(process: subprocess.Popen[bytes]) -> None:
    """Collect its exit status when it ends, so that no zombie remains while this kernel runs."""
    try:
        threading.Thread(target=process.wait, name="bqwidget-local-server", daemon=True).start()
    except RuntimeError:  # this interpreter ends, from Python 3.12 on
        process.returncode = 0  # no warning that it still runs


def _start_error(what: str, log: Path) -> LocalServerError:
    tail = log.read_text(errors="replace").strip().splitlines()[-10:]
    lines = "".join(f"\n    {line}" for line in tail) or " nothing"
    return LocalServerError(
        f"{what}. Its log {log} ends with:{lines}\nOr start a server with `bqserver`, and set BQWIDGET_URL to its address.",
        path=str(log),
    )


def _private_folder(folder: Path) -> Path:
    """Create the folder for this user only. Raises LocalServerError if others can write to it."""
    try:
        for one in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            one.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise LocalServerError(f"{folder} can't be created: {error.strerror}", path=str(folder)) from error
    if sys.platform != "win32" and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        raise LocalServerError(
            f"other users can write to {folder}: run `chmod 700` on it if it is yours, else set"
            " BQWIDGET_RUNTIME_DIR and BQWIDGET_DATA_DIR to folders of your own",
            path=str(folder),
        )
    return folder


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Held by one process at a time; the system releases it when that process ends."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "ab") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"another process is still starting the local server (it holds the lock {path})",
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
