"""Questions on the server: the first answer counts, and the questions of an asker that is gone expire."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress

import pytest
from bqserver.auth import tokens
from bqserver.hub.dispatch import submit
from bqserver.hub.hub import Hub
from bqserver.hub.orphans import Orphans
from bqserver.model import Rejected, Submission
from bqserver.storage.memory import MemoryLog
from bqserver.testing import running_server
from support.hub import RecordingConnection, joined, new_peer, run, settle
from support.ws_client import member, request

from bqwidget.protocol import Ask, Send

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


@pytest.mark.parametrize("meanwhile", ["nothing", "mute", "close", "revoke"])
def test_the_question_of_a_dead_verified_asker_expires(home, meanwhile):
    path = home / "data" / "tokens.json"
    ada, boss = ({"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("ada", "boss"))
    path.with_name("rights.toml").write_text('["*"]\nboss = "moderate"\n')
    with running_server(heartbeat=1.0) as server, member(server.url, **boss) as watching:
        watching.until("synced")
        with member(server.url, query="?kind=kernel&client=k1", **ada) as kernel:
            kernel.until("synced")
            kernel.say("Continue?", **ASK)
            seq = kernel.until("ack")["seq"]
            if meanwhile == "revoke":
                tokens.revoke_grants(path, "ada")
                assert kernel.close_code() == 4401
            elif meanwhile != "nothing":
                order = {"do": meanwhile, "user": "ada", "minutes": 10} if meanwhile == "mute" else {"do": meanwhile}
                assert request(server.url, "POST", "/rooms/lobby/moderation", order, **boss).status < 300
            with suppress(OSError):  # closed by the server
                kernel.socket.socket.shutdown(socket.SHUT_RDWR)
        change = watching.until("change")["entry"]
        assert (change["kind"], change["target"], change["user"]) == ("expire", seq, "ada")
        [asked] = request(server.url, "GET", "/messages", **boss).json
        assert asked["expired"] == change["at"]


HOUR = 3_600_000
"""Milliseconds."""


@pytest.mark.parametrize("shift", [HOUR, -HOUR], ids=["forward", "back"])
@pytest.mark.parametrize("when", ["before the question", "before the answer"])
def test_setting_the_clock_changes_no_deadline(tmp_path, monkeypatch, shift, when):
    """The clock is set while the server runs, and is right again when it has started again."""
    real, offset = time.time, 0
    monkeypatch.setattr(time, "time", lambda: real() + offset / 1000)
    log = f"sqlite:{tmp_path / 'log.sqlite'}"

    def check(server, offset_later: int) -> None:
        nonlocal offset
        with member(server.url) as one:
            now = one.until("hello")["now"]
        in_time, late = question(server, expires=now + 60_000), question(server, expires=now - 1)
        offset = offset_later
        body = {"user": "bob", "text": "yes", "re": in_time, "cid": "one"}
        reply = request(server.url, "POST", "/messages", body).json
        answer(server, late)
        assert folded(server, in_time)["answer"] == reply["seq"]
        assert "answer" not in folded(server, late)
        again = request(server.url, "POST", "/messages", body)
        assert (again.status, again.json) == (200, reply)

    with running_server(open=True, log=log) as server:
        if when == "before the question":
            offset = shift
            question(server)  # its ``at`` is an hour ahead, or its clock an hour behind
        check(server, shift)
    offset = 0
    with running_server(open=True, log=log) as server:
        check_again = {"user": "bob", "text": "yes", "cid": "two"}
        assert request(server.url, "POST", "/messages", check_again).status == 201
        with member(server.url) as one:
            now = one.until("hello")["now"]
        seq = question(server, expires=now + 60_000)
        assert folded(server, seq)["at"] > now - 60_000
        reply = answer(server, seq).json
        assert folded(server, seq)["answer"] == reply["seq"]


class Asker:
    client, author, kind, room_name, connection = "k1", "k1", "kernel", "lobby", RecordingConnection()


def test_an_expiry_that_can_not_be_stored_is_tried_again(caplog):
    """Also for an asker that is gone before its question is stored."""
    outcomes = [Rejected("unavailable", "disk full", 503, 0.01), Rejected("overload", "busy", 503, 0.01)]
    outcomes += [Rejected("conflict", "it was answered", 409), Rejected("forbidden", "no", 403)]
    submitted = []

    async def scenario() -> None:
        done = asyncio.Event()

        def submit(expiry, on_outcome) -> None:
            submitted.append(expiry)
            on_outcome(outcomes[len(submitted) - 1])
            if len(submitted) == len(outcomes):
                done.set()

        questions = Orphans(submit, 0.01)
        question = Submission("lobby", "ada", Send(cid="c", user="ada", text="?"), verified=True)
        questions.connected(Asker)
        questions.asked(Asker, question, 7)
        questions.disconnected(Asker)
        while len(submitted) < 3:
            await asyncio.sleep(0)
        questions.asked(Asker, question, 8)
        await done.wait()

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert [(one.draft.target, one.principal, one.verified) for one in submitted] == [
        (seq, "ada", True) for seq in (7, 7, 7, 8)
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "a message of lobby stays open without its author: no"
    ]


def test_a_kernel_that_comes_back_keeps_its_questions():
    """``gone`` leaves after ``back`` did, so that its question expires later than the other one would have."""

    async def scenario():
        hub = Hub(MemoryLog(), heartbeat=0.01)
        watching, back, gone = await joined(hub), await joined(hub, client="k1"), await joined(hub, client="k2")
        for kernel in (back, gone):
            submit(hub, kernel, Send(cid=kernel.client, user="ada", text="Continue?", ask=Ask(("yes", "no"))))
            await settle()
        hub.leave(back)
        hub.enter(new_peer(hub, RecordingConnection(), client="k1"))
        watching.connection.writes.clear()
        hub.leave(gone)
        while b'"expire"' not in b"".join(watching.connection.writes):
            await asyncio.sleep(0)
        assert ["expired" in json.loads(message) for message in await hub.log.messages("lobby", limit=2)] == [
            False,
            True,
        ]

    run(scenario)


def test_kernels_report_whether_they_are_busy(server):
    with member(server.url, query="?user=ada&kind=kernel") as kernel:
        assert kernel.until("presence")["members"] == [{"user": "ada", "kind": "kernel"}]
        kernel.send({"type": "chat.busy", "busy": True})
        assert kernel.until("presence")["members"] == [{"user": "ada", "kind": "kernel", "busy": True}]
