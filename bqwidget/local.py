"""Finds or starts the user's local server, which ``Room("lobby")`` joins if no server is configured.

There is one server per user and machine. It is a separate process, so that it outlives the kernel or the JupyterLab
that started it, and two notebooks share a room. It writes its address and token into a *runtime file* (JSON, mode
0600), and ends when it has had no members for IDLE_TIMEOUT seconds. A server of an earlier bqwidget is replaced. These
functions block: do not call them on an event loop.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_data_path

from .errors import LocalServerError
from .file_locks import try_lock

IDLE_TIMEOUT = 600
"""Seconds without members after which the server ends."""
_POLL_INTERVAL = 0.05
_MIN_FREE_BYTES = 1024 * 1024
_NOT_INHERITED = ("BQWIDGET_URL", "BQWIDGET_TOKEN", "BQSERVER_TOKEN", "PORT")
"""Environment variables of the kernel that concern other servers."""


@dataclass(frozen=True)
class LocalServer:
    """The base http address of the local server, its token, and its process id.

    ``gateway_key``: proves that a request comes from a gateway such as Jupyter's extension, which names the member.
    ``version``: of its bqwidget. ``settings``: those that gateways have too. All are empty for an earlier server.
    """

    url: str
    token: str = field(repr=False)
    pid: int
    gateway_key: str = field(default="", repr=False)
    version: str = ""
    settings: Mapping[str, object] = field(default_factory=dict, compare=False)
    runtime_file: Path = field(default=Path(), compare=False)

    def is_current(self) -> bool:
        """Whether it still runs, as far as its file and its process tell: its port may be another program's by now."""
        return _is_running(self.pid) and _read_runtime_file(self.runtime_file) == self


def find_or_start(
    timeout: float = 20, *, name: str = "", log: str | None = None, options: Sequence[str] = ()
) -> LocalServer:
    """The running local server, started if there is none. May be called by many processes at once.

    ``name``: of a server apart from the user's own, whose ``log`` is given (``sqlite:PATH`` or ``memory``). ``options``:
    of a server that is started. Raises LocalServerError if it does not answer within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    folder = _private_folder(runtime_folder())
    apart = f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}" if name else ""
    runtime_file = folder / f"server{apart}.json"
    if (server := _find_running(runtime_file, deadline)) and not _is_older(server):
        return server
    with _locked(folder / f"lock{apart}", deadline):
        if server := _find_running(runtime_file, deadline):
            if not _is_older(server):  # another process started it meanwhile
                return server
            end(server)
        try:
            runtime_file.unlink(missing_ok=True)
            data = _private_folder(data_folder())
            options = [f"--log={log or f'sqlite:{data}/local.sqlite'}", f"--runtime-file={runtime_file}", *options]
            return _start(runtime_file, data / f"local-server{apart}.log", options, deadline)
        except OSError as error:
            raise _unwritable(error, Path(error.filename or folder)) from error


def end(server: LocalServer) -> None:
    """Let it finish what it has accepted, and end. The next one waits for the history."""
    with suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGTERM)


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


def _is_older(server: LocalServer) -> bool:
    """Whether an earlier bqwidget started it. Two versions that are both in use do not replace each other in turn."""
    return _numbers(server.version) < _numbers(sys.modules[__package__].__version__)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _read_runtime_file(runtime_file: Path) -> LocalServer | None:
    try:
        if sys.platform != "win32" and runtime_file.stat().st_uid != os.getuid():
            return None  # its author could read what is sent
        fields = json.loads(runtime_file.read_bytes())
        url, token, pid = str(fields["url"]), str(fields["token"]), int(fields["pid"])
        with suppress(OSError, ValueError, KeyError, TypeError):  # an earlier bqwidget writes no such file
            more = json.loads(runtime_file.with_suffix(".gateway").read_bytes())
            if more["pid"] == pid:
                return LocalServer(
                    url, token, pid, str(more["key"]), str(more["version"]), more.get("settings", {}), runtime_file
                )
        return LocalServer(url, token, pid, runtime_file=runtime_file)
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


def _start(runtime_file: Path, log: Path, options: Sequence[str], deadline: float) -> LocalServer:
    command = [
        *(sys.executable, "-P", "-m", "bqserver"),  # -P: ignore modules in the user's working folder
        *("--ip=127.0.0.1", "--port=0", f"--idle-timeout={IDLE_TIMEOUT}", *options),
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
            cwd=log.parent,
            env=environ,
            start_new_session=True,  # the server survives Ctrl+C and the kernel
        )
    while time.monotonic() < deadline:
        if server := _find_running(runtime_file, deadline):
            _collect(process)
            return server
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(_POLL_INTERVAL)
            raise _start_error(f"the local server ended with code {code} when it started", log, runtime_file)
    process.terminate()
    _collect(process)
    raise _start_error("the local server did not answer in time", log, runtime_file)


def _collect(process: subprocess.Popen[bytes]) -> None:
    """Collect its exit status when it ends, so that no zombie remains while this kernel runs."""
    try:
        threading.Thread(target=process.wait, name="bqwidget-local-server", daemon=True).start()
    except RuntimeError:  # this interpreter ends, from Python 3.12 on
        process.returncode = 0  # no warning that it still runs


def _start_error(what: str, log: Path, runtime_file: Path) -> LocalServerError:
    for folder in (log.parent, runtime_file.parent):
        if shutil.disk_usage(folder).free < _MIN_FREE_BYTES:
            return LocalServerError(f"the disk of {folder} is full: free some space", path=str(folder))
    tail = "\n    ".join(log.read_text(errors="replace").strip().splitlines()[-10:]) or "nothing"
    message = f"{what}. Its log {log} ends with:\n    {tail}\nOr start a server with `bqserver`."
    said = re.sub(r"(\w:)?[/\\]\S*[/\\]", "", tail.rpartition("\n")[2].partition("bqserver: ")[2])  # no folders
    return LocalServerError(message, path=str(log), reason=said or f"{what}: {log.name} in the data folder says why")


def _unwritable(error: OSError, path: Path, what: str = "written") -> LocalServerError:
    """Why nothing can be written there, and what to do: a read-only or a full disk, no permission."""
    remedy = "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Make it writable"
    return LocalServerError(
        f"{path} can't be {what}: {error.strerror}. {remedy}, set BQWIDGET_RUNTIME_DIR and BQWIDGET_DATA_DIR to folders"
        " that you can write, or BQWIDGET_URL to a server",
        path=str(path),
    )


def _private_folder(folder: Path) -> Path:
    """Create the folder for this user only. Raises LocalServerError if others can write to it."""
    try:
        for one in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            one.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise _unwritable(error, folder, "created") from error
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
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unwritable(error, path) from error
    with os.fdopen(descriptor, "ab"):
        while not _try_lock(descriptor, path):
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"another process is still starting the local server, and locks {path}: try again", path=str(path)
                )
            time.sleep(_POLL_INTERVAL)
        yield


def _try_lock(descriptor: int, path: Path) -> bool:
    try:
        return try_lock(descriptor)
    except OSError as error:
        raise LocalServerError(
            f"{path} can't be locked ({error.strerror}), as on some network disks: set BQWIDGET_RUNTIME_DIR and"
            " BQWIDGET_DATA_DIR to folders on a local disk",
            path=str(path),
        ) from error
