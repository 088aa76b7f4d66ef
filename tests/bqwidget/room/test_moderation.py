"""Moderation from Python: a moderator mutes and locks, others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bqserver.auth.tokens import add_grant
from bqserver.testing import running_server
from support.eventually import eventually

from bqwidget import ArgumentError, ConnectionRefused, MessageRefused, Room


@pytest.fixture
def ada_and_bob(tmp_path: Path) -> Iterator[tuple[Room, Room]]:
    path, rights = tmp_path / "tokens.json", tmp_path / "rights.toml"
    tokens = {name: add_grant(path, name)[0] for name in ("ada", "bob")}
    rights.write_text('["*"]\nada = "moderate"\n')
    with running_server(named_tokens=str(path), rights=str(rights)) as server:
        rooms = [Room("lobby", user=name, url=server.url, token=tokens[name]).wait_open(30) for name in tokens]
        yield rooms[0], rooms[1]
        for room in rooms:
            room.close()


def test_a_moderator_mutes_and_unmutes_a_member(ada_and_bob: tuple[Room, Room]) -> None:
    ada, bob = ada_and_bob
    ada.mute("bob", minutes=5)
    with pytest.raises(MessageRefused) as refused:
        bob.send("hi")
    assert refused.value.code == "muted"
    ada.unmute("bob")
    assert bob.send("hi").user == "bob"


def test_a_moderator_locks_and_unlocks_the_room(ada_and_bob: tuple[Room, Room]) -> None:
    ada, bob = ada_and_bob
    ada.lock()
    eventually(lambda: bob.status == "closed")
    assert ada.send("only us").seq == 1
    ada.unlock()
    again = Room("lobby", user="bob", url=bob.url.rpartition("/rooms/")[0], token=bob._connection.endpoint.token)
    assert again.wait_open(30).messages[0].text == "only us"
    again.close()


def test_a_moderator_pins_a_message_for_all(ada_and_bob: tuple[Room, Room]) -> None:
    ada, bob = ada_and_bob
    rules, other = bob.send("Be kind"), bob.send("hi")
    pinned = ada.pin(rules)
    assert pinned is not None
    assert pinned.pinned
    eventually(lambda: [message.pinned for message in bob.messages] == [pinned.pinned, None])
    assert [message.text for message in bob.pins()] == ["Be kind"]
    with pytest.raises(MessageRefused) as refused:
        bob.pin(other)
    assert refused.value.code == "forbidden"
    unpinned = ada.pin(rules.seq, on=False)
    assert unpinned is not None
    assert unpinned.pinned is None
    assert not bob.pins()
    assert not unpinned.reactions


def test_others_may_not_and_a_wrong_argument_is_an_error(ada_and_bob: tuple[Room, Room]) -> None:
    ada, bob = ada_and_bob
    for order in (bob.lock, bob.unlock, lambda: bob.mute("ada"), lambda: bob.unmute("ada")):
        with pytest.raises(ConnectionRefused) as refused:
            order()
        assert refused.value.code == "forbidden"
    with pytest.raises(ArgumentError, match="minutes"):
        ada.mute("bob", minutes=0)
    with pytest.raises(ArgumentError, match="user"):
        ada.mute(" ")
