"""History: pages, search, data frames and transcripts, with a real server that has a log on disk."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import pytest
from bqserver.testing import running_server
from support.eventually import eventually

from bqwidget import ArgumentError, BqwidgetError, ConnectionRefused, Room
from bqwidget._room.transcript import Transcript
from bqwidget.protocol import Message

NASTY = "<img src=x onerror=alert(1)>\x1b[31m\u202e&amp;\nnext"


@pytest.fixture(scope="module")
def room_server(tmp_path_factory):
    """Searching needs a log on disk."""
    log = f"sqlite:{tmp_path_factory.mktemp('log') / 'log.sqlite'}"
    with running_server(log=log) as running:
        yield running


def texts(messages):
    return [message.text for message in messages]


# ---- search ----


def test_a_search_finds_messages_that_are_not_kept(join):
    room = join(keep=2)
    for number in range(5):
        room.send(f"epoch {number} loss {number / 10}")
    room.send("lunch")
    assert texts(room.messages) == ["epoch 4 loss 0.4", "lunch"]
    assert texts(room.search("loss")) == [f"epoch {number} loss {number / 10}" for number in range(5)]
    assert texts(room.search("loss", limit=2)) == ["epoch 3 loss 0.3", "epoch 4 loss 0.4"]
    assert texts(room.search("epoch 2")) == ["epoch 2 loss 0.2"]
    assert room.search("nothing") == []


def test_a_search_for_a_lone_surrogate_is_an_error(join):
    with pytest.raises(BqwidgetError, match="half a character"):
        join().search("\ud800")


def test_an_empty_search_is_an_error(join):
    with pytest.raises(ArgumentError, match="write text such as 'loss nan'"):
        join().search(" ")


# ---- one message, and a thread ----


def test_one_message_as_it_reads_now(join):
    room = join(keep=1)
    first = room.send("frist")
    edited = room.edit(first, "first")
    room.send("second")
    assert room.get(first.seq) == edited
    assert room.get(999) is None
    assert room.get(first.seq + 1) is None  # the edit, which is no message
    with pytest.raises(ArgumentError, match="seq"):
        room.get(0)


def test_a_thread_is_a_message_and_its_replies(join):
    room = join(keep=2)
    question = room.send("which?")
    replies = [room.reply(question, str(number)) for number in range(3)]
    room.reply(replies[0], "to another")
    room.send("elsewhere")
    assert room.thread(question) == [question, *replies]
    assert room.thread(question.seq) == room.thread(question)
    assert room.thread(999) == []


# ---- the data frame ----


def test_a_data_frame_of_the_kept_messages(join):
    ada, bob = join("ada"), join("bob")
    question = ada.send("ready?")
    answer = bob.reply(question, "yes")
    ada.edit(question, "ready now?")
    bob.react(question, "👍")
    eventually(lambda: ada.messages[0].reactions)
    table = ada.df()
    assert list(table.user) == ["ada", "bob"]
    assert list(table.text) == ["ready now?", "yes"]
    assert list(table.seq) == [question.seq, answer.seq]
    assert table["re"].isna()[0]
    assert table["re"][1] == question.seq
    assert table["at"][0].timestamp() * 1000 == pytest.approx(question.at)
    assert str(table["at"].dt.tz) == "UTC"
    assert table["edited"].notna().tolist() == [True, False]
    assert table["reactions"][0] == {"👍": ("bob",)}


def test_a_data_frame_of_an_empty_room_has_all_columns(join):
    table = join().df()
    assert len(table) == 0
    assert {"seq", "at", "user", "text", "re", "choice"} <= set(table.columns)
    assert str(table["at"].dt.tz) == "UTC"


def test_a_data_frame_of_the_whole_history(join):
    room = join(keep=10)
    for number in range(430):
        room.send(str(number), wait=False)
    room.send("430")
    assert len(room.df()) == 10
    assert list(room.df(history=True).text) == [str(number) for number in range(431)]
    assert list(room.df(limit=5).text) == [str(number) for number in range(426, 431)]
    assert list(room.df(limit=215).text) == [str(number) for number in range(216, 431)]
    assert len(room.df(limit=1000)) == 431


def test_without_pandas_the_error_has_the_remedy(monkeypatch, join):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BqwidgetError, match="pip install pandas"):
        join().df()


# ---- the transcript ----


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.attributes = []
        self.data = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.data += data


def message(text, **fields):
    given = {"user": "ada", "text": text, **fields}
    return Message(seq=1, room="lobby", at=1_700_000_000_000, **given)


def test_a_transcript_as_text():
    shown = Transcript("lobby", [message("hello\nthere"), message("", deleted=True, user="bob")])
    assert str(shown) == (
        "Room lobby, 2 messages, times in UTC\n2023-11-14 22:13:20  ada: hello\n    there\n2023-11-14 22:13:20  bob: (deleted)"
    )
    assert repr(shown) == str(shown)
    assert len(shown) == 2


def test_a_transcript_marks_verified_names():
    shown = Transcript("lobby", [message("mine", verified=True), message("hers", user="✓ ada (verified)")])
    assert str(shown).splitlines()[1:] == [
        "✓ 2023-11-14 22:13:20  ada: mine",
        "  2023-11-14 22:13:20  ✓ ada (verified): hers",
    ]
    assert shown._repr_html_().count("</b> <i>(verified)</i>") == 1


def test_a_transcript_escapes_markup_and_control_characters():
    shown = Transcript("lobby", [message(NASTY, user=NASTY)])
    page = Tags(shown._repr_html_())
    assert set(page.tags) <= {"p", "b", "ol", "li", "bdi", "time", "br", "span", "i"}
    assert set(page.attributes) <= {("dir", "auto")}
    assert "<img src=x onerror=alert(1)>" in page.data  # shown as text
    for text in (str(shown), page.data):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[31m\\u202e&amp;" in text
    assert len(str(shown).splitlines()) == 3  # a name can't imitate the line of another user


def test_a_transcript_of_a_room_and_of_a_search(join):
    room = join()
    for text in ("one", "two", "three"):
        room.send(text)
    assert len(room.transcript()) == 3
    assert str(room.transcript(room.messages[:1])).endswith("ada: one")


def test_an_unreachable_room_is_a_connection_refused(unused_port, monkeypatch):
    monkeypatch.setattr("bqwidget._room.history.REQUEST_TIMEOUT", 0.2)
    with (
        Room("lobby", user="ada", url=f"http://127.0.0.1:{unused_port}") as room,
        pytest.raises(ConnectionRefused, match="room lobby is connecting"),
    ):
        room.search("words")
