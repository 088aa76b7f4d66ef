"""The REST side of the contract, over a real server."""

from __future__ import annotations

import json
import re

import pytest
from bqserver.testing import RunningServer, running_server
from support.ws_client import member, request


@pytest.fixture(params=["memory", "sqlite", "nats"])
def server(request, log_traits):
    with running_server(**log_traits(request.param), open=True) as running:
        yield running


def post(server: RunningServer, text: str, path: str = "/messages", **more):
    return request(server.url, "POST", path, {"user": "ada", "text": text, **more})


def test_an_empty_room_lists_nothing(server):
    answer = request(server.url, "GET", "/messages")
    assert (answer.status, answer.json) == (200, [])
    assert answer.headers["Content-Type"] == "application/json"


def test_a_post_answers_with_the_entry_and_lists_it(server):
    answer = post(server, "hello")
    entry = answer.json
    assert answer.status == 201
    assert entry.keys() == {"seq", "room", "user", "text", "at"}
    assert (entry["room"], entry["user"], entry["text"]) == ("lobby", "ada", "hello")
    assert request(server.url, "GET", "/messages").json == [entry]


def test_a_post_can_be_plain_text(server):
    answer = post(server, "2*3*4", format="plain")
    assert (answer.status, answer.json["format"]) == (201, "plain")
    assert request(server.url, "GET", "/messages?limit=1").json == [answer.json]
    assert "format" not in post(server, "*hi*").json


def test_messages_is_the_lobby_and_rooms_are_separate(server):
    post(server, "in the lobby")
    post(server, "elsewhere", "/rooms/other/messages")
    assert [m["text"] for m in request(server.url, "GET", "/rooms/lobby/messages").json] == ["in the lobby"]
    assert [m["text"] for m in request(server.url, "GET", "/rooms/other/messages").json] == ["elsewhere"]


def test_the_last_50_come_oldest_first_and_both_ways_page(server):
    for number in range(60):
        post(server, str(number))
    texts = lambda query: [m["text"] for m in request(server.url, "GET", f"/messages{query}").json]  # noqa: E731
    assert texts("") == [str(n) for n in range(10, 60)]
    assert texts("?limit=2") == ["58", "59"]
    seqs = [m["seq"] for m in request(server.url, "GET", "/messages?limit=200").json]
    assert texts(f"?before={seqs[10]}&limit=3") == ["7", "8", "9"]
    assert texts(f"?after={seqs[10]}&limit=3") == ["11", "12", "13"]
    assert texts("?after=0&limit=2") == ["0", "1"]
    assert texts(f"?after={seqs[-1]}") == []
    assert texts(f"?around={seqs[10]}&limit=3") == ["9", "10", "11"]
    for other in ("before", "after"):
        refused = request(server.url, "GET", f"/messages?around={seqs[10]}&{other}={seqs[11]}")
        assert (refused.status, refused.json["error"]["code"]) == (400, "bad_around")
        refused = request(server.url, "GET", f"/messages?at=1&{other}={seqs[11]}")
        assert (refused.status, refused.json["error"]["code"]) == (400, "bad_at")
    (moment,) = [m["at"] for m in request(server.url, "GET", f"/messages?around={seqs[10]}&limit=1").json]
    assert texts(f"?at={moment}&limit=3") == ["9", "10", "11"]


def test_at_grows_strictly(server):
    ats = [post(server, str(n)).json["at"] for n in range(20)]
    assert ats == sorted(set(ats))


def test_the_same_cid_and_body_is_the_same_message(server):
    first, again, other = (
        post(server, "x", cid="one"),
        post(server, "x", cid="one"),
        post(server, "y", cid="one"),
    )
    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert again.json == first.json
    assert other.code == "conflict"
    assert len(request(server.url, "GET", "/messages").json) == 1


@pytest.mark.parametrize(
    ("body", "status", "code", "names"),
    [
        (b"{", 400, "bad_json", "JSON"),
        (b"\xff\xfe", 400, "bad_json", "JSON"),
        (b'{"user": "ada", "text": "\xff"}', 400, "bad_json", "utf-8"),
        (b"", 400, "bad_json", "JSON"),
        ([], 400, "bad_field", "object"),
        ({"user": "ada"}, 400, "bad_field", "text"),
        ({"text": "hi"}, 400, "bad_field", "user"),
        ({"user": "ada", "text": 3}, 400, "bad_field", "text"),
        ({"user": None, "text": "hi"}, 400, "bad_field", "user"),
        ({"user": "ada", "text": ""}, 400, "empty", "text"),
        ({"user": " ", "text": "hi"}, 400, "empty", "user"),
        ({"user": "ada", "text": "x" * 32_001}, 400, "too_long", "32,000"),
        ({"user": "u" * 65, "text": "hi"}, 400, "too_long", "64"),
        ({"user": "ada", "text": "hi", "cid": "c" * 65}, 400, "too_long", "cid"),
        ({"user": "ada", "text": "x" * 280_000}, 413, "too_big", "262,144"),
        ({"user": "ada", "text": "?", "ask": {"choices": ["a", "a"]}}, 400, "bad_field", "ask.choices"),
        ({"user": "ada", "text": "?", "ask": {"choices": ["a", " "]}}, 400, "empty", "ask.choices"),
        ({"user": "ada", "text": "?", "ask": {"choices": ["x" * 1001]}}, 400, "too_long", "1,000"),
        (
            {"user": "ada", "text": "?", "ask": {"choices": [str(n) for n in range(51)]}},
            400,
            "too_long",
            "50",
        ),
        ({"user": "ada", "text": "?", "ask": {"from": "u" * 65}}, 400, "too_long", "ask.from"),
        ({"user": "ada", "text": "hi", "format": "html"}, 400, "bad_field", "format"),
        ({"user": "ada", "text": "?", "ask": {"expires": 1 << 60}}, 400, "bad_field", "ask.expires"),
        (
            {"user": "ada", "text": "x", "parts": [{"mime": "a/b", "sha256": "zz", "size": 1}]},
            400,
            "bad_field",
            "sha256",
        ),
    ],
)
def test_a_bad_body_is_rejected_naming_the_field(server, body, status, code, names):
    answer = request(server.url, "POST", "/messages", body)
    assert (answer.status, answer.code) == (status, code)
    assert names.lower() in answer.json["error"]["message"].lower()  # msgspec 0.19: utf-8, 0.23: UTF-8
    assert post(server, "the server lives on").status == 201


