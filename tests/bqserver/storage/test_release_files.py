"""A data folder written by the release 938af9b: the present code finds everything in it and continues it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from bqserver.testing import running_server
from support.forking.server import start
from support.release.files import bqserver, expected, serving, unpack
from support.release.report import SECTIONS, bearer, redact, redacted
from support.ws_client import member, request
from tornado.web import create_signed_value

from bqwidget import Room

pytestmark = [pytest.mark.sqlite, pytest.mark.slow("serves, copies and restores a whole data folder")]

EXPECTED = expected()
ASKED, ANSWERS = EXPECTED["history"]["asked"], EXPECTED["history"]["answers"]
FORMER_LOG, ANSWERS = ANSWERS["log"], redact(ANSWERS, ASKED)
TOKENS = ASKED["tokens"]
CONTENT = ("messages", "log", "pages", "search", "attachments")
"""Sections that say the same of a restored backup; the others know its epoch."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return unpack("home", tmp_path / "release") / "data"


def history(data: Path) -> AbstractContextManager[str]:
    """The address of a server on the history."""
    return serving(data, f"sqlite:{data / 'history.sqlite'}")


# ---- the history, with its attachments, search index, tokens, rights and moderation


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that only answers questions; whatever changes something starts its own."""
    with history(unpack("home", tmp_path_factory.mktemp("release")) / "data") as address:
        yield address


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_of_the_history_is_served_as_by_the_release(url: str, section: str) -> None:
    assert SECTIONS[section](url, ASKED) == ANSWERS[section]


@pytest.mark.parametrize("label", EXPECTED["history"]["sessions"]["values"])
def test_a_session_of_the_release_continues(url: str, label: str) -> None:
    sessions = EXPECTED["history"]["sessions"]
    name = f"bqserver-{urlsplit(url).port}"
    cookie = create_signed_value(sessions["secret"], name, sessions["values"][label]).decode()
    with member(url, "lobby", Cookie=f"{name}={cookie}", Origin=url) as joined:
        assert joined.recv().get("user") == sessions["users"][label]


def test_the_command_finds_everything_under_its_default_name(data: Path) -> None:
    environ = {**os.environ, "BQWIDGET_DATA_DIR": str(data)}
    with start("--port=0", env=environ, stdout=subprocess.PIPE) as process:
        try:
            address = process.stdout.readline().split()[-1]
            for section in ("rooms", "repeats"):
                assert SECTIONS[section](address, ASKED) == ANSWERS[section]
        finally:
            process.terminate()
    assert process.returncode == 0


def test_without_the_search_index_the_same_is_found(data: Path) -> None:
    (data / "history.sqlite-search").unlink()
    with history(data) as address:
        assert SECTIONS["search"](address, ASKED) == ANSWERS["search"]


def test_the_history_is_checked_and_good(data: Path) -> None:
    done = bqserver(data, "check")
    assert done.returncode == 0, done.stdout
    counts = re.findall(r"\d+", done.stdout.replace(str(data), ""))
    assert counts == re.findall(r"\d+", EXPECTED["history"]["check"])


def test_a_backup_of_the_history_is_restored(data: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.sqlite"
    for words in (["backup", backup], ["restore", backup], ["check"]):
        done = bqserver(data, *words)
        assert done.returncode == 0, done.stderr
    with history(data) as address:
        _assert_content(address)


def test_a_backup_that_the_release_made_is_restored(data: Path) -> None:
    for part in ("", "-parts", "-search"):
        (data / f"history.sqlite{part}").unlink()
    done = bqserver(data, "restore", data / "backup.sqlite")
    assert done.returncode == 0, done.stderr
    with history(data) as address:
        _assert_content(address)
        assert SECTIONS["access"](address, ASKED) == ANSWERS["access"]


def _assert_content(address: str) -> None:
    for section in CONTENT:
        assert SECTIONS[section](address, ASKED) == ANSWERS[section], section


def test_the_history_continues(data: Path) -> None:
    """New entries follow the old ones, change them, and answer the question that was left open."""
    before = FORMER_LOG["lobby"]
    newest = before[-1]
    question, edited = (
        next(entry for entry in before if entry.get("text") == text) for text in ("Open?", "helo wrold")
    )
    with history(data) as address, member(address, "lobby", **bearer(TOKENS["shared"])) as grace:
        grace.say("left", cid="new 1", user="grace", re=question["seq"], choice="left")
        grace.send({"type": "chat.edit", "cid": "new 2", "user": "grace", "target": edited["seq"], "text": "new"})
        grace.say("named again", cid="new 3", user="grace", parts=_parts(before))
        assert [grace.until("ack")["seq"] for _ in range(3)] == [newest["seq"] + number for number in (1, 2, 3)]
    with history(data) as address:
        log = SECTIONS["log"](address, ASKED)["lobby"]
        assert log[: len(before)] == redacted([*before, *log[len(before) :]])[: len(before)]
        assert [entry["text"] for entry in log[len(before) :]] == ["left", "new", "named again"]
        assert all(entry["at"] > newest["at"] for entry in log[len(before) :])
        folded = {one["seq"]: one for one in SECTIONS["messages"](address, ASKED)["lobby"] if isinstance(one, dict)}
        assert folded[question["seq"]]["answer"] == newest["seq"] + 1
        assert folded[edited["seq"]]["text"] == "new"
    assert bqserver(data, "check").returncode == 0


def _parts(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return next(entry["parts"] for entry in entries if entry.get("text") == "a picture")


def test_the_token_file_is_extended(data: Path) -> None:
    """A new token and a revocation leave all other tokens as they were."""
    added = bqserver(data, "token", "add", "new", "--rooms=lobby")
    revoked = bqserver(data, "token", "revoke", "zoë")
    assert (added.returncode, revoked.returncode) == (0, 0), revoked.stderr
    others = {
        **ASKED,
        "tokens": {label: token for label, token in TOKENS.items() if label != "zoë in classes"},
    }
    with history(data) as address:
        assert SECTIONS["access"](address, others) == {label: ANSWERS["access"][label] for label in others["tokens"]}
        assert request(address, "GET", "/rooms", **bearer(TOKENS["zoë in classes"])).code == "token_revoked"
        assert request(address, "GET", "/rooms", **bearer(added.stdout.strip())).status == 200


def test_the_moderation_file_is_extended(data: Path) -> None:
    """A new order leaves the others as they were; a mute of the release can be lifted."""
    key = bearer(TOKENS["mo"])
    with history(data) as address:
        for room, order in (("lobby", {"do": "unmute", "user": "vera"}), ("staff", {"do": "close"})):
            assert request(address, "POST", f"/rooms/{room}/moderation", order, **key).status == 204
    muted = ANSWERS["repeats"].index("403 muted")
    with history(data) as address:
        repeated = SECTIONS["repeats"](address, ASKED)
        assert repeated[muted]["text"] == "before the mute"
        assert [one for place, one in enumerate(repeated) if place != muted][muted:] == ANSWERS["repeats"][muted + 1 :]
        closed = {
            room for room, answer in SECTIONS["access"](address, ASKED)["ada"].items() if "room_closed" in answer[0]
        }
        assert closed == {"quiet", "staff"}


# ---- the local server's history and runtime file


def test_the_local_history_is_found_after_a_crash(home: Path) -> None:
    """The release's local server was killed: the write-ahead log and the runtime file are as it left them."""
    unpack("home", home)
    assert (home / "data" / "local.sqlite-wal").stat().st_size
    with Room("lobby", user="nobody-yet") as room:
        room.wait_open(30)
        told = json.loads((home / "runtime" / "server.json").read_text())
        key = bearer(told["token"])
        messages, log = (
            request(told["url"], "GET", f"/rooms/lobby/{what}", **key).json for what in ("messages", "log")
        )
        local = EXPECTED["local"]["messages"]
        size = len(EXPECTED["local"]["log"])
        assert (messages[: len(local)], log[:size]) == (local, redacted(EXPECTED["local"]["log"]))
        # That of a Jupyter server in the same folder is taken over.
        assert [one["text"] for one in messages[len(local) :]] == [
            one["text"] for one in EXPECTED["jupyter"]["messages"]
        ]
        assert [message.text for message in room.messages] == [message["text"] for message in messages]
        last = room.messages[len(local) - 1]
        assert len(room.part(last.parts[0])) == messages[len(local) - 1]["parts"][0]["size"]


