"""Room: the list, the verbs, the waits and the traits, with a real server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import zlib

import pytest
import traitlets
from bqserver.testing import running_server
from support.eventually import eventually, meanwhile

from bqwidget import BqwidgetError, DeliveryTimeout, MessageRefused, Room, RoomClosed, WaitTimeout
from bqwidget._client.status import Status
from bqwidget._client.subscription import Subscription
from bqwidget.protocol import ChangeFrame, Hello, Message, MessageFrame, Send, Synced, Typing


@pytest.fixture(scope="module")
def server():
    with running_server(open=True) as running:
        yield running


@pytest.fixture
def make(server, request):
    """``make("ada")``: an open Room in a room of this test, closed at its end."""
    name = f"room-{zlib.crc32(request.node.nodeid.encode())}"
    made = []

    def join(user="ada", **options):
        room = Room(name, user=user, url=server.url, **options)
        made.append(room)
        return room.wait_open(20)

    yield join
    for room in made:
        room.close()


@pytest.fixture
def ada(make):
    return make("ada")


@pytest.fixture
def bob(make):
    return make("bob")


def texts(messages):
    return [message.text for message in messages]


def wait_for_texts(room, *expected):
    eventually(lambda: texts(room.messages) == list(expected), what=f"{expected} in {texts(room.messages)}")


class Collector(list):
    """Collects the messages of a handler, and waits for them."""

    def __call__(self, message):
        self.append(message)

    def wait(self, *expected):
        eventually(lambda: texts(self) == list(expected), what=f"{expected} received, not {texts(self)}")


# ---- construction ----


def test_an_unknown_option_is_an_error_with_the_remedy():
    with pytest.raises(TypeError, match="did you mean 'user'"):
        Room("lobby", usr="ada")
    with pytest.raises(TypeError, match="the options are user, keep, url, token, insecure"):
        Room("lobby", colour="red")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": None}, "name is text"),
        ({"url": 8765}, "url must be text"),
        ({"user": 5}, "user must be text"),
    ],
)
def test_an_argument_of_the_wrong_type_is_named(options, expected):
    with pytest.raises(TypeError, match=expected):
        Room(**{"name": "lobby", **options})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": "a room"}, "not a room name"),
        ({"user": " "}, "user is ' '"),
        ({"user": "x" * 1001}, "1 to 1,000 characters"),
        ({"user": "\ud83d"}, "half a character"),
        ({"keep": 0}, "1 or more"),
        ({"keep": "all"}, "keep is 'all'"),
        ({"token": "secret"}, "url="),
    ],
)
def test_an_invalid_argument_is_named(options, expected):
    with pytest.raises(BqwidgetError, match=expected) as raised:
        Room(**{"name": "lobby", **options})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["name", "user", "keep"])
def test_what_a_room_was_made_with_can_not_be_changed(ada, name):
    given = getattr(ada, name)
    with pytest.raises(AttributeError, match=f"room.{name} can't change: make another Room"):
        setattr(ada, name, "other")
    assert getattr(ada, name) == given


def test_an_unfinished_room_has_a_repr():
    assert repr(Room.__new__(Room)) == "Room(unfinished)"


def test_the_server_limits_the_length_of_a_name(home):
    with running_server(open=True, user_limit=80) as wide, Room("lobby", user="x" * 80, url=wide.url) as room:
        assert room.send("hi").user == "x" * 80
    with (
        running_server(open=True) as usual,
        Room("lobby", user="x" * 80, url=usual.url) as room,
        pytest.raises(MessageRefused, match="user has 80 characters; the limit is 64"),
    ):
        room.send("hi")


FORKED = """
import os, sys
from bqwidget import BqwidgetError, Room
room = Room("lobby", user="ada", url=sys.argv[1]).wait_open(20)
child = os.fork()
if child == 0:
    for verb in (lambda: room.send("from the child"), room.history, room.wait_open, lambda: room.wait_for(bool)):
        try:
            verb()
        except BqwidgetError as error:
            print(str(error), flush=True)
    room.close()
    os._exit(0)
os.waitpid(child, 0)
print(room.send("from the parent").text)
with Room("lobby", user="bob", url=sys.argv[1]) as other:
    print(other.send("from another").text)
