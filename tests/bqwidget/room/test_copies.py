"""What is taken out of a room: copies, pickles, times, and how messages are printed."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import subprocess
import sys

import msgspec
import pytest
from support.paths import PYTHONPATH, ROOT

from bqwidget import Message
from bqwidget.protocol import Member

TABLE = """\
3 messages
seq  time (UTC)           user  text
  1  {0:%Y-%m-%d %H:%M:%S}  ada   one
  2  {1:%Y-%m-%d %H:%M:%S}  ada   two lines \\x1b[31m
  3  {2:%Y-%m-%d %H:%M:%S}  ada   {3}…"""


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_messages_are_pickled_and_loaded_elsewhere(join, tmp_path, protocol):
    room = join("ada")
    room.react(room.send("one"), "👍")
    room.send("two")
    file = tmp_path / "messages.pickle"
    file.write_bytes(pickle.dumps(room.messages, protocol))
    assert pickle.loads(file.read_bytes()) == room.messages
    if protocol == pickle.HIGHEST_PROTOCOL:
        code = f"import pickle; print([m.text for m in pickle.load(open({str(file)!r}, 'rb'))])"
        shown = subprocess.check_output(
            [sys.executable, "-c", code], env={"PYTHONPATH": PYTHONPATH}, cwd=ROOT, text=True
        )
        assert shown == "['one', 'two']\n"


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, list, lambda messages: messages[:]])
def test_messages_are_copied(join, make):
    room = join("ada")
    room.send("one")
    copied = make(room.messages)
    assert copied == room.messages
    assert copied[0].text == "one"
    assert copy.deepcopy(room.messages[0]) == room.messages[0]


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_room_that_is_copied_says_what_to_do(join, make):
    room = join("ada")
    with pytest.raises(TypeError, match=r"a Room is a live connection, .*: make another Room; room\.messages"):
        make(room)
    with pytest.raises(TypeError, match="a ChatWidget is a live connection"):
        make(room.widget)
    assert room.send("still here").text == "still here"


def test_a_message_has_an_aware_time(join):
    message = join("ada").send("hi")
    assert message.time.utcoffset() == dt.timedelta(0)
    assert round(message.time.timestamp() * 1000) == message.at
    assert msgspec.structs.replace(message, at=1_700_000_000_123).time == dt.datetime(
        2023, 11, 14, 22, 13, 20, 123_000, tzinfo=dt.UTC
    )
    assert "at" in Message.__struct_fields__
    assert "time" not in msgspec.to_builtins(message)


def test_a_message_is_printed_with_its_time():
    message = Message(seq=7, room="lobby", user="ada", text="hi", at=1_700_000_000_123)
    assert repr(message) == "Message(seq=7, user='ada', text='hi', time='2023-11-14 22:13:20 UTC')"
    late = msgspec.structs.replace(message, at=2**53)
    assert repr(late) == f"Message(seq=7, user='ada', text='hi', time='{2**53} UTC')"


def test_a_member_is_printed_without_what_it_has_not():
    assert repr(Member(user="ada", kind="kernel", busy=True)) == "Member(user='ada', kind='kernel', busy=True)"


def test_a_list_of_messages_is_printed_as_a_table(join):
    room = join("ada")
    assert repr(room.messages) == "0 messages"
    times = [room.send(text).time for text in ("one", "two\nlines \x1b[31m", "x" * 61)]
    expected = TABLE.format(*times, "x" * 59)
    for shown in (room.messages, room.history(), room.history(limit=3), room.messages[-5:], room.history()[:][:9]):
        assert repr(shown) == expected
    assert repr(room.search("one")).startswith("1 message\n")
    assert {message.text for message in {*room.messages, *room.history()}} == {
        message.text for message in room.messages
    }
    room.delete(room.messages[0])
    assert "(deleted)" in repr(room.messages)


def test_the_table_is_short_and_what_is_returned_can_be_changed(join):
    room = join("ada")
    for number in range(25):
        room.send(f"message {number}", wait=False)
    last = room.send("last")
    room.wait_for(lambda message: message.seq == last.seq, 20, after=0)
    shown = repr(room.messages).splitlines()
    assert shown[0] == "26 messages, the last 20"
    assert len(shown) == 22
    mine = room.history(limit=1)
    mine.append("anything")
    assert repr(mine).endswith("'anything']")
    assert repr(room.pending()) == "0 messages"