def test_the_runtime_file_is_the_one_of_the_release(home: Path) -> None:
    """Written by the present server; and read by the present ``Room`` as the release wrote it."""
    file = home / "runtime" / "server.json"
    file.parent.mkdir(mode=0o700)
    with running_server(runtime_file=str(file)) as server:
        written = json.loads(file.read_text())
        assert written == {"url": server.url, "pid": os.getpid(), "token": server.token}
        assert sorted(written) == EXPECTED["local"]["runtime"]
        with Room("lobby", user="lena") as room:
            assert room.url == f"{server.url}/rooms/lobby"


# ---- the history of Jupyter's extension


def test_the_history_of_a_jupyter_server_is_found(
    data: Path, home: Path, home_environ: dict[str, str], jupyter_server
) -> None:
    """Its name is made of the folder and the base path of that server."""
    base = "/a%20base/"
    digest = hashlib.sha256(f"{home / 'notebooks'} {base}".encode()).hexdigest()[:12]
    (home / "data").mkdir()
    (data / "jupyter-DIGEST.sqlite").rename(home / "data" / f"jupyter-{digest}.sqlite")
    (home / "jupyter-runtime").mkdir()
    with jupyter_server(home, home_environ, base=base) as jupyter:
        for what in ("messages", "log"):
            assert jupyter.ask("GET", f"/bqserver/rooms/lobby/{what}").json == EXPECTED["jupyter"][what]