"""


def test_a_forked_child_gets_an_error_and_does_not_affect_the_parents_room(server):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, server.url], capture_output=True, text=True, check=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 6, (lines, done.stderr)
    assert all("is a fork of it: create a new Room" in line for line in lines[:4])
    assert lines[4:] == ["from the parent", "from another"]


def test_the_repr_is_stable_and_shows_no_secret(server):
    with Room("lobby", user="a\x1bb", url=server.url, token="secret") as room:
        assert repr(room) == "Room('lobby', user='a\\x1bb')"
        assert room._repr_mimebundle_() == {"text/plain": repr(room)}


def test_the_user_is_the_hubs_or_the_logins(server, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "grace")
    with Room("lobby", url=server.url) as room:
        assert room.user == "grace"
    monkeypatch.delenv("JUPYTERHUB_USER")
    monkeypatch.setenv("LOGNAME", "lin")
    with Room("lobby", url=server.url) as room:
        assert room.user == "lin"


# ---- writing ----


def test_send_returns_the_stored_message_which_is_then_in_the_list(ada, bob):
    sent = ada.send("hi")
    assert (sent.user, sent.text, sent.room) == ("ada", "hi", ada.name)
    assert ada.messages == [sent]
    wait_for_texts(bob, "hi")
    assert bob.messages == [sent]


def test_a_text_can_be_sent_as_plain_text(ada, bob):
    plain = ada.send("2*3*4", format="plain")
    also = asyncio.run(ada.asend("*x*", format="plain"))
    markdown = ada.send("*x*")
    assert [plain.format, also.format, markdown.format] == ["plain", "plain", None]
    assert ada.edit(plain, "2*3*5").format == "plain"
    eventually(lambda: [message.text for message in bob.messages][:1] == ["2*3*5"], what="the edit")
    assert bob.messages[0].format == "plain"
    with pytest.raises(ValueError, match="format is 'html': write 'plain'"):
        ada.send("<b>", format="html")


def test_sending_without_waiting(ada, bob):
    sending = ada.send("hi", wait=False)
    assert sending.result(20) == ada.messages[0]
    wait_for_texts(bob, "hi")


def test_asend_can_be_awaited(ada, bob):
    async def both():
        return await asyncio.gather(*(ada.asend(f"m{n}") for n in range(10)))

    assert texts(asyncio.run(both())) == [f"m{n}" for n in range(10)]
    wait_for_texts(bob, *(f"m{n}" for n in range(10)))


def test_changes_reach_everyone(ada, bob):
    message = ada.send("hi")
    edited = ada.edit(message, "hello")
    assert (edited.text, edited.edited is not None) == ("hello", True)
    assert ada.react(message.seq, "👍").reactions == {"👍": ("ada",)}
    eventually(lambda: bob.messages and bob.messages[0].reactions)
    assert bob.react(message, "👍").reactions == {"👍": ("ada", "bob")}
    assert bob.react(message, "👍", on=False).reactions == {"👍": ("ada",)}
    reply = bob.reply(message, "yes?")
    assert (reply.re, reply.text) == (message.seq, "yes?")
    ada.delete(message)
    eventually(lambda: bob.messages[0].deleted)
    wait_for_texts(bob, "", "yes?")


def test_a_change_of_a_message_that_is_not_kept_returns_it_folded(make):
    small = make("ada", keep=1)
    old = small.send("old")
    small.send("new")
    assert small.edit(old, "older").text == "older"
    assert small.edit(old.seq, "oldest") is None


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "empty"), ("  ", "empty"), ("x" * 32_001, "too_long"), ("half a \ud83d", "bad_text")],
    ids=["empty", "blank", "long", "half a character"],
)
def test_invalid_messages_are_refused_before_they_are_sent(ada, text, code):
    with pytest.raises(MessageRefused, match="text") as raised:
        ada.send(text)
    assert raised.value.code == code
    assert (ada.messages, ada.queued) == ([], 0)
    assert ada.send("still here").text == "still here"


def test_typing_with_a_lone_surrogate_is_not_sent(ada, bob):
    ada._connection.send_transient(Typing(user="\ud83d"))
    assert ada.send("still here").text == "still here"
    wait_for_texts(bob, "still here")


@pytest.mark.parametrize("text", [None, 42, b"hi", ["hi"]])
def test_only_text_is_sent(ada, text):
    with pytest.raises(TypeError, match="str"):
        ada.send(text)


class Text(str):
    """A subclass of str, like those of numpy and pandas."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


def test_a_subclass_of_str_is_sent_as_text(make, bob):
    with make(user=Text("ada")) as ada:
        message = ada.send(Text("hi"))
        ada.react(message, Text("👍"))
        ada.reply(message, Text("again"))
        assert ada.edit(message, Text("hello")).text == "hello"
        assert ada.send("still here").user == "ada"
        wait_for_texts(bob, "hello", "again", "still here")


