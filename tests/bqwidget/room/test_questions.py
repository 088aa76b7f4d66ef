"""Questions: answers from any member, their end for everyone, and interruptions."""

from __future__ import annotations

import asyncio
import threading
import zlib

import pytest
from bqserver.testing import running_server
from support.eventually import eventually, meanwhile

from bqwidget import BqwidgetError, MessageRefused, Room, RoomClosed, WaitTimeout, connection
from bqwidget.protocol import Expire


@pytest.fixture(scope="module")
def server():
    with running_server(open=True) as running:
        yield running


@pytest.fixture
def members(server, request):
    """``members("ada", "bob")``: open Rooms in a room of this test, closed at its end."""
    made = []

    def join(*users):
        name = f"ask-{zlib.crc32(request.node.nodeid.encode())}"
        made.extend(Room(name, user=user, url=server.url) for user in users)
        return [room.wait_open(20) for room in made[-len(users) :]]

    yield join
    for room in made:
        room.close()


def answering(room, *answers):
    """Answer the next question of the room, on another thread; the list receives the answer."""
    sent = []

    @room.on_message(where=lambda message: message.ask is not None, background=True)
    def reply(question):
        room.off_message(reply)
        sent.extend(room.answer(question, answer) for answer in answers)

    return sent


def question(room):
    [found] = [message for message in room.messages if message.ask]
    return found


def test_a_wrong_local_clock_ends_no_question(members, monkeypatch):
    ada, bob = members("ada", "bob")
    right = connection.now_ms
    monkeypatch.setattr(connection, "now_ms", lambda: right() - 3_600_000)
    answering(bob, "yes")
    assert ada.ask("Continue?", choices=["yes", "no"], timeout=20) == "yes"
    assert abs(question(bob).ask.expires - right() - 20_000) < 10_000


def test_the_answer_is_a_choice(members):
    ada, bob = members("ada", "bob")
    answering(bob, "yes")
    assert ada.ask("Continue?", choices=["yes", "no"], timeout=20) == "yes"
    asked = question(ada)
    assert (asked.text, asked.ask.choices, asked.answer) == ("Continue?", ("yes", "no"), ada.messages[-1].seq)
    assert (ada.messages[-1].re, ada.messages[-1].choice) == (asked.seq, "yes")


def test_without_choices_the_answer_is_any_text(members):
    ada, bob = members("ada", "bob")
    answering(bob, "forty-two")
    assert ada.ask("How many?", timeout=20) == "forty-two"


def test_questions_can_be_awaited(members):
    ada, bob = members("ada", "bob")
    answering(bob, "yes")
    assert asyncio.run(ada.aask("Continue?", ["yes", "no"], timeout=20)) == "yes"


def test_two_questions_at_once_get_their_own_answers(members):
    ada, bob = members("ada", "bob")

    @bob.on_message(where=lambda message: message.ask is not None)
    def reply(asked):
        bob.answer(asked, asked.text.upper())

    async def both():
        return await asyncio.gather(*(ada.aask(text, timeout=20) for text in ("one", "two", "three")))

    assert asyncio.run(both()) == ["ONE", "TWO", "THREE"]


def test_only_the_first_answer_of_the_asked_user_counts(members):
    ada, bob, eve = members("ada", "bob", "eve")

    @eve.on_message(where=lambda message: message.ask is not None, background=True)
    def answer_early(asked):
        with pytest.raises(MessageRefused):
            eve.answer(asked, "yes")
        sent = [bob.answer(asked, "no"), bob.answer(asked, "yes")]
        eve.send(f"{len(sent)} sent")

    assert ada.ask("Continue?", ["yes", "no"], from_="bob", timeout=20) == "no"
    ada.wait_for(lambda message: message.text == "2 sent", after=0, timeout=20)
    assert question(ada).answer == next(message.seq for message in ada.messages if message.choice)


def test_an_unanswered_question_ends_for_everyone(members):
    ada, bob = members("ada", "bob")
    with pytest.raises(WaitTimeout, match=r"no answer to 'Continue\?' within 0\.1 s") as raised:
        ada.ask("Continue?", timeout=0.1)
    assert raised.value.timeout == 0.1
    eventually(lambda: question(bob).expired)


def test_a_question_whose_time_ends_before_its_ack_ends_for_everyone(members):
    """It is in the log then, where an answer may be first: the asker waits until it knows."""
    ada, bob = members("ada", "bob")
    with pytest.raises(WaitTimeout, match=r"no answer to 'Continue\?' within 0 s"):
        ada.ask("Continue?", timeout=0)
    eventually(lambda: bob.messages and question(bob).expired)


@pytest.mark.parametrize("default", ["no", None, False])
def test_the_default_is_returned_at_the_timeout(members, default):
    [ada] = members("ada")
    assert ada.ask("Continue?", timeout=0.05, default=default) is default


def test_a_late_answer_counts_for_everyone_or_no_one(members):
    """The asker and the others agree on what the log has first."""
    ada, bob = members("ada", "bob")
    outcomes = set()
    for delay in [n / 1000 for n in range(20, 80, 2)]:
        answered = threading.Event()

        @bob.on_message(where=lambda message: message.ask is not None, background=True)
        def reply(asked, delay=delay, answered=answered):
            answered.wait(delay)
            bob.answer(asked, "yes")
            answered.set()

        got = ada.ask("Quick?", ["yes"], timeout=0.05, default="late")
        assert answered.wait(20)
        asked = [message for message in ada.messages if message.ask][-1]
        eventually(lambda asked=asked: any(message.re == asked.seq for message in ada.messages))
        folded = ada.history(before=asked.seq + 1, limit=1)[0]
        assert (folded.answer is not None) == (got == "yes")
        outcomes.add(got)
    assert outcomes <= {"yes", "late"}


