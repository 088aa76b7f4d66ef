"""Questions on the server: the first answer counts, and the questions of an asker that is gone expire."""

from __future__ import annotations

import socket

import pytest
from bqserver.testing import running_server
from support.ws_client import member, request

ASK = {"ask": {"choices": ["yes", "no"]}}


@pytest.fixture
def server():
    with running_server(open=True, heartbeat=1.0) as running:
        yield running


def question(server, **ask) -> int:
    body = {"user": "ada", "text": "Continue?", "ask": ask}
    return request(server.url, "POST", "/messages", body).json["seq"]


def answer(server, seq: int, choice: str | None = None, user: str = "bob"):
    body = {"user": user, "text": choice or "words", "re": seq}
    return request(server.url, "POST", "/messages", body | ({"choice": choice} if choice else {}))


def folded(server, seq: int) -> dict:
    return next(m for m in request(server.url, "GET", "/messages").json if m["seq"] == seq)


def test_the_first_answer_counts(server):
    seq = question(server, choices=["yes", "no"])
    first, second = answer(server, seq, "yes"), answer(server, seq, "no", "eve")
    assert (first.status, second.status) == (201, 201)
    assert folded(server, seq)["answer"] == first.json["seq"]


def test_free_text_answers_an_open_question_but_not_one_with_choices(server):
    closed, free = question(server, choices=["yes", "no"]), question(server)
    answer(server, closed)
    reply = answer(server, free).json
    assert "answer" not in folded(server, closed)
    assert folded(server, free)["answer"] == reply["seq"]


def test_only_an_offered_choice_counts(server):
    seq = question(server, choices=["yes", "no"])
    assert (answer(server, seq, "maybe").status, answer(server, seq, "maybe").code) == (400, "bad_choice")
    assert answer(server, 99, "yes").code == "not_found"


def test_only_the_member_who_was_asked_may_answer(server):
    seq = question(server, **{"choices": ["yes"], "from": "bob"})
    assert (answer(server, seq, "yes", "eve").status, answer(server, seq, "yes", "eve").code) == (
        403,
        "forbidden",
    )
    assert folded(server, seq).get("answer") is None
    answered = answer(server, seq, "yes", "bob").json
    assert folded(server, seq)["answer"] == answered["seq"]


def test_an_answer_after_the_expiry_does_not_count(server):
    seq = question(server, choices=["yes"], expires=1)
    assert answer(server, seq, "yes").status == 201
    assert "answer" not in folded(server, seq)


def test_only_the_asker_may_expire_a_question(server):
    with member(server.url) as one:
        one.until("synced")
        one.say("Continue?", **ASK)
        seq = one.until("ack")["seq"]
        expire = {"type": "chat.expire", "cid": "x", "target": seq}
        one.send({**expire, "user": "eve"})
        assert one.until("error")["code"] == "forbidden"
        one.send({**expire, "user": "ada"})
        change = one.until("change")["entry"]
        assert (change["kind"], change["target"]) == ("expire", seq)
        answer(server, seq, "yes")
        assert folded(server, seq)["expired"] == change["at"]
        assert "answer" not in folded(server, seq)
        one.send({**expire, "user": "ada", "cid": "y"})
        assert one.until("error")["code"] == "conflict"


def test_the_question_of_a_dead_asker_expires(server):
    with member(server.url) as watching:
        watching.until("synced")
        with member(server.url, query="?user=ada&kind=kernel&client=k1") as kernel:
            kernel.until("synced")
            kernel.say("Continue?", **ASK)
            seq = kernel.until("ack")["seq"]
            kernel.say("Answered?", cid="c2", **ASK)
            second = kernel.until("ack")["seq"]
            answer(server, second, "yes")
            kernel.socket.socket.shutdown(socket.SHUT_RDWR)  # the reading thread closes it
        change = watching.until("change")["entry"]
        assert (change["kind"], change["target"]) == ("expire", seq)
    assert "expired" not in folded(server, second)


def test_a_kernel_that_comes_back_keeps_its_questions(server):
    with member(server.url, query="?user=ada&client=k1") as kernel:
        kernel.until("synced")
        kernel.say("Continue?", **ASK)
        seq = kernel.until("ack")["seq"]
    with member(server.url, query="?user=ada&client=k1") as kernel:
        for _ in range(3):  # heartbeats: longer than a dead kernel is waited for
            kernel.until("synced")
        reply = answer(server, seq, "no").json
        assert folded(server, seq)["answer"] == reply["seq"]


def test_kernels_report_whether_they_are_busy(server):
    with member(server.url, query="?user=ada&kind=kernel") as kernel:
        assert kernel.until("presence")["members"] == [{"user": "ada", "kind": "kernel"}]
        kernel.send({"type": "chat.busy", "busy": True})
        assert kernel.until("presence")["members"] == [{"user": "ada", "kind": "kernel", "busy": True}]
