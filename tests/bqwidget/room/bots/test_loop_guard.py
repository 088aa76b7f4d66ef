"""The loop guard: bots that answer bots stop, however they hear and send; programs that work for each other go on."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.eventually import eventually

from bqwidget import MessageRefused, Room, RoomClosed
from bqwidget._room.callbacks import loop_guard
from bqwidget._room.callbacks.loop_guard import is_sent_in_callback
from bqwidget.protocol import Message, Send
from bqwidget.testing import Member

MAX_MESSAGES = 2 * 210
"""Of two bots after one message of a person."""


class Bot:
    """Answers what others say. ``refused``: the codes of what it could not say."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.refused: list[str] = []

    @contextlib.contextmanager
    def saying(self) -> Iterator[None]:
        try:
            yield
        except MessageRefused as error:
            self.refused.append(error.code)

    def say(self, text: str) -> None:
        with self.saying():
            self.room.send(text)

    async def asay(self, text: str) -> None:
        with self.saying():
            await self.room.asend(text)

    def is_of_other(self, message: Message) -> bool:
        return message.user != self.room.user

    # ---- callbacks ----

    def on_message(self) -> None:
        self.room.on_message(background=True)(lambda _: self.say("handled"))

    def observe_messages(self) -> None:
        self.room.observe(lambda change: self.is_of_other(change.new[-1]) and self.say("observed"), "messages")

    def observe_unread(self) -> None:
        self.room.observe(lambda change: change.new and self.say("counted"), "unread")

    def live(self) -> None:
        self.room.live(pause=0.01)(lambda messages: messages and self.is_of_other(messages[-1]) and self.say("shown"))

    # ---- a thread, or a loop, of its own ----

    def wait_for(self) -> None:
        after: Message | int = 0
        while True:
            after = self.room.wait_for(self.is_of_other, after=after)
            self.say("waited")

    def wait_for_and_write(self) -> None:
        after: Message | int = 0
        while True:
            after = self.room.wait_for(self.is_of_other, after=after)
            with self.saying(), self.room.write(re=after) as out:
                out.append("written")

    async def next_message(self) -> None:
        after: Message | int = 0
        while True:
            after = await self.room.next_message(self.is_of_other, after=after)
            await self.asay("awaited")

    async def stream(self) -> None:
        async for _ in self.room.stream(self.is_of_other):
            await self.asay("streamed")

    async def stream_with_its_own(self) -> None:
        async for _ in self.room.stream():
            await self.asay("streamed")

    async def stream_and_a_task_for_each(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for _ in self.room.stream(self.is_of_other):
                tasks.create_task(self.asay("in a task"))

    async def stream_and_a_thread_for_each(self) -> None:
        async for _ in self.room.stream(self.is_of_other):
            await asyncio.to_thread(self.say, "in a thread")

    async def greet_and_stream(self) -> None:
        stream = self.room.stream(self.is_of_other)
        await self.asay("Hello!")
        async for _ in stream:
            await self.asay("greeted")


WAYS = (
    Bot.on_message,
    Bot.observe_messages,
    Bot.observe_unread,
    Bot.live,
    Bot.wait_for,
    Bot.wait_for_and_write,
    Bot.next_message,
    Bot.stream,
    Bot.stream_with_its_own,
    Bot.stream_and_a_task_for_each,
    Bot.stream_and_a_thread_for_each,
    Bot.greet_and_stream,
)


@pytest.fixture
def bob(join: Callable[..., Room]) -> Room:
    return join("bob", keep=5_000)


@pytest.fixture
def start(bob: Room, join: Callable[..., Room]) -> Iterator[Callable[..., list[Bot]]]:
    """``start(way)``: two bots that answer this way, and listen already. They end with the test."""
    bots: list[Bot] = []
    threads: list[threading.Thread] = []

    def run(way: Callable[[Bot], Any], bot: Bot) -> None:
        with contextlib.suppress(RoomClosed, ExceptionGroup):
            if inspect.iscoroutinefunction(way):
                asyncio.run(way(bot))
            else:
                way(bot)

    def started(way: Callable[[Bot], Any]) -> list[Bot]:
        bots.extend(Bot(join(user)) for user in ("one", "two"))
        threads.extend(threading.Thread(target=run, args=(way, bot)) for bot in bots)
        for thread in threads:
            thread.start()
        return bots

    yield started
    for bot in bots:
        bot.room.close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_two_bots_stop_until_a_person_writes(start, bob, way):
    bots = start(way)
    eventually(lambda: all(each.room._connection._subscriptions or each.room._has_callbacks() for each in bots))
    for text in ("begin", "again"):
        for bot in bots:
            bot.refused.clear()
        bob.send(text)
        eventually(lambda: any(bot.refused for bot in bots), what="a refusal")
        assert {code for bot in bots for code in bot.refused} == {"bot_loop"}
    eventually(lambda: len(bob.messages) > 20)
    assert len(bob.messages) <= 2 * MAX_MESSAGES


def test_two_bots_that_bridge_two_rooms_stop(join, bob, room_server):
    other = {"url": room_server.url, "token": room_server.token}
    with Room(f"{bob.name}-2", user="there", **other) as there, Room(there.name, user="bridge", **other) as bridge:
        here, back = Bot(join("here")), Bot(join("back"))
        here.room.on_message(lambda _: bridge.send("there"), background=True)
        there.on_message(lambda _: back.say("here"), background=True)
        bob.send("begin")
        eventually(lambda: back.refused, what="a refusal")
    assert back.refused == ["bot_loop"]
    eventually(lambda: len(bob.messages) > 20)
    assert len(bob.messages) < MAX_MESSAGES


# ---- what is no loop of bots ----


@pytest.fixture
def worker(join: Callable[..., Room]) -> Room:
    room = join("worker", keep=5_000)
    room.on_message(where=lambda message: message.text.startswith("job"), background=True)(
        lambda message: message.text.replace("job", "result")
    )
    return room


JOBS = 100


def test_many_answers_to_one_program_are_no_loop(join, bob):
    """A bot that sends a hundred results, and another one that confirms each."""
    worker, clerk = join("worker"), join("clerk")
    worker.on_message(where=lambda message: message.text == "work", background=True)(
        lambda message: [worker.send(f"result {number}", wait=False) for number in range(100)]
    )
    clerk.on_message(where=lambda message: message.user == "worker", background=True)(
        lambda message: clerk.send(f"got {message.text}", wait=False)
    )
    bob.send("work")
    eventually(lambda: len(bob.messages) == 201)


def test_a_loop_gives_many_jobs_to_another_program(join, worker):
    driver = join("driver")
    for number in range(JOBS):
        sent = driver.send(f"job {number}")
        result = driver.wait_for(lambda message: message.user == "worker", timeout=20, after=sent)
        assert result.text == f"result {number}"


def test_an_async_loop_gives_many_jobs_to_another_program(join, worker):
    async def drive(driver: Room) -> list[str]:
        results, stream = [], driver.stream(lambda message: message.user == "worker")
        for number in range(JOBS):
            await driver.asend(f"job {number}")
            results.append((await anext(stream)).text)
        return results

    assert asyncio.run(drive(join("driver"))) == [f"result {number}" for number in range(JOBS)]


def test_people_may_answer_a_program_that_waits(bob, join):
    """As in a window: their messages are not counted."""
    bot = join("bot")
    after: Message | int = 0
    for number in range(loop_guard.MAX_ROUNDS + 10):
        bob._submit(Send(cid=f"typed {number}", user="bob", text="and?"), own=False)
        after = bot.wait_for(lambda message: message.user == "bob", timeout=20, after=after)
        bot.send("so", wait=False)


def test_one_thread_may_speak_for_two_members(join, bob):
    alice = join("alice")
    for number in range(JOBS):
        asked = bob.send(f"question {number}")
        answer = alice.reply(alice.wait_for(timeout=20, after=asked.seq - 1), "answer")
        assert bob.wait_for(timeout=20, after=asked) == answer


def test_a_long_report_answers_one_message(join, bob):
    """The last of five programs, each of which begins when the one before has ended, says much."""
    stages = [join(f"stage{number}") for number in range(5)]
    lines = [1, 1, 1, 1, JOBS]

    def run(number: int) -> None:
        room = stages[number]
        after = room.wait_for(lambda message: message.text == f"end {number - 1}", timeout=20, after=0)
        for _ in range(lines[number]):
            room.send("log")
        room.reply(after, f"end {number}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    bob.send("end -1")
    for thread in threads:
        thread.join()
    bob.wait_for(lambda message: message.text == "end 4", timeout=20, after=0)
    assert [message.text for message in bob.messages].count("log") == JOBS + 4


def test_scripted_members_are_people(bob: Room) -> None:
    with Member("carol", bob) as carol:
        carol.on("hi", say="hello")
        bob.send("hi")
        said = carol.wait_for("hello", after=0)
    assert not is_sent_in_callback(said.cid)


# ---- after a live message ----


@pytest.mark.parametrize("after", [lambda message: message, lambda message: message.seq])
def test_a_live_message_that_has_ended_is_not_newer_than_itself(join, bob, after):
    """Also another one that was heard before: it began before this one and ended while this one was written."""
    ada = join("ada")
    with bob.write() as first:
        first.append("first")
        with bob.write() as second:
            second.append("second")
        bob.send("between")
    seen = [ada.wait_for(timeout=20, after=0)]
    for _ in range(2):
        seen.append(ada.wait_for(timeout=20, after=after(seen[-1])))
    assert [message.text for message in seen] == ["second", "between", "first"]
    bob.send("last")
    assert ada.wait_for(timeout=20, after=after(seen[-1])).text == "last"


def test_a_reply_to_what_is_still_written_is_newer_than_its_begin(join, bob):
    ada = join("ada")
    with bob.write() as out:
        out.append("a long story")
        ada.reply(out.message, "I know it")
    assert bob.wait_for(timeout=20, after=out.message).text == "I know it"
