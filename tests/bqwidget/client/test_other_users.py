"""Other users of the same machine: they can read neither the token nor the history, and can't join."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from support.processes import stop_local_server

from bqwidget import Room

SPY = """
import json, os, sys, urllib.error, urllib.request
folder, url = sys.argv[1:]
found = []
for root, _, names in os.walk(folder, onerror=lambda error: found.append(type(error).__name__)):
    found += [os.path.join(root, name) for name in names]
for name in sys.stdin.read().split():
    try:
        found.append(open(name, "rb").read()[:20].hex())
    except PermissionError:
        found.append("PermissionError")
for path in ("/messages", "/rooms"):
    try:
        found.append(urllib.request.urlopen(url + path).status)
    except urllib.error.HTTPError as error:
        found.append(error.code)
for entry in os.listdir("/proc"):
    if entry.isdigit():
        for part in ("cmdline", "environ"):
            try:
                found.append(open(f"/proc/{entry}/{part}", "rb").read().decode(errors="replace"))
            except OSError:
                pass
print(json.dumps(found))
"""


def nobody_command() -> list[str]:
    """A prefix that runs a command as another user; empty if that is not permitted."""
    for prefix in (
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"],
        ["sudo", "-n", "-u", "nobody"],
    ):
        if (
            shutil.which(prefix[0])
            and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
        ):
            return prefix
    return []


AS_NOBODY = nobody_command()


@pytest.fixture
def shared_folder(missing: Callable[[str], NoReturn], monkeypatch) -> Iterator[Path]:
    """A folder that all users can reach, like /home."""
    if not AS_NOBODY:
        missing("root or sudo (to be another user on this machine)")
    folder = Path(tempfile.mkdtemp(prefix="bqwidget-shared-"))
    folder.chmod(0o755)
    monkeypatch.setenv("BQWIDGET_RUNTIME_DIR", str(folder / "runtime"))
    monkeypatch.setenv("BQWIDGET_DATA_DIR", str(folder / "data"))
    yield folder
    stop_local_server(folder / "runtime")
    shutil.rmtree(folder)


def try_access(folder: Path, url: str, names: list[Path]) -> list[object]:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    done = subprocess.run(
        [*AS_NOBODY, python, "-c", SPY, str(folder), url],
        input="\n".join(map(str, names)),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    return json.loads(done.stdout)


def test_another_user_gets_neither_token_nor_key_nor_history(shared_folder: Path):
    with Room("lobby", user="ada") as room:
        room.send("between us")
        fields = json.loads((shared_folder / "runtime" / "server.json").read_text())
        kept = [path for path in shared_folder.rglob("*") if path.is_file()]
        assert {"server.json", "server.gateway", "token", "local.sqlite"} <= {path.name for path in kept}
        key = json.loads((shared_folder / "runtime" / "server.gateway").read_text())["key"]
        found = try_access(shared_folder, fields["url"], kept)
    assert found[:2] == ["PermissionError"] * 2  # neither folder can be listed
    assert found[2 : 2 + len(kept)] == ["PermissionError"] * len(kept)
    assert found[2 + len(kept) : 4 + len(kept)] == [401, 401]
    assert fields["token"] not in json.dumps(found)
    assert key not in json.dumps(found)
