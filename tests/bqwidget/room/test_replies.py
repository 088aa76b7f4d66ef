"""What a handler returns or yields is its reply: one message, which others can stop."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matplotlib.figure
import pandas as pd
import pytest
from support.eventually import eventually

from bqwidget import Room
from bqwidget.protocol import Message

ENDLESS = 10**9


@pytest.fixture
def ada(join):
    return join("ada")


@pytest.fixture
def bob(join):
    return join("bob")


def reply_to(room, question):
    """The finished reply to ``question``."""
    return room.wait_for(lambda message: message.re == question.seq, after=question, timeout=20)


def growing(room, question):
    """The reply to ``question``, which is being written and has some text."""

    def find():
        return next((m for m in room.messages if m.re == question.seq and m.live and m.text), None)

    return eventually(find, what="a live reply")


# ---- returned ----


def test_a_returned_text_is_the_reply(ada, bob):
    @ada.on_message
    def upper(message):
        return message.text.upper()

    question = bob.send("loud")
    assert reply_to(bob, question).text == "LOUD"


def test_an_async_handler_returns_its_reply_too(ada, bob):
    @ada.on_message
    async def upper(message):
        await asyncio.sleep(0)
        return message.text.upper()

    assert reply_to(bob, bob.send("loud")).text == "LOUD"


def test_figures_and_tables_are_replies(ada, bob):
    @ada.on_message
    def draw(message):
        return pd.DataFrame({"x": [1]}) if message.text == "table" else matplotlib.figure.Figure()

    assert reply_to(bob, bob.send("table")).parts[0].mime.endswith("table+json")
    assert reply_to(bob, bob.send("figure")).parts[0].mime == "image/png"


def test_nothing_and_what_has_been_sent_are_no_reply(ada, bob, capsys):
    returned = [lambda m: None, lambda m: "", lambda m: ada.reply(m, "once"), lambda m: ada.send("once", wait=False)]
    for handler in returned:
        ada.on_message(handler)
        question = bob.send("?")
        if handler in returned[2:]:
            bob.wait_for(lambda message: message.text == "once", after=question, timeout=20)
        ada.off_message(handler)
        ada.send("that was all")
        bob.wait_for(lambda message: message.text == "that was all", after=question, timeout=20)
    texts = [message.text for message in bob.messages]
    assert texts == ["?", "that was all"] * 2 + ["?", "once", "that was all"] * 2
    assert capsys.readouterr().err == ""


def test_what_cannot_be_sent_is_said_once(ada, bob, capsys):
    shown = []
    ada._add_listener(shown.extend)

    @ada.on_message
    def count(message):
        return len(message.text)

    bob.send("12345")
    bob.send("12")
    bob.send("end")
    error = eventually(lambda: next((frame for frame in shown if getattr(frame, "code", "") == "callback"), None))
    expected = "count returned 5 (int), which can't be sent: return text, a picture, a table, or None"
    assert error.message == f"count: ArgumentTypeError: {expected}"

    @ada.on_message
    def last(message):
        return "answered" if message.text == "end" else None

    reply_to(bob, bob.send("end"))
    printed = capsys.readouterr().err
    assert printed.count("can't be sent") == 1
    assert expected in printed
    assert "writing" not in printed  # no frames of ours


# ---- yielded ----


def test_a_generator_writes_one_reply(ada, bob):
    @ada.on_message
    def spell(message):
        yield from message.text
        yield None
        yield "!"

    question = bob.send("abc🙂")
    reply = reply_to(bob, question)
    assert (reply.text, reply.end, reply.edited, reply.user) == ("abc🙂!", "done", None, "ada")
    assert [message.re for message in bob.messages] == [None, question.seq]


def test_an_async_generator_writes_one_reply(ada, bob):
    @ada.on_message
    async def spell(message):
        for letter in message.text:
            await asyncio.sleep(0)
            yield letter

    assert reply_to(bob, bob.send("abc")).text == "abc"


def test_a_handler_may_return_an_iterator(ada, bob):
    @ada.on_message
    async def spell(message):
        return map(str.upper, message.text)

    assert reply_to(bob, bob.send("abc")).text == "ABC"


def test_a_generator_that_other_code_keeps_is_closed_too(ada, bob):
    kept = []

    def count(message):
        yield "on and on"
        while True:
            yield ""  # a reply of more characters than it may have would fail

    @ada.on_message
    def answer(message):
        kept.append(count(message))
        return kept[0]

    question = bob.send("?")
    bob.stop(growing(bob, question))
    assert reply_to(bob, question).end == "stopped"
    assert inspect.getgeneratorstate(kept[0]) == inspect.GEN_CLOSED


def test_a_generator_that_yields_nothing_replies_nothing(ada, bob):
    @ada.on_message
    def only_questions(message):
        if message.text.endswith("?"):
            yield "yes"

    bob.send("a fact")
    question = bob.send("a question?")
    assert reply_to(bob, question).text == "yes"
    assert [message.text for message in bob.messages] == ["a fact", "a question?", "yes"]


def test_questions_are_answered_one_after_the_other(ada, bob):
    @ada.on_message
    async def slowly(message):
        yield message.text
        await asyncio.sleep(0.01)
        yield "!"

    questions = [bob.send(str(number)) for number in range(5)]
    replies = [reply_to(bob, question) for question in questions]
    assert [reply.text for reply in replies] == ["0!", "1!", "2!", "3!", "4!"]
    assert [reply.seq for reply in replies] == sorted(reply.seq for reply in replies)


def test_other_callbacks_run_between_the_pieces(ada, bob):
    """And on the same thread."""
    threads, interrupted = set(), threading.Event()

    @ada.on_message(where=lambda message: message.text == "count")
    def count(message):
        yield "on and on"
        while not interrupted.is_set():
            threads.add(threading.get_ident())
            yield ""

    @ada.on_message(where=lambda message: message.text == "enough")
    def interrupt(message):
        threads.add(threading.get_ident())
        interrupted.set()

    question = bob.send("count")
    growing(bob, question)
    bob.send("enough")
    assert reply_to(bob, question).end == "done"
    assert len(threads) == 1


def test_a_background_generator_has_its_own_thread(ada, bob):
    threads = []

    @ada.on_message(background=True)
    def slow(message):
        threads.append(threading.current_thread().name)
        yield "from "
        yield "a thread"

    assert reply_to(bob, bob.send("?")).text == "from a thread"
    assert threads == ["bqwidget-slow"]


# ---- stopped, failed ----


def sync_answer(closed):
    def answer(message):
        try:
            yield "on and on"
            while True:
                yield ""
                time.sleep(0.001)
        finally:
            closed.set()

    return answer


def async_answer(closed):
    async def answer(message):
        try:
            yield "thinking… "
            await asyncio.sleep(ENDLESS)
        finally:
            closed.set()

    return answer


@pytest.mark.parametrize("make", [sync_answer, async_answer])
@pytest.mark.parametrize("background", [False, True])
def test_a_stopped_reply_closes_the_generator(ada, bob, make, background):
    closed = threading.Event()
    answer = make(closed)
    ada.on_message(background=background)(answer)
    question = bob.send("?")
    message = growing(bob, question)
    bob.stop(message)
    assert closed.wait(20)
    reply = reply_to(bob, question)
    assert (reply.end, reply.stopped_by) == ("stopped", "bob")
    ada.off_message(answer)

    @ada.on_message(background=background)
    def still_there(message):
        return "yes"

    assert reply_to(bob, bob.send("still there?")).text == "yes"


def test_a_generator_that_answers_a_stop(ada, bob):
    """It may add a last word, but not go on."""

    @ada.on_message
    async def answer(message):
        try:
            yield "on and on"
            await asyncio.sleep(ENDLESS)
        except asyncio.CancelledError:
            yield ", until now"
        yield ", never reached"

    question = bob.send("?")
    bob.stop(growing(bob, question))
    reply = reply_to(bob, question)
    assert (reply.text, reply.end) == ("on and on, until now", "stopped")


@pytest.mark.parametrize("pieces", [0, 1])
def test_an_exception_ends_the_reply_as_failed(ada, bob, capsys, pieces):
    shown = []
    ada._add_listener(shown.extend)

    @ada.on_message
    def answer(message):
        for _ in range(pieces):
            yield "half"
        raise RuntimeError("no model\nin sight")

    question = bob.send("?")
    reply = reply_to(bob, question)
    line = "✗ RuntimeError: no model"
    assert (reply.text, reply.end) == (f"half\n\n{line}" if pieces else line, "failed")
    eventually(lambda: any(getattr(frame, "code", "") == "callback" for frame in shown))
    printed = capsys.readouterr().err
    first = printed.splitlines()[1]
    assert "test_replies.py" in first  # the traceback begins in the user's code
    assert printed.endswith("RuntimeError: no model\nin sight\n")


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (2, "answer yielded 2 (int), which can't be sent: yield text"),
        (b"two", "answer yielded b'two' (bytes), which can't be sent: yield text"),
        (["two"], "answer yielded ['two'] (list), which can't be sent: yield text, or what is in it, by a loop"),
    ],
)
def test_a_piece_that_is_no_text_fails(ada, bob, piece, said):
    @ada.on_message
    def answer(message):
        yield "one"
        yield piece

    reply = reply_to(bob, bob.send("?"))
    assert reply.end == "failed"
    assert reply.text == f"one\n\n✗ ArgumentTypeError: {said}"


def test_what_a_generator_returns_is_the_last_piece(ada, bob):
    @ada.on_message
    def answer(message):
        yield "one "
        return "two"

    assert reply_to(bob, bob.send("?")).text == "one two"


def test_closing_the_room_closes_the_generator(ada, bob):
    closed = threading.Event()
    ada.on_message(async_answer(closed))
    question = bob.send("?")
    growing(bob, question)
    ada.close()
    assert closed.wait(20)
    assert reply_to(bob, question).end == "stopped"


# ---- bots ----


def test_two_bots_do_not_answer_each_other_endlessly(join, bob):
    """Each answers what it hears, also the other's answers, until the guard ends that. A person begins it again."""
    bots = [join(name, separate=True) for name in ("one", "two")]
    refused = []
    for bot in bots:
        bot._add_listener(lambda frames: refused.extend(f for f in frames if getattr(f, "code", "") == "callback"))

        @bot.on_message
        def answer(message):
            yield "and "
            yield "so on"

    for person in ("begin", "again"):
        refused.clear()
        bob.send(person)
        eventually(lambda: len(refused) >= 2, what="the guard of both")
        assert all("only programs have answered each other" in frame.message for frame in refused)
        eventually(lambda: all(message.end or not message.re for message in bob.messages))
    replies = [message for message in bob.messages if message.re]
    assert 20 < len(replies) < 200
    assert {message.text for message in replies} == {"and so on"}  # none says that it was refused