def test_the_longest_text_is_accepted(server):
    assert post(server, "é" * 32_000).status == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_is_accepted(server, kind):
    answer = request(server.url, "POST", "/messages", b'{"user":"a","text":"b"}', Content_Type=kind)
    assert (answer.status, answer.code) == (415, "bad_type")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/messages?limit=0", 400, "bad_limit"),
        ("GET", "/messages?limit=201", 400, "bad_limit"),
        ("GET", "/messages?limit=ten", 400, "bad_limit"),
        ("GET", "/messages?before=-1", 400, "bad_before"),
        ("GET", "/messages?after=1e3", 400, "bad_after"),
        ("GET", "/messages?after=99999999999999999999", 400, "bad_after"),
        ("GET", "/rooms/no%20room/messages", 400, "bad_room"),
        ("GET", "/rooms/" + "r" * 65, 400, "bad_room"),
        ("GET", "/rooms//messages", 400, "bad_room"),
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/messages", 405, "method_not_allowed"),
        ("PUT", "/rooms/lobby", 405, "method_not_allowed"),
        ("BREW", "/messages", 405, "method_not_allowed"),
    ],
)
def test_a_bad_request_is_answered_in_json(server, method, path, status, code):
    answer = request(server.url, method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/messages", "GET, POST, HEAD, OPTIONS"),
        ("/rooms", "GET, HEAD, OPTIONS"),
        ("/invites", "POST, OPTIONS"),
        ("/static/page.js", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_405_names_the_allowed_methods(server, path, allowed):
    refused = request(server.url, "DELETE", path)
    assert (refused.status, refused.headers["Allow"]) == (405, allowed)


def test_head_is_a_get_without_a_body(server):
    for path in ("/health", "/messages", "/rooms", "/rooms/lobby", "/static/page.js"):
        got, asked = (request(server.url, method, path) for method in ("GET", "HEAD"))
        assert (asked.status, asked.body) == (200, b"")
        assert asked.headers["Content-Length"] == str(len(got.body))
        assert asked.headers["Content-Type"] == got.headers["Content-Type"]
    assert request(server.url, "HEAD", "/invites").status == 405
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    assert request(server.url, "HEAD", "/rooms/lobby", **upgrade).status == 200


def test_rooms_are_listed_with_their_members(server):
    post(server, "hi", "/rooms/quiet/messages")
    with member(server.url, "busy") as one:
        one.until("synced")
        assert request(server.url, "GET", "/rooms").json == [
            {"name": "busy", "seq": 0, "members": 1},
            {"name": "quiet", "seq": 1, "members": 0},
        ]


def test_health_reports_that_the_log_can_be_written(server):
    answer = request(server.url, "GET", "/health")
    assert (answer.status, answer.json) == (200, {"ok": True})


def test_changes_are_folded_for_lists_and_kept_in_the_log(server):
    with member(server.url) as ada:
        ada.until("synced")
        ada.say("frist")
        seq = ada.until("ack")["seq"]
        ada.send({"type": "chat.edit", "cid": "c2", "user": "ada", "target": seq, "text": "first"})
        ada.send({"type": "chat.react", "cid": "c3", "user": "bob", "target": seq, "emoji": "👍", "on": True})
        assert [ada.until("change")["entry"]["kind"] for _ in range(2)] == ["edit", "react"]
    (folded,) = request(server.url, "GET", "/messages").json
    assert (folded["text"], folded["reactions"]) == ("first", {"👍": ["bob"]})
    assert folded["edited"] > folded["at"]
    raw = request(server.url, "GET", "/rooms/lobby/log?after=0").json
    assert [entry.get("kind", "message") for entry in raw] == ["message", "edit", "react"]
    assert (raw[0]["text"], raw[1]["text"]) == ("first", "first")  # the text that it replaces is not shown any more


# ---- the page


def test_the_page_shows_its_last_messages_without_a_script(server):
    post(server, "<b>bold</b> & </script><script>alert(1)</script>")
    answer = request(server.url, "GET", "/rooms/lobby")
    html = answer.body.decode()
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;/script&gt;" in html
    assert html.count("<script") == 2
    state = json.loads(re.search(r'id="bqwidget-state">(.*?)</script>', html, re.DOTALL)[1])
    assert state["messages"][0]["text"].endswith("<script>alert(1)</script>")
    assert (state["seq"], state["oldest"]) == (1, 1)


def test_the_page_allows_no_script_but_its_own(server):
    policy = request(server.url, "GET", "/rooms/lobby").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy


def test_the_page_of_a_bad_room_is_rejected_in_json(server):
    assert request(server.url, "GET", "/rooms/a.b").code == "bad_room"


def test_static_serves_the_bundles_and_nothing_else(server):
    for path in ("/static/../protocol.py", "/static/%2e%2e/protocol.py", "/static/nothing.js"):
        assert request(server.url, "GET", path).status in (403, 404)
