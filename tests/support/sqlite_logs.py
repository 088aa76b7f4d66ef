"""Logs in SQLite files for tests: create, read, check and corrupt them."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from pathlib import Path

from bqserver.storage.sqlite.check import find_problems
from bqserver.storage.sqlite.schema import connect
from bqserver.testing import RunningServer, running_server

from .forking.server import run
from .pictures import png
from .ws_client import member, request


def make_log(path: Path) -> Path:
    """A log with two rooms, 8 entries, changes and an answered question; its server has stopped."""
    with running_server(log=f"sqlite:{path}", open=True) as server, member(server.url) as one:
        one.say("helo", cid="1")
        one.send({"type": "chat.edit", "cid": "2", "user": "ada", "target": 1, "text": "hello"})
        one.send({"type": "chat.react", "cid": "3", "user": "bob", "target": 1, "emoji": "👍"})
        one.say("which?", cid="4", ask={"choices": ["left", "right"]})
        one.say("left", cid="5", user="bob", re=4, choice="left")
        one.say("gone", cid="6")
        one.send({"type": "chat.delete", "cid": "7", "user": "ada", "target": 6})
        for _ in range(7):
            one.until("ack")
        request(server.url, "POST", "/rooms/other/messages", {"user": "bob", "text": "hi"})
    return path


def make_log_with_attachments(path: Path) -> Path:
    """A log with two messages that reference one attachment each; its server has stopped."""
    with running_server(log=f"sqlite:{path}", open=True) as server:
        for number in range(2):
            data = png(color=(number, 0, 0))
            part = request(server.url, "POST", "/rooms/lobby/parts?name=p.png", data, Content_Type="image/png").json
            body = {"user": "ada", "text": "", "parts": [part]}
            assert request(server.url, "POST", "/messages", body).status == 201
    return path


def fetch_attachments(log: Path) -> list[bytes]:
    """The bytes that a server of that log returns for each referenced attachment; empty if it has none."""
    with running_server(log=f"sqlite:{log}", open=True) as server:
        parts = [part for message in request(server.url, "GET", "/messages").json for part in message.get("parts", [])]
        answers = [request(server.url, "GET", f"/rooms/lobby/parts/{part['sha256']}") for part in parts]
        return [answer.body if answer.status == 200 else b"" for answer in answers]


def list_problems(path: Path) -> list[str]:
    with contextlib.closing(connect(path, readonly=True)) as db:
        return list(find_problems(db))


def run_bqserver(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run(*arguments)


def corrupt(path: Path) -> None:
    """Overwrite the first page of the table of entries."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'")
    whole = bytearray(path.read_bytes())
    whole[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    path.write_bytes(whole)


def delete_entry(path: Path) -> None:
    """Delete seq 5 of the first room."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM entry WHERE id = (1 << 40 | 5)")
        db.commit()


def drop_entries(server: RunningServer) -> None:
    """Drop the table of entries from the file that a server reads: its log, or its replica of a cluster's log."""
    app = server.app
    path = app.view if app.log_url.startswith("nats:") else app.log_url.partition(":")[2]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE entry")