def test_messages_of_others_cannot_be_changed(ada, bob):
    message = ada.send("hi")
    with pytest.raises(MessageRefused):
        bob.delete(message)
    with pytest.raises(TypeError, match="Message"):
        bob.delete("hi")


@pytest.mark.usefixtures("closes_soon")
def test_a_send_that_times_out_stays_queued():
    with Room("lobby", user="ada", url="http://127.0.0.1:9") as room:
        with pytest.raises(DeliveryTimeout, match="stays queued") as raised:
            room.send("hi", timeout=0.05)
        assert raised.value.timeout == 0.05
        eventually(lambda: room.queued == 1)
        with pytest.raises(DeliveryTimeout):
            asyncio.run(room.asend("hi", timeout=0.05))


# ---- the list ----


def test_messages_is_a_read_only_snapshot(ada):
    ada.send("one")
    before = ada.messages
    assert isinstance(before, list)
    assert ada.messages is before
    ada.send("two")
    assert (texts(before), texts(ada.messages)) == (["one"], ["one", "two"])
    with pytest.raises(TypeError, match=r"room\.send"):
        ada.messages.append("three")
    with pytest.raises(traitlets.TraitError, match="read-only"):
        ada.messages = []


def test_only_the_newest_messages_are_kept(make):
    few = make("ada", keep=3)
    for n in range(7):
        few.send(f"m{n}")
    assert texts(few.messages) == ["m4", "m5", "m6"]
    assert texts(few.history(limit=5)) == ["m2", "m3", "m4", "m5", "m6"]
    assert texts(few.history(before=few.messages[0], limit=2)) == ["m2", "m3"]


def test_the_list_has_what_a_waiting_thread_is_given(ada, bob, monkeypatch):
    """Also if that thread goes on before the rooms' thread does."""
    seen = []

    class Looking(Subscription):
        def put(self, messages):
            super().put(messages)
            seen.append(texts(ada.messages))

    monkeypatch.setattr("bqwidget.connection.Subscription", Looking)
    bob.send("one")
    wait_for_texts(ada, "one")
    subscription = ada._connection.subscribe()
    bob.send("two")
    wait_for_texts(ada, "one", "two")
    eventually(lambda: seen)
    assert seen == [["one", "two"]]
    assert subscription._messages[0].text == "two"


# ---- traits ----


def test_observers_are_called_once_per_batch_with_the_whole_list(ada, bob):
    changes = []
    ada.observe(changes.append, "messages")
    bob.send("one")
    eventually(lambda: changes)
    [change] = changes
    assert (change.name, change.owner, texts(change.old), texts(change.new)) == ("messages", ada, [], ["one"])
    ada.unobserve(changes.append, "messages")
    bob.send("two")
    wait_for_texts(ada, "one", "two")
    assert len(changes) == 1


def test_all_live_values_are_traits(server, make):
    ada = make("ada")
    changes = {}
    ada.observe(lambda change: changes.__setitem__(change.name, change.new))
    bob = make("bob")
    eventually(lambda: [member.user for member in ada.members] == ["ada", "bob"])
    eventually(lambda: "members" in changes)
    bob.close()
    eventually(lambda: [member.user for member in ada.members] == ["ada"])
    assert set(ada.trait_names()) >= {
        *("messages", "status", "error", "latency", "members", "queued", "unread"),
        *("reconnect_attempts", "last_disconnected_at"),
    }
    for name in ada.trait_names():
        with pytest.raises(traitlets.TraitError):
            setattr(ada, name, None)


def test_a_failing_observer_does_not_stop_others(ada, capsys):
    received = []

    def fails(change):
        raise ValueError("observer")

    ada.observe(fails, "messages")
    ada.observe(received.append, "messages")
    ada.send("hi")
    eventually(lambda: received)
    assert "ValueError: observer" in capsys.readouterr().err


# ---- handlers ----


def test_handlers_get_new_messages_of_others(ada, bob):
    bob.send("before")
    wait_for_texts(ada, "before")
    received = Collector()
    assert ada.on_message(received) is received
    ada.send("own")
    bob.send("one")
    bob.send("two")
    received.wait("one", "two")


def test_own_true_includes_own_messages(ada, bob):
    received = Collector()
    ada.on_message(own=True)(received)
    ada.send("own")
    bob.send("theirs")
    received.wait("own", "theirs")


