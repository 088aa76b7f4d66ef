"""Wrong arguments of every public verb: a ValueError or TypeError before the network, with what to write instead."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import re
from pathlib import Path

import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
import pytest

from bqwidget import BqwidgetError, ChatWidget, Message, Room
from bqwidget.protocol import Ask

QUESTION = Message(seq=1, room="lobby", user="bob", text="?", at=1, ask=Ask(choices=("yes", "no")))
OTHER = Message(seq=1, room="other", user="bob", text="?", at=1, ask=Ask(choices=("yes",)))
PLAIN = Message(seq=1, room="lobby", user="bob", text="hi", at=1)


class Plotly:
    """Stands for a figure of plotly, which has no picture of its own."""

    __module__ = "plotly.graph_objs._figure"

    def _repr_mimebundle_(self, **_):
        return {"application/vnd.plotly.v1+json": {}, "text/html": "<div></div>"}

    def __repr__(self) -> str:
        return "Plotly()"  # the test's name, the same in each process of pytest-xdist


class Unnamed:
    """A function without a name."""

    def __call__(self) -> None: ...

    def __repr__(self) -> str:
        return "Unnamed()"


def nothing(): ...


def case(verb, expected, *args, **options):
    given = re.sub(
        " at 0x[0-9a-f]+", "", f"{verb} {args} {options}"
    )  # every process of pytest-xdist has the same names
    return pytest.param(verb, expected, args, options, id=given[:70].replace("\n", " "))


FIGURE = matplotlib.figure.Figure()
TIMEOUTS = [
    ("10", "number of seconds"),
    (-1, "timeout is -1: .*0 or more"),
    (float("nan"), "timeout is nan"),
    (True, "True"),
    (np.zeros(2), "number of seconds"),
]
WITH_TIMEOUT = {
    "wait_open": (),
    "await_open": (),
    "send": ("hi",),
    "asend": ("hi",),
    "reply": (1, "hi"),
    "edit": (1, "hi"),
    "delete": (1,),
    "react": (1, "👍"),
    "pin": (1,),
    "ask": ("?",),
    "aask": ("?",),
    "poll": ("?", ["a", "b"]),
    "answer": (QUESTION, "yes"),
    "wait_for": (),
    "next_message": (),
}
MESSAGES = [
    (None, "not None"),
    ("1", r"'1' \(str\)"),
    (1.0, "float"),
    (0, "is 0: write a Message"),
    (-1, "is -1"),
    (True, "not True"),
    (2**70, "write a Message or its seq"),
    (
        OTHER,
        r"message 1 of room other: use Room\('other'\) for it",
    ),
]
WITH_MESSAGE = {
    "thread": (),
    "reply": ("hi",),
    "edit": ("hi",),
    "delete": (),
    "react": ("👍",),
    "answer": ("yes",),
    "pin": (),
}

CASES = [
    *(case(verb, text, *given, timeout=value) for verb, given in WITH_TIMEOUT.items() for value, text in TIMEOUTS),
    *(case(verb, text, value, *more) for verb, more in WITH_MESSAGE.items() for value, text in MESSAGES),
    case("send", r"text: .*not NoneType.*convert it", None),
    case("send", "text: .*not int", 3),
    case("send", "text: .*not float64", np.float64(3)),
    case("send", "text is empty: give it 1 to", ""),
    case("send", "text is empty", "  \n"),
    case("send", "the module matplotlib.pyplot: send one of its figures, such as plt.gcf", plt),
    case("send", "the module numpy: send a text", np),
    case("send", "not type", Plotly),
    case("send", r"a Plotly that a browser draws: send a picture of it, as by room.send\(figure.to_image", Plotly()),
    case("send", "caption must be text", FIGURE, 3),
    case("send", "caption must be text", "hi", False),
    case("send", "name must be text", FIGURE, name=3),
    case("send", "wait must be True or False, not 0", "hi", wait=0),
    case("send", "cell must be True or False, not 1", "hi", cell=1),
    case("send", "format is array.*: write 'plain'", "hi", format=np.zeros(2)),
    case("send", "none runs here: leave it out", "hi", cell=True),
    case("send", r"timedelta.*total_seconds", "hi", timeout=dt.timedelta(seconds=3)),
    case("asend", "text is empty", ""),
    case("reply", "text: .*not Figure.*room.send attaches", 1, FIGURE),
    case("reply", "text is empty", 1, ""),
    case("edit", "text: .*not NoneType", 1, None),
    case("edit", "text is empty", 1, ""),
    case("react", "emoji is 'thumbsup': write the character itself, such as '👍'", 1, "thumbsup"),
    case("react", "emoji is ':tada:': .*'🎉'", 1, ":tada:"),
    case("react", "emoji is 'rocket': .*'🚀'", 1, "rocket"),
    case("react", r"emoji is '\+1': .*'👍'", 1, "+1"),
    case("react", "emoji must be text", 1, None),
    case("react", "emoji is '': write text such as '👍'", 1, ""),
    case("react", "at most 16", 1, "👍" * 17),
    case("react", "on must be True or False", 1, "👍", on="no"),
    case("ask", "text: .*not NoneType", None),
    case("ask", "text is empty", ""),
    case("ask", r"choices must be a list of texts, not one text: did you mean \['yes'\]", "?", "yes"),
    case("ask", "choices must be a list of texts such as", "?", 3),
    case("ask", "choices must be texts that are not empty, not 1", "?", [1, 2]),
    case("ask", "choices must be texts that are not empty, not ''", "?", ["yes", ""]),
    case("ask", "choices must be distinct and not empty", "?", []),
    case("ask", "choices must be distinct", "?", ["yes", "yes"]),
    case("ask", "from_ must be text such as 'bob'", "?", from_=3),
    case("ask", "from_ is ''", "?", from_=""),
    case("poll", "text: .*not NoneType", None, ["a"]),
    case("poll", "choices is None: write a list of texts", "?", None),
    case("poll", "choices must be a list of texts such as", "?", np.array("a")),
    case("poll", r"not one text: did you mean \['yes'\]", "?", "yes"),
    case("poll", "choices must be distinct", "?", ["a", "a"]),
    case("poll", r"from_ must be a list such as \['ann', 'bob'\], the names of members, not 3", "?", ["a"], from_=3),
    case("poll", r"from_ must be a list .*not 3", "?", ["a"], from_=["bob", 3]),
    case("poll", "from_ is '': write text such as 'bob'", "?", ["a"], from_=["bob", ""]),
    case("poll", "from_ is .*let everyone vote", "?", ["a"], from_=[]),
    case("poll", "wait must be True or False", "?", ["a"], wait="no"),
    case("answer", "question is 1: that is not a question: use room.reply", PLAIN, "yes"),
    case("answer", r"question is 999: it is not kept here: .*room\.history", 999, "yes"),
    case("answer", "'maybe' is not a choice: use 'yes', 'no'", QUESTION, "maybe"),
    case("answer", "text: .*not bool", QUESTION, True),
    case("answer", "wait must be True or False", QUESTION, "yes", wait=None),
    case("on_message", "function is 'go' .*on_message takes a function, not str", "go"),
    case("on_message", "where must be a function of a message, not 'go'", where="go"),
    case("on_message", r"function is nothing\(\): it is called as nothing\(message\)", nothing),
    case("on_message", r"where is nothing\(\): it is called as nothing\(message\)", where=nothing),
    case("on_mention", r"function is nothing\(\): it is called as nothing\(message\)", nothing),
    case("live", r"function is nothing\(\): it is called as nothing\(messages\)", nothing),
    case("observe", r"handler is nothing\(\): it is called as nothing\(change\)", nothing, "messages"),
    case("wait_for", r"predicate is nothing\(\): it is called as nothing\(message\)", nothing),
    case("on_message", "background must be True or False", background="yes"),
    case("on_message", "own must be True or False", own=None),
    case("on_message", "live must be True or False", live=1),
    case("write", "re must be a Message or its seq", re="x"),
    case("write", "re is message 1 of room other", re=OTHER),
    case("wait_for", "after is message 1 of room other", after=OTHER),
    case("stop", "message is message 1 of room other", OTHER),
    case("history", "before is message 1 of room other", OTHER),
    case("history", "before is 9223372036854775808: write a Message", 2**63),
    case("get", "seq is message 1 of room other", OTHER),
    case("conversation", "upto is message 1 of room other", upto=OTHER),
    case("write", "timeout is -1", timeout=-1),
    case("activity", "text must be text such as 'thinking", 3),
    case("activity", "text is ''", ""),
    case("stop", "message must be a Message or its seq", None),
    case("off_message", "function is 'reply'", "reply"),
    case("off_message", "function is None", None),
    case("on_reconnect", "function is 3", 3),
    case("on_reconnect", r"function is <lambda>\(message\): it is called as <lambda>\(\)", lambda message: message),
    case("wait_for", r"predicate must be a function of a message, not 'go'.*lambda message", "go"),
    case("wait_for", "a time limit is timeout=", 10),
    case("wait_for", "after must be a Message or its seq", after="x"),
    case("wait_for", "after is -1", after=-1),
    case("next_message", "predicate must be", "go"),
    case("next_message", "after must be", after=1.5),
    case("stream", "predicate must be", "go"),
    case("stream", "after must be", after="x"),
    case("observe", "names has 'mesages', which is not a trait: did you mean 'messages'", print, "mesages"),
    case("observe", "type is 'chnge': leave it out", print, "messages", "chnge"),
    case("observe", "names must be strings, not int", print, ["messages", 3]),
    case("observe", "names must be the name of a trait", print, 3),
    case("observe", "names must be .*a list of names, not b'messages'", print, b"messages"),
    case("observe", r"names must be .*a list of names, not \[\]", print, []),
    case("observe", "names must be .*a list of names, not array", print, np.array(["messages"])),
    case("observe", "type is array", print, "messages", np.zeros(2)),
    case("observe", "handler must be a function of a change", "messages", print),
    case("unobserve", "names has 'mesages', which is not a trait: did you mean 'messages'", print, "mesages"),
    case("unobserve", "handler must be a function of a change", "messages", print),
    case("track", r"iterable must be something to iterate over, such as range\(10\), not 10", 10),
    case("track", "iterable must be .*not None", None),
    case("track", "label must be text", [1], 3),
    case("track", "total must be a whole number", [1], total="many"),
    case("track", "total is -1", [1], total=-1),
    case("track", "stop must be True or False", [1], stop="yes"),
    case("report", "title must be text such as 'training'", None),
    case("report", "title is ''", ""),
    case("live", "live takes a function of the messages, not str", "go"),
    case("live", "pause must be a number of seconds", pause="1"),
    case("live", "pause is -1", pause=-1),
    case("history", "before must be a Message or its seq, a whole number, not 'x'", "x"),
    case("history", "before is -1", -1),
    case("history", "limit must be a whole number", limit="10"),
    case("history", "limit must be a whole number", limit=None),
    case("history", "limit is -1: write a whole number, 0 or more", limit=-1),
    case("search", "text must be text such as 'loss nan', not None", None),
    case("search", "text is '': write text such as", ""),
    case("search", "text is ' '", " "),
    case("search", "limit is 0: write a whole number, from 1 to 200", "x", limit=0),
    case("search", "limit is 201", "x", limit=201),
    case("search", r"limit must be .*not 1.5 \(float\)", "x", 1.5),
    case("part", r"message.parts\[0\]", PLAIN),
    case("part", "not None", None),
    case("part", "part is 'loss.png': write an attachment", "loss.png"),
    case("df", "history must be True or False", history="all"),
    case("df", "limit is -5", limit=-5),
    case("df", "limit must be", limit="5"),
    case("command", "function is 'mean' .*command takes a function, not str", "mean"),
    case("command", "name is 'my mean': write a name of letters", name="my mean"),
    case("command", "name must be text", name=3),
    case("command", "name is '': write text such as 'mean'", Unnamed()),
    case("command", "background must be True or False", background="yes"),
    case("off_command", "command is 3", 3),
    case("on_mention", "function is 'go'", "go"),
    case("on_mention", "background must be True or False", background="yes"),
    case("conversation", "format must be text such as 'openai', not 3", 3),
    case("conversation", "format is 'gemini': write 'openai', 'anthropic', 'pydantic_ai'", "gemini"),
    case("conversation", "last is 0", last=0),
    case("conversation", "last must be a whole number", last="all"),
    case("conversation", "max_chars is 0", max_chars=0),
    case("conversation", "pictures is -1", pictures=-1),
    case("conversation", "pictures must be a whole number", pictures=True),
    case("conversation", "upto must be a Message or its seq", upto="x"),
    case("transcript", r"messages must be a list such as room.messages\[-5:\]", PLAIN),
    case("transcript", "messages must be a list", "text"),
    case("transcript", "messages must be a list .*not 3", [3]),
    case("get", "seq must be a Message or its seq", "x"),
    case("get", "seq is 0", 0),
    case("pin", "on must be True or False", 1, on="no"),
    case("mute", "user must be text such as 'bob'", 3),
    case("mute", "minutes is 0", "bob", 0),
    case("mute", "minutes must be a number of minutes", "bob", "ten"),
    case("mute", "minutes is .*at most 52,704,000", "bob", 1e12),
    case("unmute", "user is ''", ""),
    case("invite", "uses is 0: write a whole number, from 1 to 100", uses=0),
    *(case("mark_read", text, value) for value, text in MESSAGES[1:]),
    case("invite", "uses is 101", uses=101),
    case("invite", "uses must be a whole number", uses="two"),
    case("invite", "uses must be", uses=None),
    case("invite", "minutes is 0: write a number of minutes, more than 0, at most 10,080", minutes=0),
    case("invite", "minutes is 1000000", minutes=1_000_000),
    case("invite", "minutes must be", minutes="ten"),
]
TWINS = (
    "poll",
    "stop",
    "reply",
    "edit",
    "delete",
    "react",
    "answer",
    "history",
    "search",
    "part",
    "df",
    "invite",
    "conversation",
    "get",
    "thread",
    "mark_read",
    "pin",
    "mute",
    "unmute",
)
CASES += [
    pytest.param(f"a{verb}", *rest, id=f"a{one.id}")
    for one in CASES
    for verb, *rest in [one.values]
    if verb in TWINS and (verb == "poll" or "wait" not in one.values[3])
]
WITHOUT_ARGUMENTS = {"pending", "apending", "close", "aclose", "pins", "apins", "lock", "alock", "unlock", "aunlock"}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """It never reaches a server: an error that needs one would be another."""
    with Room("lobby", user="ada", url="http://127.0.0.1:9", token="secret") as unreachable:
        yield unreachable


@pytest.mark.parametrize(("verb", "expected", "args", "options"), CASES)
def test_a_wrong_argument_is_named_before_the_network(room, verb, expected, args, options):
    with pytest.raises((ValueError, TypeError), match=expected) as raised:
        result = getattr(room, verb)(*args, **options)
        if inspect.isawaitable(result):
            asyncio.run(result)
    assert room.queued == 0
    assert len(str(raised.value)) < 400
    if isinstance(raised.value, BqwidgetError) and hasattr(raised.value, "argument"):
        assert raised.value.argument.rstrip("_") in str(raised.value)


def test_every_verb_is_in_the_table():
    verbs = {
        name
        for base in Room.__mro__
        if base.__module__.startswith("bqwidget")
        for name, value in vars(base).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert {parameters.values[0] for parameters in CASES} == verbs - WITHOUT_ARGUMENTS


CONSTRUCTOR = [
    ({"name": "my room"}, "name: 'my room' is not a room name: .*such as 'my-room'"),
    ({"name": "Übung 3!"}, "such as 'Ubung-3'"),
    ({"name": "日本"}, "such as 'lobby'"),
    ({"name": ""}, "such as 'lobby'"),
    ({"name": "x" * 65}, f"such as '{'x' * 64}'"),
    ({"name": None}, r"a room's name is text, not None: Room\('lobby'\)"),
    ({"name": np.int64(3)}, "a room's name is text, not"),
    ({"server": "http://x"}, "no option 'server': did you mean 'url'"),
    ({"username": "x"}, "did you mean 'user'"),
    ({"password": "x"}, "did you mean 'token'"),
    ({"user": ""}, "user is ''"),
    ({"user": "\u200b"}, "characters that can be seen"),
    ({"user": 3}, "user must be text such as 'ada', not 3"),
    ({"keep": 0}, "keep is 0"),
    ({"keep": None}, "keep is None: it must be the number"),
    ({"keep": True}, "keep is True"),
    ({"keep": 1.5}, "keep is 1.5"),
    ({"url": "lobby"}, "url: 'lobby' is not a server's address such as http"),
    ({"url": "http://127.0.0.1:9/rooms/lobby"}, "address of a room's page: write 'http://127.0.0.1:9'"),
    ({"url": "https://host/hub/rooms/"}, "address of a room's page: write 'https://host/hub'"),
    ({"url": Path("x")}, "url must be text such as"),
    ({"token": 3, "url": "http://127.0.0.1:9"}, "token must be text, not int"),
    ({"token": "x"}, "token= needs a server: pass url="),
    ({"insecure": "yes"}, "insecure must be True or False"),
    ({"separate": 1}, "separate must be True or False"),
]


@pytest.mark.parametrize(("options", "expected"), CONSTRUCTOR, ids=[str(options) for options, _ in CONSTRUCTOR])
@pytest.mark.parametrize("kind", [Room, ChatWidget])
def test_a_wrong_argument_of_the_constructor_is_named(kind, options, expected, monkeypatch):
    monkeypatch.delenv("BQWIDGET_URL", raising=False)
    name, *_ = {"name": "lobby", **options}.values()
    given = {key: value for key, value in options.items() if key != "name"}
    with pytest.raises((ValueError, TypeError), match=expected):
        kind(name, **given)


def test_numbers_of_numpy_are_numbers(join):
    room = join("ada", keep=np.int64(10))
    first = room.send("one", timeout=np.float32(20))
    assert room.edit(np.int64(first.seq), "two", timeout=np.int64(20)).text == "two"
    room.react(first, "👍", on=np.bool_(True))
    assert [message.text for message in room.history(np.int64(first.seq + 1), np.uint8(5))] == ["two"]
    with room.report("fit") as report:
        report.update(np.float64(0.4))
    assert room.wait_for(timeout=20, after=np.int32(0)).seq == first.seq
    assert len(room.df(limit=np.int64(1))) == 1


@pytest.mark.parametrize("timeout", [1e10, 2**63, 10**400, float("inf"), np.float64("inf")])
def test_a_timeout_of_more_than_python_can_wait_has_no_end(join, timeout):
    room = join("ada")
    room.wait_open(timeout)
    sent = room.send("hi", timeout=timeout)
    assert room.wait_for(timeout=timeout, after=0) == sent


def test_a_handler_that_does_not_observe_is_named(room):
    room.observe(print, "messages")
    with pytest.raises(ValueError, match=r"handler is .*it does not observe that"):
        room.unobserve(len, "messages")
    room.unobserve(print, "messages")


@pytest.mark.parametrize("emoji", ["👍", "❤️", "1️⃣", "🏳️‍🌈", "!", ":)", "はい"])
def test_what_is_no_name_is_a_reaction(join, emoji):
    room = join("ada")
    assert room.react(room.send("hi"), emoji).reactions == {emoji: ("ada",)}


def test_a_figure_of_matplotlib_is_sent(join):
    room = join("ada")
    figure = matplotlib.figure.Figure()
    figure.add_subplot().plot([1, 2])
    assert room.send(figure, "loss", name="loss").parts[0].mime == "image/png"


def test_a_report_is_updated_inside_of_its_block(join):
    room = join("ada")
    report = room.report("training")
    with pytest.raises(BqwidgetError, match=r"with room\.report"):
        report.update(0.4)
    with report:
        for wrong, expected in {
            "50%": "number from 0 to 1",
            40: "40 % is 0.4",
            True: "not True",
            np.nan: "nan",
        }.items():
            with pytest.raises((ValueError, TypeError), match=f"fraction .*{expected}"):
                report.update(wrong)
        report.update(1)
    with pytest.raises(BqwidgetError, match=r"with room\.report"):
        report.update(0.4)


def test_an_error_shows_neither_long_values_nor_broken_reprs(room):
    class Broken:
        def __repr__(self):
            raise RuntimeError

    for given in (Broken(), np.zeros(10_000), "x" * 10_000, [object()] * 1000):
        with pytest.raises((ValueError, TypeError)) as raised:
            room.part(given)
        assert len(str(raised.value)) < 300
        assert "\n" not in str(raised.value)
