"""Polls: one vote a member, the ends by time, by hand and by the last vote, and what is left of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bqserver.testing import running_server
from support.eventually import eventually, meanwhile

from bqwidget import BqwidgetError, ChatWidget, Message, MessageRefused, Room, RoomClosed
from bqwidget._room.questions.poll import Poll
from bqwidget.protocol import is_open
from bqwidget.testing import Member


def is_poll(message: Message) -> bool:
    return message.ask is not None and message.ask.poll


def open_poll(room: Room) -> Message | None:
    return next((message for message in room.messages if is_poll(message) and is_open(message)), None)


def found(room: Room) -> Message:
    """The open poll, once it is there."""
    message = eventually(lambda: open_poll(room))
    assert message is not None
    return message


def folded(room: Room, message: Message) -> Message:
    """The message as the room has it now."""
    return next(each for each in room.messages if each.seq == message.seq)


def votes_on(room: Room, *choices: str) -> None:
    """Vote for one choice after the other as soon as there is a poll."""

    @room.on_message(where=is_poll, background=True)
    def vote(poll: Message) -> None:
        for choice in choices:
            room.answer(poll, choice)


def test_it_ends_with_the_last_vote_of_those_who_were_asked(join: Any) -> None:
    ada, bob, eve = join("ada"), join("bob"), join("eve")
    votes_on(eve, "a", "b")

    @bob.on_message(where=is_poll, background=True)
    def vote_last(asked: Message) -> None:
        eventually(lambda: folded(bob, asked).votes == {"b": ("eve",)})
        bob.answer(asked, "a")

    poll = ada.poll("Which?", ["b", "a", "c"], from_=["bob", "eve"], timeout=60)
    assert not poll.is_open
    assert poll.votes == {"bob": "a", "eve": "b"}
    assert list(poll.counts.items()) == [("b", 1), ("a", 1), ("c", 0)]


def test_the_last_vote_counts(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    poll = ada.poll("Which?", ["a", "b"], wait=False)
    asked = found(bob)
    assert bob.answer(asked, "a").votes == {"a": ("bob",)}
    assert bob.answer(asked, "b", wait=False).result(20).votes == {"b": ("bob",)}
    assert asyncio.run(bob.aanswer(asked, "a")).votes == {"a": ("bob",)}
    ada.answer(poll.message, "b")
    eventually(lambda: poll.votes == {"bob": "a", "ada": "b"})
    assert poll.is_open
    assert poll.close() is poll
    assert not poll.is_open
    assert poll.close().counts == {"a": 1, "b": 1}
    with pytest.raises(MessageRefused):
        bob.answer(asked, "b")
    with pytest.raises(BqwidgetError, match="not a choice: use 'a', 'b'"):
        bob.answer(asked, "c")


def test_it_ends_by_time_for_everyone(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    accepted = []

    @bob.on_message(where=is_poll, background=True)
    def vote(asked: Message) -> None:
        try:
            bob.answer(asked, "a")
            accepted.append(1)
        except MessageRefused:  # a busy machine was too slow
            accepted.append(0)

    poll = ada.poll("Which?", ["a", "b"], timeout=1)
    assert not poll.is_open
    eventually(lambda: accepted)
    assert poll.counts == {"a": accepted[0], "b": 0}
    eventually(lambda: open_poll(bob) is None)
    assert bob.messages[-1].expired


def test_an_open_one_ends_by_time_too(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    poll = ada.poll("Which?", ["a", "b"], timeout=0.3, wait=False)
    eventually(lambda: not poll.is_open)
    eventually(lambda: bob.messages and open_poll(bob) is None)


def test_only_those_who_were_asked_vote(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    ada.poll("Which?", ["a", "b"], from_="eve", wait=False)
    with pytest.raises(MessageRefused):
        bob.answer(found(bob), "a")


def test_it_is_exact_in_a_room_that_keeps_few_messages(join: Any) -> None:
    ada, bob = join("ada", keep=2), join("bob")
    poll = ada.poll("Which?", ["a", "b"], wait=False)
    asked = found(bob)
    for number in range(5):
        bob.send(f"message {number}")
    bob.answer(asked, "b")
    bob.wait_for(lambda message: message.text == "message 4", 20, after=0)
    eventually(lambda: poll.votes == {"bob": "b"})
    assert poll.close().counts == {"a": 0, "b": 1}


def test_awaited_polls_run_at_once(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    votes_on(bob, "a")

    async def both() -> list[Poll]:
        polls = (ada.apoll(text, ["a", "b"], from_=["bob"], timeout=60) for text in ("one", "two"))
        return await asyncio.gather(*polls)

    assert [poll.votes for poll in asyncio.run(both())] == [{"bob": "a"}] * 2


def test_an_awaited_poll_is_closed(join: Any) -> None:
    ada = join("ada")

    async def close() -> Poll:
        poll = await ada.apoll("Which?", ["a", "b"], wait=False)
        return await poll.aclose()

    assert not asyncio.run(close()).is_open


def test_a_cancelled_poll_ends_for_everyone(join: Any) -> None:
    ada, bob = join("ada"), join("bob")

    async def cancel() -> None:
        task = asyncio.create_task(ada.apoll("Which?", ["a", "b"]))
        await bob.next_message(is_poll, 20, after=0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    eventually(lambda: open_poll(bob) is None)


def test_closing_the_room_ends_the_wait(join: Any) -> None:
    ada = join("ada")

    def close() -> None:
        found(ada)
        ada.close()

    with meanwhile(close), pytest.raises(RoomClosed):
        ada.poll("Which?", ["a", "b"])


def test_scripted_members_vote(join: Any) -> None:
    ada = join("ada")
    with Member("bob", ada) as bob:
        bob.on("Which", answer="b")
        assert ada.poll("Which?", ["a", "b"], from_="bob", timeout=60).votes == {"bob": "b"}


def test_a_window_votes(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    poll = ada.poll("Which?", ["a", "b"], wait=False)
    asked = found(bob)
    window = ChatWidget(bob)
    frame = {"type": "chat.vote", "cid": "of-a-window", "user": "bob", "target": asked.seq, "choice": "a"}
    try:
        for number, sent in enumerate([{**frame, "choice": 3}, frame], 1):
            command = {"client": "browser", "k": number, "do": "frame", "frame": sent}
            bob._connection.call_soon(window._on_command, command)
        eventually(lambda: poll.votes == {"bob": "a"})
    finally:
        window.close()


def test_its_votes_are_a_table(join: Any) -> None:
    ada, bob = join("ada"), join("bob")
    poll = ada.poll("Which <b>?", ["a<script>", "b"], wait=False)
    assert repr(poll) == "Poll('Which <b>?', {'a<script>': 0, 'b': 0}, open)"
    bob.answer(found(bob), "a<script>")
    eventually(lambda: poll.votes)
    assert poll.to_frame().to_dict("list") == {"user": ["bob"], "choice": ["a<script>"]}
    shown = poll.close()._repr_html_()
    assert "<script>" not in shown
    assert "a&lt;script&gt;</td><td>1</td><td>100 %</td>" in shown
    assert "(1 vote, ended)" in shown
    assert repr(poll) == "Poll('Which <b>?', {'a<script>': 1, 'b': 0}, ended)"


# ---- losses


@pytest.fixture
def log(tmp_path: Any) -> str:
    return f"sqlite:{tmp_path / 'log.sqlite'}"


@pytest.mark.sqlite
def test_it_goes_on_after_a_restart_of_the_server(log: str, unused_port: int) -> None:
    with running_server(log=log, port=unused_port, open=True) as server:
        ada = Room("lobby", user="ada", url=server.url).wait_open(20)
        bob = Room("lobby", user="bob", url=server.url).wait_open(20)
        poll = ada.poll("Which?", ["a", "b"], from_=["bob", "eve"], wait=False)
        bob.answer(found(bob), "a")
    with running_server(log=log, port=unused_port, open=True, heartbeat=3) as server:
        eventually(lambda: ada.status == bob.status == "open")
        assert poll.is_open
        assert poll.votes == {"bob": "a"}
        with Room("lobby", user="eve", url=server.url) as eve:
            eve.answer(found(eve.wait_open(20)), "b")
        eventually(lambda: not poll.is_open)
        assert poll.votes == {"bob": "a", "eve": "b"}
        ada.close()
        bob.close()


def test_a_kernel_that_dies_leaves_no_poll_open(home_environ: dict[str, str], kernel: Any) -> None:
    with (
        running_server(open=True, heartbeat=2) as server,
        Room("lobby", user="bob", url=server.url) as bob,
        kernel({**home_environ, "BQWIDGET_URL": server.url}) as notebook,
    ):
        bob.wait_open(20)
        cell = notebook.begin(
            "from bqwidget import Room\nroom = Room('lobby', user='ada').wait_open()\n"
            "try:\n    room.poll('One?', ['a', 'b'])\nexcept KeyboardInterrupt:\n    print('stopped', room.status)"
        )
        found(bob)
        notebook.interrupt()
        cell.shows("stopped open")
        eventually(lambda: open_poll(bob) is None)
        notebook.run("poll = room.poll('Two?', ['a', 'b'], wait=False)\npoll")
        found(bob)
        notebook.kill()
        eventually(lambda: open_poll(bob) is None)
        assert bob.messages[-1].expired