def test_many_bots_and_many_questions(join):
    """Three bots, three people, fifty questions at once: each bot answers each question once, in one message."""
    bots = [join(f"bot{number}", keep=1000) for number in range(3)]
    people = [join(f"person{number}") for number in range(3)]
    for bot in bots:

        @bot.on_message(where=lambda message: message.text.endswith("?"))
        async def answer(message):
            for word in (message.text.removesuffix("?"), " is", " so"):
                await asyncio.sleep(0)
                yield word

    sending = [people[number % 3].send(f"{number}?", wait=False) for number in range(50)]
    questions = [each.result(20) for each in sending]
    reader = people[0]

    def all_ended():
        return sum(message.end == "done" for message in reader.messages) == 150

    eventually(all_ended, what="all answers")
    for question in questions:
        replies = [message for message in reader.messages if message.re == question.seq]
        assert sorted(reply.user for reply in replies) == ["bot0", "bot1", "bot2"]
        assert {reply.text for reply in replies} == {question.text.removesuffix("?") + " is so"}


# ---- bots and people in one room


QUESTIONS = 50
BOTS = ("ada-bot", "bob-bot", "eve-bot")
PEOPLE = ("ann", "ben", "cy")


def start_sync(bot: Room) -> None:
    @bot.on_mention
    def answer(message: Message) -> Iterator[str]:
        yield from ("answer ", "to ", message.text)