def test_deleting_a_question_ends_it(members):
    ada, bob = members("ada", "bob")

    @bob.on_message(where=lambda message: message.ask is not None, background=True)
    def delete(asked):
        ada.delete(asked)

    assert ada.ask("Continue?", timeout=20, default="over") == "over"


def test_a_question_ended_by_another_client_ends_here(members):
    ada, bob = members("ada", "bob")

    @bob.on_message(where=lambda message: message.ask is not None, background=True)
    def end(asked):
        ada._submit(Expire(cid="elsewhere", user="ada", target=asked.seq), own=False).result(20)

    with pytest.raises(WaitTimeout, match="was ended"):
        ada.ask("Continue?")


def test_a_cancelled_question_ends(members):
    ada, bob = members("ada", "bob")

    async def cancelled():
        asking = asyncio.ensure_future(ada.aask("Continue?"))
        while not any(message.ask for message in bob.messages):
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(cancelled())
    eventually(lambda: question(bob).expired)


def test_a_question_cancelled_before_its_ack_ends_after_it(members):
    ada, bob = members("ada", "bob")

    async def cancelled():
        asking = asyncio.ensure_future(ada.aask("Continue?"))
        await asyncio.sleep(0)  # submitted, and not acknowledged
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(cancelled())
    eventually(lambda: bob.messages and question(bob).expired)


def test_closing_the_room_ends_an_ask(members):
    [ada] = members("ada")
    with meanwhile(ada.close), pytest.raises(RoomClosed):
        ada.ask("Continue?")


@pytest.mark.usefixtures("closes_soon")
def test_a_question_asked_offline_returns_the_default():
    with Room("lobby", user="ada", url="http://127.0.0.1:9") as room:
        assert room.ask("Continue?", timeout=0.05, default="no") == "no"


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ("yes", r"did you mean \['yes'\]"),
        ([], "distinct and not empty"),
        (["a", "a"], "distinct and not empty"),
        ([""], "not ''"),
        ([1], "not 1"),
    ],
)
def test_wrong_choices_are_named(members, choices, expected):
    [ada] = members("ada")
    with pytest.raises((BqwidgetError, TypeError), match=expected):
        ada.ask("Continue?", choices)
    assert ada.messages == []


def test_an_answer_that_fits_no_question_is_an_error(members):
    ada, bob = members("ada", "bob")
    plain = ada.send("hi")
    assert ada.ask("Continue?", ["yes"], timeout=0.05, default=None) is None
    with pytest.raises(BqwidgetError, match="not a question"):
        bob.answer(plain, "yes")
    with pytest.raises(BqwidgetError, match="'no' is not a choice: use 'yes'"):
        bob.answer(question(ada), "no")
    with pytest.raises(BqwidgetError, match=r"room\.history"):
        bob.answer(999, "yes")


# ---- a kernel ----


@pytest.fixture
def notebook(server, home_environ, kernel):
    with kernel({**home_environ, "BQWIDGET_URL": server.url}) as running:
        running.run("import time\nfrom bqwidget import Room\nroom = Room('lobby', user='ada').wait_open(20)")
        yield running


@pytest.fixture
def bob(server):
    with Room("lobby", user="bob", url=server.url) as room:
        yield room.wait_open(20)


def open_question(room):
    found = [message for message in room.messages if message.ask and not message.answer and not message.expired]
    return found[-1] if found else None


def test_handlers_run_while_a_cell_asks(notebook, bob):
    cell = notebook.begin(
        "@room.on_message(where=lambda message: message.re is None)\n"
        "def on_message(message):\n    print('received', message.text)\n"
        "for n in range(3):\n"
        "    print(n, room.ask(f'Number {n}?', ['more', 'stop'], timeout=30))"
    )
    for n in range(3):
        eventually(lambda: open_question(bob))
        bob.send(f"thinking {n}")
        cell.shows(f"received thinking {n}")
        bob.answer(open_question(bob), "more")
        cell.shows(f"{n} more")


def test_an_interrupt_ends_the_question(notebook, bob):
    cell = notebook.begin(
        "try:\n    room.ask('Continue?')\nexcept KeyboardInterrupt:\n    print('stopped', room.status)"
    )
    eventually(lambda: open_question(bob))
    notebook.interrupt()
    cell.shows("stopped open")
    eventually(lambda: open_question(bob) is None)
    assert bob.messages[-1].expired


def test_a_kernel_that_dies_leaves_no_question_open(home_environ, kernel):
    with (
        running_server(open=True, heartbeat=2) as server,
        Room("lobby", user="bob", url=server.url) as bob,
        kernel({**home_environ, "BQWIDGET_URL": server.url}) as notebook,
    ):
        bob.wait_open(20)
        notebook.begin("from bqwidget import Room\nRoom('lobby', user='ada').ask('Continue?')")
        eventually(lambda: open_question(bob))
        notebook.kill()
        eventually(lambda: open_question(bob) is None)
        assert bob.messages[-1].expired