def test_a_copied_cid_does_not_make_a_message_own(ada, bob):
    """A handler gets messages of others even if they copy a cid of this Room."""
    received = Collector()
    ada.on_message(received)
    sent = ada.send("mine")
    cids = [sent.cid, f"{sent.cid}.2", "2." + sent.cid.partition(".")[2]]
    for cid in cids:
        bob._submit(Send(cid=cid, user="bob", text=cid), own=True).result(20)
    received.wait(*cids)
    assert texts(ada.pending()) == cids
    assert ada.send("and mine").text == "and mine"


def test_messages_from_the_window_are_not_own(ada):
    received = Collector()
    ada.on_message(received)
    ada._submit(Send(cid="typed-1", user="ada", text="typed"), own=False).result(20)
    received.wait("typed")
    assert texts(ada.pending()) == ["typed"]


def test_own_is_what_any_room_of_this_member_sends(make, bob):
    """An echo bot that was made twice answers others, and never itself."""
    both = make("bot"), make("bot")
    for bot in both:
        bot.on_message(lambda message, bot=bot: bot.send(f"echo {message.text}"))
    bob.send("hi")
    bob.send("end")
    expected = ["echo end", "echo end", "echo hi", "echo hi", "end", "hi"]
    eventually(lambda: sorted(texts(bob.messages)) == expected, what=str(texts(bob.messages)))
    assert [texts(bot.pending()) for bot in both] == [["hi", "end"]] * 2


def test_a_separate_room_hears_the_other(make):
    one, other = make("bot"), make("bot", separate=True)
    received = Collector()
    other.on_message(received)
    one.send("hi")
    received.wait("hi")


def test_rooms_of_one_member_are_listed_once(make, bob):
    def kernels():
        return [each for each in bob.members if each.kind == "kernel" and each.user == "bot"]

    rooms = [make("bot"), make("bot")]
    make("bot", separate=True)
    eventually(lambda: len(kernels()) == 2)
    assert len({each.id for each in kernels()}) == 2
    for each in rooms:
        each.close()
    eventually(lambda: [each.id for each in kernels()] == [None])  # the only one of its name needs none


def test_where_filters_and_its_errors_are_shown(ada, bob, capsys):
    received = Collector()
    ada.on_message(where=lambda message: int(message.text) > 1)(received)
    for text in ("1", "not a number", "2"):
        bob.send(text)
    received.wait("2")
    assert "ValueError" in capsys.readouterr().err


def test_a_function_of_the_same_name_replaces_the_earlier_one(ada, bob):
    first, second = Collector(), Collector()

    def define(received):
        @ada.on_message
        def bot(message):
            received.append(message)

    define(first)
    bob.send("one")
    first.wait("one")
    define(second)
    bob.send("two")
    second.wait("two")
    assert texts(first) == ["one"]


def test_handlers_of_one_factory_are_two_handlers(ada, bob):
    def make(received):
        def bot(message):
            received.append(message)

        return bot

    both = Collector(), Collector()
    for received in both:
        ada.on_message(make(received))
    bob.send("hi")
    for received in both:
        received.wait("hi")


def test_methods_of_two_objects_are_two_handlers(ada, bob):
    class Bot:
        def __init__(self):
            self.received = Collector()

        def on_message(self, message):
            self.received.append(message)

    bots = [Bot(), Bot()]
    for bot in bots:
        ada.on_message(bot.on_message)
    bob.send("hi")
    for bot in bots:
        bot.received.wait("hi")


def test_a_handler_can_be_removed(ada, bob):
    off, on = Collector(), Collector()

    def handler(message):
        off.append(message)

    ada.on_message(handler)
    ada.on_message(on)
    assert ada.off_message(handler)
    assert not ada.off_message(handler)
    bob.send("hi")
    on.wait("hi")
    assert off == []


def test_an_error_is_shown_and_does_not_stop_others(ada, bob, capsys):
    received, frames = Collector(), []
    ada._add_listener(frames.extend)

    @ada.on_message
    def fails(message):
        raise ValueError(f"cannot handle {message.text}")

    ada.on_message(received)
    bob.send("one")
    bob.send("two")
    received.wait("one", "two")
    shown = capsys.readouterr().err
    assert shown.count("ValueError: cannot handle") == 2
    assert "bqwidget/_threads/callback.py" not in shown
    eventually(lambda: [f.message for f in frames if getattr(f, "code", "") == "callback"])
    assert "fails: ValueError: cannot handle one" in [getattr(frame, "message", "") for frame in frames]


