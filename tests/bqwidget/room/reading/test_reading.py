"""What is unread in a room, in Python: for a verified member in all their windows, for others since the join."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bqserver.auth.tokens import add_grant
from bqserver.testing import running_server
from support.eventually import eventually

from bqwidget import Room
from bqwidget.protocol import Send

Make = Callable[[str], Room]


@pytest.fixture
def verified(tmp_path: Path) -> Iterator[Make]:
    path = tmp_path / "tokens.json"
    tokens = {name: add_grant(path, name)[0] for name in ("ada", "bob")}
    rooms: list[Room] = []
    with running_server(named_tokens=str(path)) as server:

        def make(name: str) -> Room:
            rooms.append(Room("lobby", user=name, url=server.url, token=tokens[name], separate=True))
            return rooms[-1].wait_open(30)

        yield make
        for room in rooms:
            room.close()


def test_a_verified_member_reads_once_for_all_rooms_and_the_next_one(verified: Make) -> None:
    ada, kernel, bob = verified("ada"), verified("ada"), verified("bob")
    for text in ("one", "two", "three"):
        bob.send(text)
    eventually(lambda: ada.unread == kernel.unread == 3)
    ada.send("own messages do not count")
    ada.mark_read(ada.messages[0])
    assert ada.unread == 2
    eventually(lambda: kernel.unread == 2)
    kernel.mark_read()
    assert kernel.unread == 0
    eventually(lambda: ada.unread == 0)
    eventually(lambda: bob.unread == 1)
    ada.mark_read(1)
    assert ada.unread == 0
    bob.send("four")
    eventually(lambda: ada.unread == 1)
    assert verified("ada").unread == 1


def test_others_count_since_the_join_and_for_one_room(join: Callable[..., Room]) -> None:
    bob = join("bob")
    bob.send("before")
    ada, other = join("ada"), join("ada", separate=True)
    assert ada.unread == 0
    one = bob.send("one")
    bob.send("two")
    eventually(lambda: ada.unread == other.unread == 2)
    ada.mark_read(one)
    assert (ada.unread, other.unread) == (1, 2)
    ada.mark_read()
    assert (ada.unread, other.unread) == (0, 2)
    bob.delete(one)
    eventually(lambda: other.unread == 1)


def test_messages_of_others_with_the_same_unverified_name_are_unread(join: Callable[..., Room]) -> None:
    one, other = join("jovyan"), join("jovyan", separate=True)
    other.send("by code")
    other._submit(Send(cid="b1", user="jovyan", text="typed in its window"), own=False).result(20)
    one.send("own")
    one._submit(Send(cid="b2", user="jovyan", text="typed in this window"), own=False).result(20)
    eventually(lambda: len(one.messages) == len(other.messages) == 4)
    assert one.unread == other.unread == 2


def test_unread_can_be_observed_also_by_the_window(join: Callable[..., Room]) -> None:
    ada, bob = join("ada"), join("bob")
    counts: list[int] = []
    ada.widget.observe(lambda change: counts.append(change.new), "unread")
    bob.send("one")
    eventually(lambda: counts == [1])
    ada.mark_read()
    eventually(lambda: counts == [1, 0])
