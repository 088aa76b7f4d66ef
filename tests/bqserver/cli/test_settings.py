"""Settings that can't apply end the command with 2 and a sentence; none is taken silently."""

from __future__ import annotations

from pathlib import Path

import pytest
from bqserver.app import ChatServer
from bqserver.errors import SettingError
from support.sqlite_logs import run_bqserver

CLUSTER = "is for a cluster"
FAULTS = [
    (["--log=memory", "--retain=*=30d"], "--retain is for a log that is stored, and --log=memory is none"),
    (["--log=sqlite:h.sqlite", "--retain=nonsense"], "--retain=nonsense is not understood: use PATTERN=AGE"),
    (["--log=nats://h", "--retain=*=3x"], "--retain=*=3x is not understood: use PATTERN=AGE"),
    (["--log=memory", "--view=v.sqlite"], f"--view {CLUSTER}"),
    (["--log=memory", "--single"], f"--single {CLUSTER}"),
    (["--log=memory", "--nats-creds=c"], f"--nats-creds {CLUSTER}"),
    (["--log=memory", "--nats-ca=c"], f"--nats-ca {CLUSTER}"),
    (["--log=sqlite:h.sqlite", "--nats-monitor=http://h:8222"], f"--nats-monitor {CLUSTER}"),
    (["--log=memory", "--keyfile=k"], "--certfile and --keyfile belong together"),
    (["--log=memory", "--certfile=c"], "--certfile and --keyfile belong together"),
    (["--log=memory", "--open", "--token-file=t"], "--token-file can't apply"),
    (["--log=memory", "--open-network"], "--open-network only extends --open"),
    *[
        (["--log=memory", "--jupyterhub", flag], f"{flag.partition('=')[0]} can't apply with --jupyterhub")
        for flag in ("--open", "--ip=0.0.0.0", "--base-url=/x/", "--token-file=t", "--named-tokens=t")
    ],
]


@pytest.mark.parametrize(("arguments", "message"), FAULTS)
def test_a_setting_that_can_not_apply_is_named(arguments: list[str], message: str) -> None:
    app = ChatServer()
    app.parse_command_line(arguments)
    with pytest.raises(SettingError) as raised:
        app.check()
    assert message in str(raised.value)


def test_it_exits_with_2_and_a_sentence(tmp_path: Path) -> None:
    log = tmp_path / "history.sqlite"
    done = run_bqserver("--port=0", f"--log=sqlite:{log}", "--retain=nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bqserver: --retain=nonsense is not understood")
    assert not log.exists()
    done = run_bqserver("purge", f"--log=sqlite:{log}", "--single", "lobby", 1)
    assert (done.returncode, "are for a cluster" in done.stderr) == (2, True)