def test_async_handlers_run_in_order_while_others_run(ada, bob):
    order, received = [], Collector()

    @ada.on_message
    async def slowly(message):
        order.append(f"{message.text} begins")
        await asyncio.sleep(0.05 if message.text == "one" else 0)
        order.append(f"{message.text} ends")

    ada.on_message(received)
    bob.send("one")
    bob.send("two")
    received.wait("one", "two")
    eventually(lambda: len(order) == 4)
    assert order == ["one begins", "one ends", "two begins", "two ends"]


def test_an_async_error_is_shown_too(ada, bob, capsys):
    frames = []
    ada._add_listener(frames.extend)

    @ada.on_message
    async def fails(message):
        await asyncio.sleep(0)
        raise ValueError(message.text)

    bob.send("one")
    eventually(lambda: [frame for frame in frames if getattr(frame, "code", "") == "callback"])
    assert "ValueError: one" in capsys.readouterr().err


def test_background_handlers_run_on_their_own_thread(ada, bob):
    threads, done = [], threading.Event()

    @ada.on_message(background=True)
    def ask_back(message):
        threads.append(threading.current_thread())
        if message.text == "hi":
            ada.send("go?")
            ada.wait_for(lambda reply: reply.text == "go", after=message, timeout=20)
            done.set()

    bob.send("hi")
    wait_for_texts(bob, "hi", "go?")
    bob.send("go")
    assert done.wait(20)
    assert threads[0] not in (threading.main_thread(), ada._connection.thread)
    ada.off_message(ask_back)
    eventually(lambda: not threads[0].is_alive())


def test_blocking_verbs_work_in_handlers(ada, bob):
    @ada.on_message
    def echo(message):
        ada.send(f"echo {message.text}")

    bob.send("hi")
    wait_for_texts(bob, "hi", "echo hi")


def test_a_handler_must_be_callable(ada):
    with pytest.raises(TypeError, match="takes a function"):
        ada.on_message("hi")


# ---- waiting ----


def test_wait_for_returns_the_first_newer_match(ada, bob):
    bob.send("go")
    wait_for_texts(ada, "go")
    with meanwhile(lambda: [bob.send(text) for text in ("no", "go", "go")]):
        found = ada.wait_for(lambda message: message.text == "go", timeout=20)
    assert found.seq == 3


def test_after_finds_messages_sent_before_the_call(ada, bob):
    question = ada.send("go?")
    bob.send("go")
    wait_for_texts(ada, "go?", "go")
    assert ada.wait_for(after=question, timeout=20).text == "go"
    assert ada.wait_for(after=question.seq, timeout=20).text == "go"


def test_after_finds_messages_that_are_not_kept(make, bob):
    few = make("ada", keep=2)
    question = few.send("go?")
    bob.send("go")
    for n in range(5):
        bob.send(f"noise {n}")
    eventually(lambda: len(few.messages) == 2 and few.messages[-1].text == "noise 4")
    assert few.wait_for(lambda message: message.text == "go", after=question, timeout=20).seq == 2


def test_after_works_before_the_join(server, ada):
    for n in range(5):
        ada.send(f"m{n}")
    with Room(ada.name, user="late", url=server.url, keep=2) as late:
        assert late.wait_for(after=0, timeout=20).text == "m0"
    with Room(ada.name, user="late", url=server.url) as late:

        async def read():
            return [message.text async for message in late.stream(after=1) if message.text != "m4" or late.close()]

        assert asyncio.run(read()) == ["m1", "m2", "m3"]


def test_a_wait_without_a_match_times_out(ada):
    with pytest.raises(WaitTimeout, match=r"within 0\.1 s") as raised:
        ada.wait_for(lambda message: True, timeout=0.1)
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.timeout == 0.1


def test_a_predicate_must_be_callable(ada):
    for wait in (ada.wait_for, ada.next_message, ada.stream):
        with pytest.raises(TypeError, match="a function of a message, not 'go'"):
            wait("go")
    with pytest.raises(TypeError, match="a function of a message, not 'go'"):
        ada.on_message(where="go")(print)


def test_an_error_in_a_predicate_ends_the_wait(ada, bob):
    with meanwhile(lambda: bob.send("hi")), pytest.raises(ZeroDivisionError):
        ada.wait_for(lambda message: 1 / 0, timeout=20)


def test_closing_ends_a_wait(ada):
    with meanwhile(ada.close), pytest.raises(RoomClosed):
        ada.wait_for(timeout=20)
    with pytest.raises(RoomClosed):
        ada.wait_for(timeout=20)


