"""``/metrics`` and the audit log, which never contains message texts, tokens or queries."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest
from bqserver.audit import AuditLog
from bqserver.auth import tokens
from bqserver.auth.identity import Identity
from bqserver.errors import StartError
from bqserver.testing import running_server
from prometheus_client.parser import text_string_to_metric_families
from support.eventually import eventually
from support.forking.server import start
from support.ws_client import member, request

TEXT = "between us"


def metrics(server) -> dict[str, float]:
    answer = request(server.url, "GET", "/metrics", Authorization=f"Bearer {server.token}")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            found["/".join([sample.name, *sample.labels.values()])] = sample.value
    return found


def test_metrics_count_requests_members_and_entries(home):
    with running_server() as server:
        bearer = {"Authorization": f"Bearer {server.token}"}
        assert request(server.url, "GET", "/messages").status == 401
        with member(server.url, **bearer) as one, member(server.url, **bearer) as other:
            one.until("synced")
            other.until("synced")
            one.say(TEXT)
            one.until("ack")
            other.texts(1)
            one.say("", cid="c2")
            one.until("error")
            now = metrics(server)
        assert {
            "bqserver_members": 2,
            "bqserver_rooms": 1,
            "bqserver_log_healthy": 1,
            "bqserver_joins_total": 2,
            "bqserver_entries_total": 1,
            "bqserver_deliveries_total": 2,
            "bqserver_http_requests_total/401": 1,
            "bqserver_refused_total/unauthorized": 1,
            "bqserver_refused_total/empty": 1,
        }.items() <= now.items()
        assert not any("lobby" in name or "ada" in name for name in now)
        assert eventually(lambda: metrics(server)["bqserver_members"] == 0)


def test_metrics_need_a_token(home):
    with running_server() as server:
        assert request(server.url, "GET", "/metrics").status == 401
        bearer = {"Authorization": f"Bearer {server.token}"}
        code = request(server.url, "POST", "/invites", {}, **bearer).json["code"]
        made = request(server.url, "POST", "/session", {"invite": code}, Origin=server.url)
        cookie = made.headers["Set-Cookie"].partition(";")[0]
        assert request(server.url, "GET", "/metrics", Cookie=cookie).code == "forbidden"


def lines(path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_audit_log_has_who_did_what_where(home):
    ada, grant = tokens.add_grant(home / "data" / "tokens.json", "ada")
    path = home / "audit.jsonl"
    with running_server(audit_log=str(path)) as server:
        named, shared = ({"Authorization": f"Bearer {token}"} for token in (ada, server.token))
        request(server.url, "POST", "/messages", {"user": "x", "text": TEXT}, **named)
        request(server.url, "GET", "/rooms/lobby/search?q=between", **named)
        request(server.url, "GET", "/rooms/staff/messages", Authorization="Bearer a-guess")
        with member(server.url, "staff", query="?user=bob", **shared) as bob:
            bob.until("synced")
            bob.say(TEXT, user="bob")
            seq = bob.until("ack")["seq"]
            bob.say("x", cid="c2", user="ada")
            bob.until("error")
        eventually(lambda: lines(path)[-1]["what"] == "leave")
    events = lines(path)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}\+00:00", str(line.pop("at"))) for line in events)
    assert all(line.pop("address") == "127.0.0.1" for line in events)
    for line in events:
        line.pop("ms", None)
    by_ada = {"who": "ada", "token": grant.id, "room": "lobby"}
    bob = {"says": "bob", "room": "staff"}
    assert events == [
        {"what": "POST /messages", **by_ada, "status": 201},
        {"what": "GET /rooms/lobby/search", **by_ada, "status": 200},
        {"what": "GET /rooms/staff/messages", "status": 401, "code": "unauthorized"},
        {"what": "join", **bob},
        {"what": "send", **bob, "seq": seq},
        {"what": "refused", **bob, "code": "name_taken"},
        {"what": "leave", **bob},
    ]
    kept = path.read_text()
    assert not any(secret in kept for secret in (TEXT, "between", ada, str(server.token), "a-guess"))
    assert path.stat().st_mode & 0o077 == 0


def test_a_rotated_audit_log_is_created_again_on_sighup(home):
    path = home / "audit.jsonl"
    with start("--port=0", "--log=memory", "--open", f"--audit-log={path}", stdout=subprocess.PIPE) as process:
        try:
            url = process.stdout.readline().split()[-1]
            request(url, "GET", "/messages")
            eventually(path.read_text, what="the line of a request that was answered")
            path.rename(home / "audit.jsonl.1")
            process.send_signal(signal.SIGHUP)
            eventually(path.exists, what="the new audit log")
            request(url, "GET", "/rooms")
            eventually(lambda: [line["what"] for line in lines(path)] == ["GET /rooms"])
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_a_rotated_audit_log_is_created_again_by_the_next_line(tmp_path):
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(str(path))
    audit.record("join", Identity())
    path.rename(tmp_path / "audit.jsonl.1")
    audit.record("leave", Identity())
    audit.close()
    assert [line["what"] for line in lines(tmp_path / "audit.jsonl.1")] == ["join"]
    assert [line["what"] for line in lines(path)] == ["leave"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_errors_of_writing_are_logged_and_do_not_stop_the_server(tmp_path, caplog):
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "audit.jsonl"
    audit = AuditLog(str(path))
    (tmp_path / "logs").rename(tmp_path / "moved")
    audit.record("join", Identity())
    audit.reopen()
    path.parent.mkdir()
    audit.record("leave", Identity())
    full = AuditLog("/dev/full")
    full.record("send", Identity())
    full.close()
    audit.close()
    assert [line["what"] for line in lines(path)] == ["leave"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "No space left" in caplog.text


def test_lines_of_the_audit_log_are_not_passed_to_other_loggers(tmp_path, caplog, capsys):
    caplog.set_level(0)
    audit = AuditLog("-")
    audit.record("send", Identity("ada"))
    audit.close()
    assert json.loads(capsys.readouterr().err)["who"] == "ada"
    assert caplog.records == []


def test_an_audit_log_that_can_not_be_written_is_an_error_at_the_start(tmp_path):
    with pytest.raises(StartError, match="audit log"):
        AuditLog(str(tmp_path / "none" / "audit.jsonl"))


def test_a_line_break_in_a_name_does_not_break_the_line(tmp_path):
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(str(path))
    audit.record("send", Identity(), claimed_name="eve\n{}\x1b[2J\u202e")
    audit.close()
    assert os.linesep.join(path.read_text().splitlines()[:1]) == path.read_text().rstrip("\n")
    assert lines(path)[0]["says"] == "eve\n{}\x1b[2J\u202e"
    assert "\x1b" not in path.read_text()
