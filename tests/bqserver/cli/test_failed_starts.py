"""A start that fails, or is stopped, in any step closes what it has opened: the process ends, and nothing is locked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from bqserver import app
from bqserver.app import ChatServer
from bqserver.errors import ServerError
from bqserver.storage.sqlite.schema import connect
from bqserver.testing import running_server
from support.processes import bqserver, run_to_exit
from support.sqlite_logs import make_log

pytestmark = pytest.mark.sqlite


def opened_by_servers(folder: Path) -> tuple[list[str], list[str]]:
    """The threads of servers in this process, and the files it has open in ``folder``."""
    threads = [one.name for one in threading.enumerate() if one.name.startswith("bqserver")]
    files = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            files.append(str(entry.readlink()))
    return threads, [one for one in files if one.startswith(str(folder))]


def fail(*args: object, **options: object) -> None:
    raise OSError(24, "Too many open files")


def break_moderation(home: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    (home / "log.moderation.json").write_text("{")
    return {}


def break_rights(home: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    (home / "rights.toml").write_text("[lobby\n")
    return {"rights": str(home / "rights.toml")}


def name_missing_rights(home: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    return {"rights": str(home / "rihgts.toml")}


def remove_epoch(home: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    with contextlib.closing(connect(make_log(home / "log.sqlite"))) as db:
        db.execute("DELETE FROM meta WHERE name = 'epoch'")
    return {}


def foreign_attachments(home: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    (home / "log.sqlite-parts").write_text("dear diary, " * 1_000)
    return {}


def runtime_file_in_a_file(home: Path, _: pytest.MonkeyPatch) -> dict[str, object]:
    (home / "file").write_text("")
    return {"runtime_file": str(home / "file" / "server.json")}


def fail_to_make_the_hub(_: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(app, "Hub", fail)
    return {}


def fail_to_serve(_: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(ChatServer, "make_http_server", fail)
    return {}


def fail_when_ready(_: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(ChatServer, "until_stopped", fail)
    return {}


STEPS: list[Callable[[Path, pytest.MonkeyPatch], dict[str, object]]] = [
    break_rights, name_missing_rights, break_moderation, remove_epoch, foreign_attachments,
    runtime_file_in_a_file, fail_to_make_the_hub, fail_to_serve, fail_when_ready,
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_failed_start_closes_what_it_opened(home: Path, monkeypatch: pytest.MonkeyPatch, step):
    traits = {"log": f"sqlite:{home / 'log.sqlite'}", "audit_log": str(home / "audit.jsonl"), **step(home, monkeypatch)}

    async def start() -> None:
        server = ChatServer(log_url=traits.pop("log"), port=0, **traits)
        await server.serve(lambda _: None)

    with warnings.catch_warnings(), pytest.raises((ServerError, OSError)):
        warnings.simplefilter("error", ResourceWarning)
        asyncio.run(start())
    gc.collect()
    assert opened_by_servers(home) == ([], [])


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Tornado's own, which it could not bind
def test_a_taken_port_closes_the_audit_log(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ServerError, match="the port is taken"),
            running_server(port=port, audit_log=str(home / "audit.jsonl")),
        ):
            pass
    gc.collect()
    assert opened_by_servers(home) == ([], [])


def test_the_process_ends_after_a_slip_in_a_file(home: Path):
    """A thread that is left would keep it from ending."""
    (home / "data").mkdir()
    (home / "data" / "local.moderation.json").write_text("{")
    (home / "data" / "local.moderation.json").chmod(0o600)
    code, err = run_to_exit("--port=0")
    assert code == 1
    assert "local.moderation.json" in err


def test_a_signal_ends_a_start_that_waits_for_a_cluster(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and says nothing
        address = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        with bqserver("--port=0", f"--log={address}", "--single") as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=20)
            assert (process.returncode, out, err) == (0, "", "")
