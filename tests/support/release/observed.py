"""The names that a running server writes and returns: routes, error codes, close codes, metrics, audit log, files."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from support.eventually import eventually
from support.nats_cluster import nats_cluster
from support.pictures import png
from support.release.cluster import cluster_names
from support.release.files import bqserver
from support.release.names import Names, keys_of
from support.release.report import bearer, outcome
from support.ws_client import member, request


def observe(folder: Path, nats_binary: str) -> Names:
    """By section. ``folder``: for NATS and an audit log; the data folder is ``BQWIDGET_DATA_DIR``, which must be empty."""
    data = Path(os.environ["BQWIDGET_DATA_DIR"])
    found: Names = {}
    ada, read_only, _ = (
        bqserver(data, "token", "add", *words).stdout.strip()
        for words in (
            ["ada"],
            ["bob", "--read-only"],
            ["carol", "--rooms=a,b-*", "--expires=2126-01-01T00:00Z"],
        )
    )
    (data / "rights.toml").write_text('["*"]\nada = "moderate"\n[staff]\n"*" = "none"\nada = "moderate"\n')
    _observe_single_server(found, folder, data, ada, read_only)
    _observe_limits(found)
    with nats_cluster(nats_binary, folder / "nats", 1, sync="2m") as cluster:
        found["jetstream"] = cluster_names(cluster.servers[0].url, data, ada)
    found["files"] = _files(data)
    return found


def _observe_single_server(found: Names, folder: Path, data: Path, ada: str, read_only: str) -> None:
    from bqserver.app import ChatServer
    from bqserver.testing import running_server

    audit = folder / "audit.jsonl"
    audit.parent.mkdir(parents=True, exist_ok=True)
    runtime = folder / "server.json"
    traits = {"log": ChatServer().log_url, "audit_log": str(audit), "runtime_file": str(runtime)}
    with running_server(**traits) as server:
        url, shared = server.url, server.token
        assert shared
        found["runtime file"] = sorted(json.loads(runtime.read_text()))
        found["routes and refusals"] = _requests(url, shared, ada, read_only)
        found["frames refused"], found["close codes"] = _provoke_errors(url, shared, ada)
        found["close codes"] |= _revoke_rights(url, data, shared, read_only)
        found["cookie"] = _cookie(url, shared)
        request(url, "GET", "/rooms/lobby/search?q=x", **bearer(ada))
        figures = request(url, "GET", "/metrics", **bearer(shared)).body.decode()
        with member(url, "lobby", **bearer(shared)) as last:
            last.until("synced")
            server.stop()
            bye = last.until("bye")
            found["close codes"]["the server stops"] = [bye["code"], last.close_code()]
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", figures, re.MULTILINE))
    labels = {
        name: sorted(re.findall(r"(\w+)=", given))
        for name, given in re.findall(r"^(bq\w+)\{(.*)\}", figures, re.MULTILINE)
    }
    found["metrics"] = {"types": kinds, "labels": labels}
    found["audit log"] = _audit_fields(audit)


def _audit_fields(path: Path) -> Names:
    """By event: the fields of its lines and their types."""
    found: Names = {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        what = "a request" if "/" in event["what"] else event["what"]
        found.setdefault(what, {}).update({name: type(value).__name__ for name, value in event.items()})
    return found


def _requests(url: str, shared: str, ada: str, read_only: str) -> Names:
    """The responses of all routes, and every error that a single request can cause."""
    known, named, reads = bearer(shared), bearer(ada), bearer(read_only)
    picture = {**known, "Content_Type": "image/png"}
    hi = {"user": "x", "text": "hi"}
    part = request(url, "POST", "/rooms/lobby/parts", png(), **picture).json
    unknown = {**part, "sha256": "0" * 64}
    ask = {"choices": ["a"], "from": "ada", "expires": 1}
    upload, moderation, shut = (f"/rooms/{path}" for path in ("lobby/parts", "lobby/moderation", "shut/moderation"))
    table: dict[str, tuple[str, Any, dict[str, str]]] = {
        "list": ("GET /messages", None, known),
        "list of a room": ("GET /rooms/lobby/messages?limit=1&before=9", None, known),
        "post": ("POST /messages", hi, known),
        "post with cid": ("POST /rooms/lobby/messages", {**hi, "cid": "1"}, known),
        "repeated post": ("POST /rooms/lobby/messages", {**hi, "cid": "1"}, known),
        "another body": ("POST /rooms/lobby/messages", {**hi, "cid": "1", "text": "ho"}, known),
        "question": ("POST /messages", {**hi, "ask": ask}, known),
        "wrong choice": ("POST /messages", {**hi, "re": 3, "choice": "b"}, known),
        "reply to nothing": ("POST /messages", {**hi, "re": 999}, known),
        "post with attachment": ("POST /messages", {**hi, "parts": [part]}, known),
        "post with unknown attachment": ("POST /messages", {**hi, "parts": [unknown]}, known),
        "raw log": ("GET /rooms/lobby/log?after=0&limit=2", None, known),
        "search": ("GET /rooms/lobby/search?q=hi", None, known),
        "search without words": ("GET /rooms/lobby/search", None, known),
        "rooms": ("GET /rooms", None, known),
        "page": ("GET /rooms/lobby", None, known),
        "join check": ("GET /rooms/lobby/join?user=x", None, known),
        "health": ("GET /health", None, {}),
        "metrics": ("GET /metrics", None, known),
        "download": (f"GET {upload}/{part['sha256']}", None, known),
        "unknown download": (f"GET {upload}/{'0' * 64}", None, known),
        "invite": ("POST /invites", {"uses": 2, "minutes": 1, "myself": False}, known),
        "invite by a read-only token": ("POST /invites", {}, reads),
        "invite with too many uses": ("POST /invites", {"uses": 10_000}, known),
        "wrong invite": ("POST /session", {"invite": "x"}, {"Origin": url}),
        "style": ("GET /static/page.css", None, {}),
        "script": ("GET /static/page.js", None, {}),
        "unknown path": ("GET /nowhere", None, known),
        "wrong method": ("PUT /messages", hi, known),
        "wrong limit": ("GET /messages?limit=0", None, known),
        "wrong before": ("GET /messages?before=x", None, known),
        "wrong after": ("GET /messages?after=-1", None, known),
        "wrong room name": ("GET /rooms/a%20b/messages", None, known),
        "no JSON": ("POST /messages", b"{", known),
        "wrong field": ("POST /messages", {"user": 1, "text": "x"}, known),
        "empty text": ("POST /messages", {**hi, "text": " "}, known),
        "long text": ("POST /messages", {**hi, "text": "x" * 50_000}, known),
        "large body": ("POST /messages", {**hi, "text": "x" * 300_000}, known),
        "wrong type": ("POST /messages", hi, {**known, "Content_Type": "text/plain"}),
        "no token": ("GET /messages", None, {}),
        "wrong token": ("GET /messages", None, bearer("x")),
        "wrong host": ("GET /messages", None, {**known, "Host": "evil.example"}),
        "wrong origin": ("GET /messages", None, {**known, "Origin": "https://evil.example"}),
        "wrong handshake": ("GET /rooms/lobby", None, {**known, "Upgrade": "websocket"}),
        "upload of no picture": (f"POST {upload}", b"x", picture),
        "empty upload": (f"POST {upload}", b"", picture),
        "upload of a wrong type": (f"POST {upload}", b"x", {**known, "Content_Type": "text/html"}),
        "no right to read": ("GET /rooms/staff/messages", None, known),
        "no right to write": ("POST /messages", hi, reads),
        "name of a token's holder": ("POST /messages", {**hi, "user": "Ada"}, known),
        "order by no moderator": (f"POST {moderation}", {"do": "close"}, known),
        "order without a user": (f"POST {moderation}", {"do": "mute"}, named),
        "mute": (f"POST {moderation}", {"do": "mute", "user": "eve", "minutes": 5}, named),
        "muted": ("POST /messages", {**hi, "user": "eve"}, known),
        "unmute": (f"POST {moderation}", {"do": "unmute", "user": "eve"}, named),
        "close": (f"POST {shut}", {"do": "close"}, named),
        "closed": ("GET /rooms/shut/messages", None, known),
        "reopen": (f"POST {shut}", {"do": "reopen"}, named),
    }
    answers: Names = {}
    for label, (line, body, headers) in table.items():
        answers[label] = {line.partition("?")[0][:40]: outcome(request(url, *line.split(), body, **headers))}
    fields = {"list": ("GET", "/messages"), "rooms": ("GET", "/rooms"), "invite": ("POST", "/invites")}
    for label, (method, path) in fields.items():
        answer = request(url, method, path, None if method == "GET" else {}, **known).json
        answers[label]["fields"] = sorted(answer[0] if method == "GET" else answer)
    return answers


def _provoke_errors(url: str, shared: str, ada: str) -> tuple[Names, Names]:
    """The error codes and responses to frames, and the close codes of connections."""
    refused: Names = {}
    drafts = {
        "a reaction to nothing": {"type": "chat.react", "target": 999, "emoji": "x"},
        "an edit of another's": {"type": "chat.edit", "user": "y", "target": 1, "text": "z"},
        "the end of no question": {"type": "chat.expire", "target": 1},
        "a field that is missing": {"type": "chat.send"},
    }
    with member(url, "lobby", "?user=x&kind=kernel&client=c", **bearer(shared)) as one:
        one.until("synced")
        for label, frame in drafts.items():
            one.send({"cid": label, "user": "x", **frame})
            refused[label] = one.until("error")["code"]
        one.send({"type": "chat.delete", "cid": "5", "user": "x", "target": 2})
        one.until("ack")
        one.send({"type": "chat.busy", "busy": True})
        one.send({"type": "chat.typing", "user": "x"})
        refused["presence"] = eventually(lambda: _fields_of(one.until("presence"), "busy", "typing"))
        one.send({"type": "chat.ping"})
        refused["ping"] = one.until("synced")["type"]
        one.send({"type": "chat.resume", "after": 0})
        refused["resume"] = one.until("message")["type"]
        one.send({"type": "else"})
        refused["anything else"] = one.until("echo")
        one.send({"type": "chat.react", "cid": "6", "user": "x", "target": 1, "emoji": "x"})
        one.until("ack")
        one.send({"type": "chat.edit", "cid": "7", "user": "x", "target": 1, "text": "edited"})
        one.until("ack")
        one.say("Which?", cid="8", user="x", ask={})
        one.send({"type": "chat.expire", "cid": "9", "user": "x", "target": one.until("ack")["seq"]})
        one.until("ack")
    closed: Names = {}
    for label, data, text in (
        ("binary", b"x", None),
        ("no UTF-8", b"\xff", True),
        ("too big", b"x" * 300_000, True),
    ):
        with member(url, **bearer(shared)) as one:
            one.until("synced")
            one.socket.send(data, text=text)
            closed[label] = one.close_code()
    mute = {"do": "mute", "user": "mallory"}
    assert request(url, "POST", "/rooms/lobby/moderation", mute, **bearer(ada)).status == 204
    with member(url, "shutting", **bearer(shared)) as one:
        one.until("synced")
        assert request(url, "POST", "/rooms/shutting/moderation", {"do": "close"}, **bearer(ada)).status == 204
        closed["the room is closed"] = one.close_code()
    return refused, closed


def _revoke_rights(url: str, data: Path, shared: str, read_only: str) -> Names:
    """The close codes after changes of the files of tokens and rights."""
    with (
        member(url, "lobby", **bearer(read_only)) as revoked,
        member(url, "later", **bearer(shared)) as later,
    ):
        revoked.until("synced")
        later.until("synced")
        bqserver(data, "token", "revoke", "bob")
        with (data / "rights.toml").open("a") as rights:
            rights.write('[later]\n"*" = "none"\n')
        return {"the token is revoked": revoked.close_code(), "the right is gone": later.close_code()}


def _fields_of(presence: dict[str, Any], *names: str) -> list[str]:
    return next((sorted(one) for one in presence["members"] if one.keys() >= set(names)), [])


def _cookie(url: str, shared: str) -> list[str]:
    code = request(url, "POST", "/invites", {}, **bearer(shared)).json["code"]
    answer = request(url, "POST", "/session", {"invite": code}, Origin=url)
    cookie = re.sub(r"bqserver-\d+=[^;]+", "bqserver-PORT=VALUE", answer.headers["Set-Cookie"])
    return sorted(re.sub(r"expires=[^;]+", "expires=TIME", cookie).split("; "))


def _observe_limits(found: Names) -> None:
    """The responses to too many messages, joins, failures and connections."""
    from bqserver.testing import running_server

    answers, hi = found["routes and refusals"], {"user": "x", "text": "hi"}
    with running_server(rate_limit=1, join_limit=1, failure_limit=1) as server:
        key = bearer(server.token)
        for label, method, path, body, headers in (
            ("too many messages", "POST", "/messages", hi, key),
            ("too many joins", "GET", "/rooms/lobby/join", None, key),
            ("too many failures", "GET", "/rooms", None, bearer("guess")),
        ):
            both = [request(server.url, method, path, body, **headers) for _ in range(2)]
            answers[label] = [outcome(answer) for answer in both]
            assert both[1].headers["Retry-After"]
    for limit in ("max_connections", "max_connections_each"):
        with running_server(**{limit: 1}) as server, member(server.url, **bearer(server.token)) as one:
            one.until("synced")
            answers[limit] = outcome(request(server.url, "GET", "/rooms/lobby/join", **bearer(server.token)))
    with running_server(rate_limit=1, open=True) as server, member(server.url) as one:
        one.until("synced")
        for number in range(22):  # one is stored, 20 are rejected, and the last one closes the connection
            one.say("hi", user="x", cid=str(number))
        found["close codes"]["too many messages"] = one.close_code()


# ---- files


def _files(data: Path) -> Names:
    """By file name: a database's ids, tables and columns, or a JSON file's keys."""
    found: Names = {}
    for path in sorted(data.iterdir()):
        name = re.sub(r"^view-\d+", "view-PORT", path.name)
        if path.suffix == ".json":
            found[name] = sorted(keys_of(json.loads(path.read_text())))
        elif path.read_bytes()[:15] == b"SQLite format 3":
            found[name] = _schema(path)
        else:
            found[name] = "a file"
    return found


def _schema(path: Path) -> Names:
    with closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            "application_id": db.execute("PRAGMA application_id").fetchone()[0],
            "tables": {
                table: {row[1]: row[2] for row in db.execute(f"PRAGMA table_info({table})")}
                for table in tables
                if not table.startswith("found_")  # FTS5's own
            },
            "meta": sorted(row[0] for row in db.execute("SELECT name FROM meta"))
            if "meta" in tables and not path.name.endswith("-search")
            else [],
        }
