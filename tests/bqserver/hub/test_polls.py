"""Polls on the server: every member has one vote, the last counts, and a poll that has ended takes none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from bqserver.auth import tokens
from bqserver.storage import rejections
from bqserver.testing import RunningServer, running_server
from support.ws_client import Frame, Member, member, request

KINDS = ("memory", "sqlite", pytest.param("nats", marks=pytest.mark.sqlite))
CHOICES = ["a", "b"]


@pytest.fixture(params=KINDS)
def server(request, log_traits) -> Iterator[RunningServer]:
    with running_server(**log_traits(request.param), open=True) as running:
        yield running


@pytest.fixture
def one(server: RunningServer) -> Iterator[Member]:
    with member(server.url) as joined:
        joined.until("synced")
        yield joined


def poll(server: RunningServer, **ask: object) -> int:
    body = {"user": "ada", "text": "Which?", "ask": {"choices": CHOICES, "poll": True, **ask}}
    return int(request(server.url, "POST", "/messages", body).json["seq"])


def vote(one: Member, target: int, choice: str, user: str = "bob", cid: str = "") -> Frame:
    """The ``ack`` or the ``error``."""
    cid = cid or f"{user}-{choice}-{time.monotonic_ns()}"
    one.send({"type": "chat.vote", "cid": cid, "user": user, "target": target, "choice": choice})
    while (answer := one.recv())["type"] not in ("ack", "error"):
        pass
    assert answer["cid"] == cid
    return answer


def folded(server: RunningServer, seq: int) -> Frame:
    return next(each for each in request(server.url, "GET", "/messages").json if each["seq"] == seq)


def test_every_member_has_one_vote_and_the_last_counts(server: RunningServer, one: Member) -> None:
    seq = poll(server)
    for user, choice in (("bob", "a"), ("eve", "a"), ("ada", "b"), ("bob", "b"), ("bob", "b")):
        assert vote(one, seq, choice, user)["type"] == "ack"
    assert folded(server, seq)["votes"] == {"a": ["eve"], "b": ["ada", "bob"]}
    with member(server.url, query=f"?after={seq}") as late:
        changes = [late.until("change")["entry"] for _ in range(5)]
    assert [(each["kind"], each["target"], each["user"], each["choice"]) for each in changes][1:3] == [
        ("vote", seq, "eve", "a"),
        ("vote", seq, "ada", "b"),
    ]


def test_a_repeated_vote_is_stored_once(server: RunningServer, one: Member) -> None:
    seq = poll(server)
    first = vote(one, seq, "a", cid="c")
    assert vote(one, seq, "a", cid="c") == first | {"dup": True}
    assert vote(one, seq, "b", cid="c")["code"] == "conflict"


def test_what_can_not_be_voted_for_is_refused_with_a_code(server: RunningServer, one: Member) -> None:
    plain = request(server.url, "POST", "/messages", {"user": "ada", "text": "hi"}).json["seq"]
    question = request(server.url, "POST", "/messages", {"user": "ada", "text": "?", "ask": {"choices": CHOICES}}).json
    seq, some = poll(server), poll(server, **{"from": ["bob", "eve"]})
    last = poll(server, **{"from": "bob"})
    assert vote(one, plain, "a")["code"] == "not_a_poll"
    assert vote(one, question["seq"], "a")["code"] == "not_a_poll"
    assert vote(one, seq, "c")["code"] == "bad_choice"
    assert vote(one, 9_999_999, "a")["code"] == "not_found"
    assert (vote(one, some, "a", "ada")["code"], vote(one, some, "a", "eve")["type"]) == ("forbidden", "ack")
    assert (vote(one, last, "a", "eve")["code"], vote(one, last, "a", "bob")["type"]) == ("forbidden", "ack")
    one.send({"type": "chat.vote", "cid": "x", "user": "bob", "target": seq})
    refused = one.until("error")
    assert (refused["code"], refused["cid"]) == ("bad_field", "x")
    assert "votes" not in folded(server, seq)


def test_an_ordinary_reply_to_a_poll_is_no_vote(server: RunningServer) -> None:
    seq, some = poll(server), poll(server, **{"from": ["bob", "eve"]})
    for target in (seq, some):
        body = {"user": "bob", "text": "a", "re": target, "choice": "a"}
        assert request(server.url, "POST", "/messages", body).status == 201
        assert folded(server, target).keys().isdisjoint({"answer", "votes"})
    refused = request(server.url, "POST", "/messages", {"user": "ada", "text": "a", "re": some, "choice": "a"})
    assert refused.code == "forbidden"


def test_a_poll_ends_when_all_who_were_asked_have_voted(server: RunningServer, one: Member) -> None:
    seq = poll(server, **{"from": ["bob", "eve"]})
    vote(one, seq, "a", "bob")
    vote(one, seq, "b", "bob")
    assert "expired" not in folded(server, seq)
    ended = vote(one, seq, "a", "eve")
    message = folded(server, seq)
    assert (message["votes"], message["expired"]) == ({"b": ["bob"], "a": ["eve"]}, ended["at"])
    assert vote(one, seq, "a", "bob")["code"] == "conflict"


def test_a_poll_ends_when_its_asker_says_so(server: RunningServer, one: Member) -> None:
    seq = poll(server)
    vote(one, seq, "a")
    expire = {"type": "chat.expire", "cid": "x", "user": "eve", "target": seq}
    one.send(expire)
    assert one.until("error")["code"] == "forbidden"
    one.send({**expire, "user": "ada"})
    assert one.until("ack")["cid"] == "x"
    assert vote(one, seq, "b")["code"] == "conflict"
    message = folded(server, seq)
    assert (message["votes"], message["expired"] > 0) == ({"a": ["bob"]}, True)
    one.send({**expire, "user": "ada", "cid": "y"})
    assert one.until("error")["code"] == "conflict"


def test_a_vote_after_the_end_is_refused_and_another_poll_is_open(server: RunningServer) -> None:
    with member(server.url) as one:
        now = one.until("hello")["now"]
        ended, running = poll(server, expires=now - 1), poll(server, expires=now + 600_000)
        assert vote(one, ended, "a")["code"] == "conflict"
        assert vote(one, running, "a")["type"] == "ack"
    assert "votes" not in folded(server, ended)


def test_setting_the_clock_ends_no_poll(tmp_path, monkeypatch) -> None:
    real, offset = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + offset)
    log = f"sqlite:{tmp_path / 'log.sqlite'}"
    with running_server(open=True, log=log) as server, member(server.url) as one:
        now = one.until("hello")["now"]
        seq = poll(server, expires=now + 60_000)
        offset = 3600.0
        ack = vote(one, seq, "a", cid="c")
        assert ack["at"] > now + 60_000
        assert vote(one, seq, "a", cid="c") == ack | {"dup": True}
        assert folded(server, seq)["votes"] == {"a": ["bob"]}


def test_the_poll_of_an_asker_that_is_gone_ends() -> None:
    with running_server(open=True, heartbeat=1) as server, member(server.url) as watching:
        watching.until("synced")
        with member(server.url, query="?user=ada&kind=kernel&client=k1") as kernel:
            kernel.until("synced")
            kernel.say("Which?", ask={"choices": CHOICES, "poll": True})
            seq = kernel.until("ack")["seq"]
        change = watching.until("change")["entry"]
        assert (change["kind"], change["target"]) == ("expire", seq)


def test_a_deleted_poll_has_no_votes_and_takes_none(server: RunningServer, one: Member) -> None:
    seq = poll(server)
    vote(one, seq, "a")
    one.send({"type": "chat.delete", "cid": "d", "user": "ada", "target": seq})
    assert one.until("ack")["cid"] == "d"
    message = folded(server, seq)
    assert (message["deleted"], "votes" in message, "ask" in message) == (True, False, False)
    assert vote(one, seq, "b")["code"] == "not_a_poll"


def test_the_votes_of_one_poll_are_bounded(server: RunningServer, one: Member, monkeypatch) -> None:
    monkeypatch.setattr(rejections, "MAX_VOTES", 3)
    seq = poll(server)
    for user in ("bob", "eve", "lin"):
        assert vote(one, seq, "a", user)["type"] == "ack"
    assert vote(one, seq, "a", "mia")["code"] == "too_many_votes"
    assert vote(one, seq, "b", "bob")["type"] == "ack"
    assert folded(server, seq)["votes"] == {"a": ["eve", "lin"], "b": ["bob"]}


def test_a_reader_may_not_vote(home) -> None:
    path = home / "data" / "tokens.json"
    ada, eve = ({"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("ada", "eve"))
    path.with_name("rights.toml").write_text('["*"]\neve = "read"\n')
    with running_server() as server, member(server.url, **eve) as one, member(server.url, **ada) as other:
        body = {"user": "x", "text": "Which?", "ask": {"choices": CHOICES, "poll": True}}
        seq = request(server.url, "POST", "/messages", body, **ada).json["seq"]
        assert vote(one, seq, "a")["code"] == "read_only"
        assert vote(other, seq, "a", "somebody")["type"] == "ack"
        [message] = request(server.url, "GET", "/messages", **ada).json
    assert message["votes"] == {"a": ["ada"]}
    assert json.dumps(message).count("eve") == 0
