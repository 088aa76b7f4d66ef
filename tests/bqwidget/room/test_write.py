"""A message that grows, written by hand: what others see, steps, stop, errors, and a bad network."""

from __future__ import annotations

import asyncio
import json
import threading
from urllib.request import Request, urlopen

import pytest
from bqserver.hub import catch_up
from bqserver.testing import running_server
from support.eventually import eventually
from support.tcp_proxy import tcp_proxy

from bqwidget import BqwidgetError, DeliveryTimeout, MessageRefused, Room, RoomClosed, WaitTimeout
from bqwidget._room.writing.writer import Writer
from bqwidget.protocol import MAX_STEP_TEXT, MAX_STEP_TITLE


@pytest.fixture
def ada(join):
    return join("ada")


@pytest.fixture
def bob(join):
    return join("bob")


def newest(room):
    return room.messages[-1] if room.messages else None


def sees(room, text):
    """Wait until the newest message of ``room`` has ``text``, and return it."""
    eventually(lambda: newest(room) is not None and newest(room).text == text, what=f"{text!r} in {room.messages}")
    return newest(room)


def ended(room):
    return eventually(lambda: newest(room) is not None and newest(room).end and newest(room), what="the end")


def entries(server, room):
    """The raw log of the room."""
    headers = {"Authorization": f"Bearer {server.token}"}
    with urlopen(Request(f"{server.url}/rooms/{room.name}/log?limit=200", headers=headers)) as answer:
        return json.load(answer)


# ---- what others see ----


def test_others_see_it_grow_until_its_end(room_server, ada, bob):
    question = bob.send("?")
    with ada.write(re=question) as out:
        assert (out.message.live, out.message.re, out.message.text) == (True, question.seq, "")
        out.append("one ")
        assert sees(bob, "one ").live
        assert sees(ada, "one ").live  # the writer too
        out.append("two")
        assert not out.stopped
        assert sees(bob, "one two").end is None
    done = out.message
    assert (done.text, done.live, done.end, done.edited) == ("one two", False, "done", None)
    assert ended(bob) == done
    assert bob.history(limit=1)[0] == done
    assert bob.search("two")[0].seq == done.seq
    assert "one two" in str(bob.transcript())
    kinds = [entry.get("kind", "message") for entry in entries(room_server, ada)]
    assert kinds[0] == kinds[1] == "message"
    assert kinds[-1] == "end"
    assert len(kinds) <= 5


def test_a_replaced_text_is_the_same_for_all_at_its_end(ada, bob):
    with ada.write() as out:
        for done in range(30):
            out.replace(f"{done} of 30")
        sees(bob, "29 of 30")
        out.replace("30 of 30 🙂")
    assert sees(bob, "30 of 30 🙂").seq == out.message.seq
    assert bob.history(limit=1)[0].text == "30 of 30 🙂"


def test_steps_run_and_are_done_or_failed(ada, bob):
    with ada.write() as out:
        with out.step("search papers") as step:
            eventually(lambda: newest(bob) and [step.state for step in newest(bob).steps] == ["running"])
            step.append("3 ")
            step.append("hits")
        with pytest.raises(ValueError, match="no paper"), out.step("t" * 300) as step:
            step.append("x" * 5000)
            raise ValueError("no paper\nat all")
    first, second = ended(bob).steps
    assert (first.title, first.state, first.text) == ("search papers", "done", "3 hits")
    assert first.ms >= 0
    assert (second.state, len(second.title), len(second.text)) == ("failed", MAX_STEP_TITLE, MAX_STEP_TEXT)
    assert second.text.endswith("…\nValueError: no paper") or second.text.endswith("\nValueError: no paper")


def test_a_message_has_at_most_fifty_steps(ada):
    with ada.write() as out:
        for number in range(50):
            with out.step(f"{number}"):
                pass
        with pytest.raises(MessageRefused, match="at most 50 steps"):
            out.step("one more")
    assert len(out.message.steps) == 50


def test_async_code_writes_too(ada, bob):
    async def write():
        async with ada.write() as out, out.step("think"):
            out.append("async")
        return out.message

    message = asyncio.run(write())
    assert (message.text, message.end, message.steps[0].state) == ("async", "done", "done")
    assert ended(bob).text == "async"


