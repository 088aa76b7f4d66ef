"""Scripted members answer, reply, react, and name unused rules."""

from __future__ import annotations

import re

import pytest

from bqwidget import WaitTimeout
from bqwidget.testing import Member, scripted_room


@pytest.fixture
def ada(join):
    return join("ada")


@pytest.fixture
def bob(ada):
    with Member("bob", ada) as member:
        yield member


def from_bob(message):
    return message.user == "bob"


def test_a_member_sends_the_scripted_text(ada, bob):
    bob.on("ping", say="pong")
    for _ in range(3):
        ping = ada.send("a ping, please")
        assert ada.wait_for(from_bob, after=ping, timeout=20).text == "pong"


def test_each_text_of_a_list_is_sent_once(ada, bob):
    bob.on("next", say=["one", "two"]).on("next", say="no more")
    texts = []
    for _ in range(4):
        asked = ada.send("next")
        texts.append(ada.wait_for(from_bob, after=asked, timeout=20).text)
    assert texts == ["one", "two", "no more", "no more"]


def test_a_function_returns_the_text(ada, bob):
    bob.on(re.compile(r"^\d+$"), say=lambda message: str(int(message.text) + 1) if message.text != "7" else None)
    bob.on(lambda message: message.text == "7", say="seven!")
    for number, expected in (("1", "2"), ("7", "seven!")):
        asked = ada.send(number)
        assert ada.wait_for(from_bob, after=asked, timeout=20).text == expected


def test_a_member_replies_and_reacts(ada, bob):
    bob.on("done", reply="well done", react="🎉")
    message = ada.send("done")
    assert ada.wait_for(from_bob, after=message, timeout=20).re == message.seq
    bob.finish()
    assert ada.history()[0].reactions == {"🎉": ("bob",)}


def test_a_member_answers_questions_only(ada, bob):
    bob.on("Continue?", answer="yes")
    ada.send("Continue? That is no question to the room.")
    assert ada.ask("Continue?", choices=["yes", "no"], timeout=20) == "yes"
    assert len([message for message in ada.messages if from_bob(message)]) == 1


def test_a_member_is_a_person_in_the_room(ada, bob):
    here = ada._connection
    assert here.wait_until(
        lambda: {(member.user, member.kind) for member in ada.members} == {("ada", "kernel"), ("bob", "person")},
        20,
    )


def test_a_member_can_wait_and_send(ada, bob):
    ada.on_message(lambda message: ada.send(f"received {message.text}", wait=False))
    hello = bob.say("hello")
    assert bob.wait_for("received hello", after=hello).user == "ada"


def test_unused_rules_are_named(ada, bob):
    bob.on("ping", say=["pong", "pong again"]).on(re.compile("never"), say="ever")
    ping = ada.send("ping")
    ada.wait_for(from_bob, after=ping, timeout=20)
    with pytest.raises(WaitTimeout, match=r"bob is still waiting for 'ping', re\.compile\('never'\)"):
        bob.finish(timeout=0.1)
    assert bob.room.status == "closed"


def test_a_rule_without_a_reaction_is_an_error(bob):
    with pytest.raises(TypeError, match="answer=, say=, reply= or react="):
        bob.on("ping")


def test_a_scripted_room_has_its_own_server():
    with scripted_room(user="carol") as room, Member("bob", room) as bob:
        bob.on("ping", say="pong")
        ping = room.send("ping")
        assert room.wait_for(from_bob, after=ping, timeout=20).text == "pong"
        assert repr(bob) == "Member('bob', 'lobby')"
        url = room.url
    with pytest.raises(OSError, match="refused"):
        import urllib.request

        urllib.request.urlopen(url)
