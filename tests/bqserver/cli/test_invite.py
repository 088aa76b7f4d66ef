"""The command ``bqserver invite``: a link of the running server that lets a browser in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from bqserver.testing import running_server
from support.forking.server import run
from support.ws_client import request

from bqwidget import Room


def bqserver_invite(*args: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    done = run("invite", *args, env={**os.environ, **environ})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def redeem(link: str) -> int:
    url, _, code = link.partition("#invite=")
    base = url.partition("/rooms/")[0]
    return request(base, "POST", "/session", {"invite": code}, Origin=base).status


def test_a_link_of_a_server_lets_as_many_people_in_as_it_says(home: Path):
    with running_server() as server:
        made = bqserver_invite("team", "--uses=2", f"--url={server.url}", BQWIDGET_TOKEN=server.token or "")
        link = made.stdout.strip()
        assert link.startswith(f"{server.url}/rooms/team#invite=")
        assert "on this machine only" in made.stderr
        assert [redeem(link) for _ in range(3)] == [204, 204, 403]
        refused = bqserver_invite(f"--url={server.url}", code=1, BQWIDGET_TOKEN="wrong")
        assert "answered 401" in refused.stderr


def test_without_an_address_the_link_is_one_of_the_local_server(home: Path):
    assert "no local server runs" in bqserver_invite(code=1).stderr
    with Room("lobby", user="ada").wait_open(60):
        assert redeem(bqserver_invite().stdout.strip()) == 204


@pytest.mark.parametrize(
    ("args", "code", "names"),
    [
        (["a room"], 2, "not a room name"),
        (["a", "b"], 2, "b is not understood"),
        (["--use=1"], 2, "--uses"),
        (["--url=chat.example.org"], 2, "https://chat.example.org"),
        (["--url=http://127.0.0.1:9"], 1, "gave no invite"),
    ],
)
def test_a_wrong_command_line_is_explained(home: Path, args: list[str], code: int, names: str):
    assert names in bqserver_invite(*args, code=code).stderr


@pytest.mark.parametrize("value", ["--uses=0", "--uses=many"])
def test_a_wrong_number_of_uses_is_an_error(home: Path, value: str):
    assert "uses" in bqserver_invite(value, code=2).stderr