def test_threads_write_one_message(ada, bob):
    with ada.write() as out:
        threads = [threading.Thread(target=lambda: [out.append("x") for _ in range(200)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ended(bob).text == "x" * 800


def test_subclasses_of_str_are_text(ada, bob):
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    with ada.write() as out:
        out.append(Text("mine"))
        with out.step(Text("step")):
            pass
    assert (ended(bob).text, ended(bob).steps[0].title) == ("mine", "step")


# ---- the end ----


def test_an_exception_ends_it_as_failed_with_its_line(ada, bob):
    with pytest.raises(ZeroDivisionError), ada.write() as out:
        out.append("half")
        1 / 0  # noqa: B018
    assert ended(bob).text == "half\n\n✗ ZeroDivisionError: division by zero"
    assert ended(bob).end == "failed"
    with pytest.raises(ValueError, match="nothing"), ada.write():
        raise ValueError("nothing yet")
    eventually(lambda: newest(bob).text == "✗ ValueError: nothing yet")


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_an_interrupt_ends_it_as_stopped(ada, bob, error):
    with pytest.raises(error), ada.write() as out:
        out.append("half")
        raise error
    assert (ended(bob).text, ended(bob).end, ended(bob).stopped_by) == ("half", "stopped", None)


def test_another_member_asks_to_stop(ada, bob):
    with ada.write() as out:
        out.append("on and on")
        message = sees(bob, "on and on")
        bob.stop(message)
        eventually(lambda: out.stopped)
        out.append(", to the end")
    assert (ended(bob).text, ended(bob).end, ended(bob).stopped_by) == ("on and on, to the end", "stopped", "bob")
    bob.stop(message)  # without effect
    asyncio.run(bob.astop(message.seq))


def test_closing_the_room_ends_what_it_writes(ada, bob):
    out = ada.write()
    out.__enter__()
    out.append("not finished")
    ada.close()
    assert (ended(bob).text, ended(bob).end) == ("not finished", "stopped")
    with pytest.raises(RoomClosed):
        ada.write().__enter__()


def test_deleting_it_ends_it(ada, bob):
    with ada.write() as out:
        out.append("a secret")
        ada.delete(out.message)
        eventually(lambda: out.stopped)
        out.append(" more")
    assert out.message.deleted
    eventually(lambda: newest(bob) and newest(bob).deleted)
    assert bob.history(limit=1)[0].text == ""


def test_the_text_ends_at_the_servers_limit():
    with running_server(text_limit=200) as server, Room("lobby", "ada", url=server.url, token=server.token) as room:
        room.wait_open(20)
        with pytest.raises(MessageRefused, match="201 characters; the limit is 200"), room.write() as out:
            out.append("x" * 60)
            out.append("y" * 141)
        text = out.message.text if out.message.end else ended(room).text
        assert len(text) == 200
        assert text.startswith("x" * 60 + "y" * 10)
        assert text.endswith("y\n\n✗ MessageRefused: the message has 201 characters; the limit is 200: it ends there")
        assert room.history(limit=1)[0].text == text


def test_wrong_use_says_how_it_is_used(ada):
    out = ada.write()
    for use in (lambda: out.append("x"), lambda: out.replace("x"), lambda: out.step("x"), lambda: out.message):
        with pytest.raises(BqwidgetError, match=r"with room\.write\(\) as out"):
            use()
    with out:
        for wrong in (None, 3, "\ud83d"):
            with pytest.raises(ValueError if wrong == "\ud83d" else TypeError, match="text"):
                out.append(wrong)
        step = out.step("never started")
        with pytest.raises(BqwidgetError, match=r"with out\.step"):
            step.append("x")
    with pytest.raises(BqwidgetError, match=r"with room\.write\(\) as out"):
        out.append("late")
    with pytest.raises(BqwidgetError, match=r"call room.write\(\) again"), out:
        pass


# ---- when code hears it ----


def test_code_hears_it_once_when_it_has_ended(ada, bob):
    heard, grown = [], []
    bob.on_message(background=True)(heard.append)
    bob.on_message(background=True, live=True)(grown.append)
    bob.pending()
    mark = ada.send("begin")
    stream = bob.stream(after=mark)
    with ada.write() as out:
        out.append("one ")
        eventually(lambda: any(message.live and message.text == "one " for message in grown))
        with pytest.raises(WaitTimeout):
            bob.wait_for(lambda message: message.text.startswith("one"), after=mark, timeout=0.2)
        assert [message.text for message in bob.pending()] == ["begin"]
        ada.send("meanwhile")
        out.append("two")
    done = bob.wait_for(lambda message: message.text == "one two", after=mark, timeout=20)
    assert done == out.message
    eventually(lambda: len(heard) == 3)
    assert [message.text for message in heard] == ["begin", "meanwhile", "one two"]
    assert heard[-1] == done
    assert [message.text for message in bob.pending()] == ["meanwhile", "one two"]
    assert bob.pending() == []
    eventually(lambda: grown[-1] == done)
    assert {message.text for message in grown if message.live} <= {"", "one ", "one two"}

    async def streamed():
        return [(await anext(stream)).text for _ in range(2)]

    assert asyncio.run(streamed()) == ["meanwhile", "one two"]


def test_observers_see_it_grow(ada, bob):
    seen = []
    bob.observe(lambda change: seen.append(change.new[-1].text), "messages")
    with ada.write() as out:
        out.append("one")
        eventually(lambda: "one" in seen)
        out.append(" two")
        eventually(lambda: "one two" in seen)


# ---- a bad network ----


def test_nothing_is_lost_when_the_connection_is(room_server):
    """Whatever was on its way: each piece is in the message once, for all members."""
    with (
        tcp_proxy(room_server.port) as proxy,
        Room("unsteady", "ada", url=proxy.url, token=room_server.token) as ada,
        Room("unsteady", "bob", url=room_server.url, token=room_server.token) as bob,
    ):
        bob.wait_open(20)
        words = [f"word {number} " for number in range(300)]
        with ada.write() as out:
            for number, word in enumerate(words):
                out.append(word)
                if number % 60 == 30:
                    connections = proxy.connections
                    proxy.cut()
                    out.append("")
                    eventually(lambda: proxy.connections > connections)  # noqa: B023 - runs in this turn
            with out.step("after all"):
                pass
        assert out.message.text == "".join(words)
        assert ended(bob) == out.message
        assert bob.history(limit=1) == [out.message]


def test_a_writer_that_was_away_for_too_long_gives_the_message_all_of_its_text():
    """Until then the server has ended it. The rest comes as an edit, so that no word is lost."""
    with (
        running_server(open=True, heartbeat=2) as server,
        tcp_proxy(server.port) as proxy,
        Room("lobby", "ada", url=proxy.url) as ada,
        Room("lobby", "bob", url=server.url) as bob,
    ):
        bob.wait_open(20)
        with ada.write() as out:
            out.append("seen ")
            sees(bob, "seen ")
            proxy.freeze()
            proxy.cut()
            assert (ended(bob).text, ended(bob).end) == ("seen ", "lost")
            out.append("and not seen")
            proxy.unfreeze()
            proxy.cut()  # also connections that were begun while it was frozen
            eventually(lambda: out.stopped)
        done = sees(bob, "seen and not seen")
        assert (done.end, bool(done.edited)) == ("lost", True)
        assert sees(ada, done.text) == done


def test_its_text_is_kept_also_if_its_refused_end_is_faster_than_what_was_missed(monkeypatch):
    """The writer comes back after its message was ended, and its block has ended meanwhile."""
    refused, on_end, send_entries = threading.Event(), Writer._on_end, catch_up._send_entries

    async def send_late(*args):
        while not refused.is_set():
            await asyncio.sleep(0.01)
        return await send_entries(*args)

    monkeypatch.setattr(Writer, "_on_end", lambda self, end: (on_end(self, end), refused.set()))
    with (
        running_server(open=True, heartbeat=2) as server,
        tcp_proxy(server.port) as proxy,
        Room("lobby", "ada", url=proxy.url) as ada,
        Room("lobby", "bob", url=server.url) as bob,
    ):
        bob.wait_open(20)
        with ada.write() as out:
            out.append("seen ")
            sees(bob, "seen ")
            proxy.freeze()
            proxy.cut()
            assert ended(bob).end == "lost"
            out.append("and not seen")
            monkeypatch.setattr(catch_up, "_send_entries", send_late)
            proxy.unfreeze()
            proxy.cut()  # also connections that were begun while it was frozen
        assert sees(bob, "seen and not seen").edited


def test_a_restarted_server_gets_what_it_had_not_saved(tmp_path, unused_port):
    options = {"log": f"sqlite:{tmp_path / 'log.sqlite'}", "port": unused_port, "open": True}
    with Room("lobby", "ada", url=f"http://127.0.0.1:{unused_port}") as ada:
        with running_server(**options):
            out = ada.write(timeout=60).__enter__()
            out.append("before ")
            sees(ada, "before ")
        out.append("and after")
        with running_server(**options) as server:
            bob = Room("lobby", "bob", url=server.url).wait_open(20)
            out.__exit__(None, None, None)
            assert (out.message.text, out.message.end) == ("before and after", "done")
            assert ended(bob) == out.message
            bob.close()
            ada.close()


@pytest.mark.usefixtures("closes_soon")
def test_an_unreachable_room_raises_after_the_timeout(unused_port):
    room = Room("lobby", "ada", url=f"http://127.0.0.1:{unused_port}")
    with room, pytest.raises(DeliveryTimeout), room.write(timeout=0.1):
        raise AssertionError("not reached")


# ---- activity


def test_an_activity_ends_with_its_block_and_the_one_around_it_is_shown_again(ada, bob, monkeypatch):
    monkeypatch.setattr("bqserver.hub.dispatch.TYPING_TIMEOUT", 1000.0)  # its end must be told

    def activity():
        return next((member.typing for member in bob.members if member.user == "ada"), None)

    with ada.activity("reading"):
        eventually(lambda: activity() == "reading")
        with ada.activity("searching"):
            eventually(lambda: activity() == "searching")
        eventually(lambda: activity() == "reading")
    eventually(lambda: activity() is None)