def start_async(bot: Room) -> None:
    @bot.on_mention
    async def answer(message: Message) -> Any:
        for word in ("answer ", "to "):
            await asyncio.sleep(0)
            yield word
        yield message.text


def start_background(bot: Room) -> None:
    @bot.on_mention(background=True)
    def answer(message: Message) -> Iterator[str]:
        yield from ("answer ", "to ", message.text)


@pytest.mark.timeout(240)
def test_each_of_fifty_questions_at_once_is_answered_once_in_one_message(join: Any) -> None:
    """Every answer names a bot, as the question does: the bots do not take it for a question."""
    bots = [join(name, separate=True) for name in BOTS]
    people = [join(name, separate=True) for name in PEOPLE]
    for bot, start in zip(bots, (start_sync, start_async, start_background), strict=True):
        start(bot)

    def ask(number: int) -> Message:
        sent: Message = people[number % len(people)].send(f"@{BOTS[number % len(BOTS)]} question {number}")
        return sent

    with ThreadPoolExecutor(QUESTIONS) as pool:
        asked = list(pool.map(ask, range(QUESTIONS)))

    def answers(room: Room) -> list[Message]:
        return [message for message in room.messages if message.re is not None and message.end is not None]

    for room in [*people, *bots]:
        eventually(lambda room=room: len(answers(room)) >= QUESTIONS, 120, "all answers")
    for room in [*people, *bots]:
        assert len(room.messages) == 2 * QUESTIONS
        by_question = {message.re: message for message in answers(room)}
        for number, question in enumerate(asked):
            reply = by_question[question.seq]
            assert (reply.user, reply.text, reply.end) == (BOTS[number % 3], f"answer to {question.text}", "done")