def test_a_wait_never_misses_an_immediate_answer(ada, bob):
    """The wait begins with the call: no message between the call and the await is lost."""

    @bob.on_message
    def answer(message):
        bob.send(f"re {message.text}")

    async def race():
        for n in range(100):
            coming = ada.next_message(lambda message, n=n: message.text == f"re {n}", timeout=20)
            ada.send(f"{n}")
            assert (await coming).text == f"re {n}"

    asyncio.run(race())


def test_a_stream_contains_all_messages_since_the_call(ada, bob):
    stream = ada.stream()
    bob.send("one")
    ada.send("two")

    async def read():
        found = []
        async for message in stream:
            found.append(message.text)
            if message.text == "two":
                bob.send("three", wait=False)
            if message.text == "three":
                await asyncio.to_thread(ada.close)
        return found

    assert asyncio.run(read()) == ["one", "two", "three"]


def test_a_stream_filters(ada, bob):
    stream = ada.stream(lambda message: message.user == "bob")
    ada.send("own")
    bob.send("theirs")

    async def first():
        return await anext(stream)

    assert asyncio.run(first()).text == "theirs"


def test_pending_returns_messages_of_others_since_the_last_call(ada, bob):
    assert ada.pending() == []
    bob.send("one")
    ada.send("own")
    bob.send("two")
    wait_for_texts(ada, "one", "own", "two")
    assert texts(ada.pending()) == ["one", "two"]
    assert ada.pending() == []


def test_pending_begins_with_the_join(make, bob):
    bob.send("before")
    late = make("late")
    assert late.pending() == []
    bob.send("after")
    eventually(lambda: texts(late.pending()) == ["after"])


def test_pending_includes_messages_that_are_not_kept(make, bob):
    few = make("ada", keep=2)
    for n in range(6):
        bob.send(f"m{n}")
    eventually(lambda: few.messages and few.messages[-1].text == "m5")
    assert texts(few.pending()) == [f"m{n}" for n in range(6)]


def test_pending_never_waits_for_the_join():
    with Room("lobby", user="ada", url="http://127.0.0.1:9") as room:
        assert room.pending() == []


# ---- addresses ----


def test_the_address_and_the_invite(server, ada):
    assert ada.url == f"{server.url.rstrip('/')}/rooms/{ada.name}"
    with (
        running_server() as guarded,
        Room("lobby", user="ada", url=guarded.url, token=guarded.token) as room,
    ):
        link = room.invite(uses=2, minutes=5)
        assert link.startswith(f"{room.url}#invite=")
        assert guarded.token not in link


# ---- listeners, for the window ----


def test_a_listener_gets_frames_and_status_on_the_rooms_thread(make, bob):
    ada = make("ada")
    frames, threads = [], set()

    def listener(batch):
        threads.add(threading.current_thread())
        frames.extend(batch)

    unlisten = ada._add_listener(listener)
    message = ada.send("hi")
    ada.edit(message, "hello")
    eventually(lambda: [frame for frame in frames if isinstance(frame, ChangeFrame)])
    assert [frame.entry.text for frame in frames if isinstance(frame, MessageFrame)] == ["hi"]
    assert {frame.queued for frame in frames if isinstance(frame, Status)} == {0, 1}
    assert threads == {ada._connection.thread}
    unlisten()
    unlisten()
    ada.send("more")
    assert [frame.entry.text for frame in frames if isinstance(frame, MessageFrame)] == ["hi"]


def test_snapshot_frames_rebuild_the_newest_messages(ada):
    for n in range(5):
        ada.send(f"m{n}")
    got, done = [], threading.Event()
    ada._connection.call_soon(lambda: (got.extend(ada._snapshot_frames(3)), done.set()))
    assert done.wait(20)
    assert isinstance(got[0], Hello)
    assert [frame.entry.text for frame in got if isinstance(frame, MessageFrame)] == ["m2", "m3", "m4"]
    assert [frame.seq for frame in got if isinstance(frame, Synced)] == [5]
    assert got[-1].status == "open"


def test_a_failing_listener_does_not_end_the_room(ada, monkeypatch):
    shown = []
    monkeypatch.setattr("sys.excepthook", lambda *error: shown.append(error[1]))

    def fails(frames):
        raise ValueError("window")

    ada._add_listener(fails)
    assert ada.send("hi").text == "hi"
    assert isinstance(shown[0], ValueError)


def test_messages_contains_message_objects(ada):
    assert isinstance(ada.send("hi"), Message)
