"""What a client can cause at will fills neither the audit log nor the server's log, and nothing is lost from them."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from bqserver import repeats
from bqserver.audit import AuditLog
from bqserver.auth import tokens
from bqserver.auth.identity import Identity
from bqserver.hub.dispatch import MAX_CONSECUTIVE_REJECTIONS
from bqserver.repeats import RepeatFilter
from bqserver.testing import running_server
from support.forking.server import start
from support.ws_client import member, request

COUNT = 200


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def stands_for(line: dict[str, object]) -> int:
    """How many events a line of the audit log tells of."""
    repeated = line.get("repeats", 1)
    assert isinstance(repeated, int)
    return repeated


# ---- the audit log


FRAMES = {
    "read_only": {"type": "chat.send", "cid": "c", "user": "eve", "text": "x"},
    "bad_field": {"type": "chat.send", "cid": 1},
    "empty": {"type": "chat.send", "cid": "c", "user": "eve", "text": ""},
}


@pytest.mark.parametrize("code", FRAMES)
def test_refused_frames_are_written_once_and_counted(home: Path, code: str):
    token, grant = tokens.add_grant(home / "data" / "tokens.json", "eve", read_only=True)
    path = home / "audit.jsonl"
    with running_server(audit_log=str(path)) as server, member(server.url, **bearer(token)) as eve:
        eve.until("synced")
        for _ in range(COUNT):
            eve.send(FRAMES[code])
        for _ in range(COUNT):
            assert eve.until("error")["code"] == code
        assert [line["code"] for line in lines(path) if line["what"] == "refused"] == [code]
    refused = [line for line in lines(path) if line["what"] == "refused"]
    assert [stands_for(line) for line in refused] == [1, COUNT - 1]
    for line in refused:
        assert (line["who"], line["token"], line["room"]) == ("eve", grant.id, "lobby")


def test_refused_frames_in_two_rooms_are_not_counted_for_one(home: Path):
    token, grant = tokens.add_grant(home / "data" / "tokens.json", "eve", read_only=True)
    path = home / "audit.jsonl"
    with running_server(audit_log=str(path)) as server:
        for room in ("first", "second", "second", "third"):
            with member(server.url, room, **bearer(token)) as eve:
                eve.until("synced")
                eve.send(FRAMES["read_only"])
                eve.until("error")
    refused = [line for line in lines(path) if line["what"] == "refused"]
    assert [(line.get("room"), stands_for(line)) for line in refused] == [("first", 1), (None, 3)]
    assert {(line["who"], line["token"], line["code"]) for line in refused} == {("eve", grant.id, "read_only")}


REQUESTS = {
    "wrong token": ("GET", "/messages", None, bearer("guess"), "401 unauthorized"),
    "no token": ("GET", "/messages", None, {}, "401 unauthorized"),
    "nothing there": ("GET", "/{}", None, {}, "404 not_found"),
    "public": ("GET", "/health", None, {}, "200 None"),
    "bad method": ("DELETE", "/messages", None, {}, "401 unauthorized"),
    "bad type": ("POST", "/session", "x", {"Content-Type": "text/plain"}, "415 bad_type"),
    "bad origin": ("POST", "/messages", {}, {"Origin": "https://evil.example"}, "403 bad_origin"),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_refused_and_public_requests_are_written_once_and_counted(home: Path, kind: str):
    method, path, body, headers, expected = REQUESTS[kind]
    audit = home / "audit.jsonl"
    with running_server(audit_log=str(audit)) as server:
        for number in range(COUNT):
            request(server.url, method, path.format(number), body, **headers)
        assert len(lines(audit)) == 1
    found = lines(audit)
    assert [f"{line['status']} {line.get('code')}" for line in found] == [expected] * 2
    assert [stands_for(line) for line in found] == [1, COUNT - 1]
    assert all(line["address"] == "127.0.0.1" for line in found)


def test_what_members_do_is_written_each_time(home: Path):
    audit = home / "audit.jsonl"
    with running_server(audit_log=str(audit), open=True) as server:
        for number in range(10):
            assert request(server.url, "POST", "/messages", {"user": "ada", "text": str(number)}).status == 201
            assert request(server.url, "GET", "/rooms/lobby/messages").status == 200
    assert Counter(line["what"] for line in lines(audit)) == {"POST /messages": 10, "GET /rooms/lobby/messages": 10}


def test_the_first_refusal_of_every_address_is_written_and_the_memory_is_bounded(tmp_path: Path):
    audit = AuditLog(str(tmp_path / "audit.jsonl"))
    addresses = [f"10.0.{number // 256}.{number % 256}" for number in range(5 * repeats.MAX_KEYS)]
    for address in addresses:
        for _ in range(3):
            audit.record("GET /messages", Identity(), address=address, repeated="401", status=401)
    assert len(audit._repeats._counts) <= repeats.MAX_KEYS
    audit.close()
    found = lines(tmp_path / "audit.jsonl")
    assert [line["address"] for line in found if "repeats" not in line] == addresses
    assert sum(stands_for(line) for line in found) == 3 * len(addresses)


def test_repetitions_are_summed_up_once_a_period(tmp_path: Path):
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock, summaries = Clock(), []
    counted: repeats.Repeats[str] = repeats.Repeats(lambda *summary: summaries.append(summary), clock=clock)
    written = []
    for number in range(10 * 100):
        clock.now = number * repeats.REPORT_PERIOD / 100  # ten periods
        if counted.first("a", f"event {number}"):
            written.append(number)
    assert written == [0]
    assert len(summaries) in (9, 10)
    counted.close()
    assert sum(count for _, count in summaries) == 10 * 100 - 1
    clock.now += 2 * repeats.REPORT_PERIOD
    assert counted.first("a", "after a pause")


def test_a_summary_comes_without_another_event(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repeats, "REPORT_PERIOD", 0.01)

    async def summary() -> tuple[str, int]:
        due: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
        counted: repeats.Repeats[str] = repeats.Repeats(lambda *found: due.set_result(found))
        assert counted.first("a", "1")
        assert not counted.first("a", "2")
        return await due

    assert asyncio.run(summary()) == ("2", 1)


# ---- the server's log


def test_the_servers_log_has_a_repeated_line_once(home: Path):
    with start("--port=0", "--log=memory", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[-1]
        for number in range(COUNT):  # Tornado warns of each, and shows the cookie
            cookie = f"bqserver-{url.rpartition(':')[2]}=eve{number}|1234567890|0"
            assert request(url, "GET", "/messages", Cookie=cookie).status == 401
        process.terminate()
        shown = process.stderr.read().splitlines()
        assert process.wait(20) == 0
    assert len(shown) == 2
    assert "eve0" in shown[0]
    assert f"eve{COUNT - 1}" in shown[1]
    assert shown[1].endswith(f"(the last of {COUNT - 1} like it)")


def test_lines_that_differ_in_details_are_repetitions(caplog: pytest.LogCaptureFixture):
    shown: list[str] = []

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(record.getMessage())

    handler = Shown()
    repeating = RepeatFilter(handler)
    handler.addFilter(repeating)
    for number in range(5):
        handler.handle(logging.makeLogRecord({"name": "a", "msg": "SSL error of %s", "args": (number,)}))
        handler.handle(logging.makeLogRecord({"name": "b", "msg": "another of %s", "args": (number,)}))
    assert shown == ["SSL error of 0", "another of 0"]
    repeating.close()
    assert shown[2:] == ["SSL error of 4 (the last of 4 like it)", "another of 4 (the last of 4 like it)"]


# ---- the rate


def test_refused_messages_count_towards_the_rate(home: Path):
    token, _ = tokens.add_grant(home / "data" / "tokens.json", "eve", read_only=True)
    with running_server(rate_limit=5, rate_seconds=60) as server, member(server.url, **bearer(token)) as eve:
        eve.until("synced")
        count = 5 + MAX_CONSECUTIVE_REJECTIONS  # the next one ends the connection
        frames = [FRAMES["read_only"], FRAMES["bad_field"]] * 10 + [FRAMES["empty"]] * count
        for frame in frames[: count + 1]:
            eve.send(frame)
        codes = [eve.until("error")["code"] for _ in range(count)]
        assert codes[:5] == ["read_only", "bad_field"] * 2 + ["read_only"]
        assert codes[5:] == ["rate"] * MAX_CONSECUTIVE_REJECTIONS
        assert eve.close_code() == 4029


@pytest.mark.parametrize(
    ("body", "status"), [({"user": "", "text": "x"}, 400), ({"text": "x"}, 400), ({"user": "ada", "text": ""}, 400)]
)
def test_refused_posts_count_towards_the_rate(body: dict[str, str], status: int):
    with running_server(open=True, rate_limit=5, rate_seconds=60) as server:
        found = [request(server.url, "POST", "/messages", body) for _ in range(7)]
        assert [answer.status for answer in found] == [status] * 5 + [429] * 2
        assert found[-1].code == "rate"
        assert request(server.url, "GET", "/messages").status == 200
