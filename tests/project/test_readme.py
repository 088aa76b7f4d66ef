"""The README tells the truth: its code runs, its flags, routes, frames and variables are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from bqserver.app import ChatServer
from bqserver.auth.authenticator import Gate
from bqserver.auth.origins import Origins
from bqserver.cli.application import Command, check_arguments
from bqserver.hub.hub import Hub
from bqserver.web.handler import Service
from bqserver.web.routes import routes
from support.paths import ROOT

import bqwidget
from bqwidget import Room, protocol

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PYTHON = [code for language, code in BLOCKS if language == "python"]
TABLES = "\n".join(line for line in README.splitlines() if line.startswith("|"))
SOURCES = [path for folder in ("bqwidget", "server") for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("code", PYTHON)
def test_the_python_runs(code: str, home: Path) -> None:
    exec(compile(code, "README.md", "exec"), {})


def test_every_member_that_it_names_is_there() -> None:
    named = set(re.findall(r"\b(?:room|bob)\.(\w+)", "\n".join(PYTHON) + README))
    room = Room("lobby", user="ada", url="http://127.0.0.1:9")
    try:
        assert {name for name in named if not hasattr(room, name)} == set()
    finally:
        room.close()


def test_what_it_imports_is_public() -> None:
    imported = re.findall(r"from bqwidget import (.*)", README)
    assert imported
    assert {name.strip() for line in imported for name in line.split(",")} <= set(bqwidget.__all__)


def test_the_flags_are_those_of_the_server() -> None:
    told = {flag for line in TABLES.splitlines() for flag in re.findall(r"`--([a-z-]+)`", line.split("|")[1])}
    inherited = {*Command().flags, *Command().aliases}
    app = ChatServer()
    assert told == ({*app.flags, *app.aliases} - inherited) | {"log-level"}


@pytest.mark.parametrize("line", re.findall(r"^bqserver.*?(?=\s+#|$)", README, re.MULTILINE))
def test_the_commands_are_understood(line: str) -> None:
    assert check_arguments(ChatServer(), shlex.split(line)[1:]) is None


def test_the_routes_are_those_of_the_server() -> None:
    told = {path.replace("{room}", "lobby") for path in re.findall(r"`(?:GET|POST) (/[^`]*)`", TABLES)}
    served = [spec.regex for spec in _routes() if "static" not in spec.regex.pattern]
    assert {path for path in told if not any(pattern.match(path) for pattern in served)} == set()
    assert {pattern.pattern for pattern in served if not any(map(pattern.match, told))} == set()


def _routes():
    hub = Hub.__new__(Hub)  # the table is read, nothing is served
    gate = Gate(token=None, is_open=True, clock=lambda: 0.0)
    return routes(Service(hub, gate, Origins(hosts=[], origins=[])))


def test_the_frames_are_those_of_the_protocol() -> None:
    told = re.search(r"from the server \|(.*)\|\n\| to the server \|(.*);", README)
    for said, union in zip(told.groups(), (protocol.ServerFrame, protocol.ClientFrame), strict=True):
        assert set(re.findall(r"`([\w.]+)`", said)) == {
            frame.__struct_config__.tag for frame in get_args(union)
        }


def test_the_variables_are_those_of_the_code() -> None:
    used = {
        name for path in SOURCES for name in re.findall(r"\bBQ(?:WIDGET|SERVER)_[A-Z_]+", path.read_text())
    }
    assert set(re.findall(r"`(BQ(?:WIDGET|SERVER)_[A-Z_]+)`", README)) == used


def test_the_files_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:bqwidget|server|js|notebooks|tests|\.ci)/[\w./]*)`", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
