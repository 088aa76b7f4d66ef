"""What the members of a room are shown of each other: what they are doing, and the commands that they offer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.hub import dispatch, presence
from bqserver.hub.catch_up import start_resume
from bqserver.hub.hub import Hub
from bqserver.hub.presence import BRIEF_COMMANDS_BYTES, MAX_COMMANDS_BYTES, local_members, next_announcement
from bqserver.storage.memory import MemoryLog
from bqserver.testing import RunningServer, running_server
from support.hub import frames, joined, new_peer, run
from support.ws_client import Frame, Member, member

from bqwidget.protocol import MAX_COMMAND_HELP, MAX_COMMAND_NAME, MAX_COMMAND_USAGE, MAX_COMMANDS, Command

MEAN = {"name": "mean", "usage": "/mean NUMBERS...", "help": "The mean of numbers."}
STOP = {"name": "stop", "usage": "", "help": ""}


@pytest.fixture(autouse=True)
def _no_activity_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "TYPING_TIMEOUT", 600.0)


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server(open=True) as running:
        yield running


@pytest.fixture
def ada(server: RunningServer) -> Iterator[Member]:
    with member(server.url, query="?user=ada") as one:
        one.until("hello")
        yield one


def until(one: Member, user: str, fits: Callable[[Frame], bool]) -> Frame:
    """Wait for a ``presence`` frame in which the member ``user`` is as it should be. Returns the frame."""
    while True:
        frame = one.until("presence")
        for each in frame.get("members", []):
            if each["user"] == user and fits(each):
                return frame


def until_gone(one: Member, user: str) -> None:
    while user in [each["user"] for each in one.until("presence")["members"]]:
        pass


def typing(text: str | None = None) -> Frame:
    return {"type": "chat.typing"} | ({} if text is None else {"text": text})


def offer(*commands: Frame) -> Frame:
    return {"type": "chat.commands", "commands": list(commands)}


def largest(count: int = MAX_COMMANDS, letter: str = "x") -> list[Frame]:
    return [
        {
            "name": f"{number:04}".ljust(MAX_COMMAND_NAME, letter),
            "usage": letter * MAX_COMMAND_USAGE,
            "help": letter * MAX_COMMAND_HELP,
        }
        for number in range(count)
    ]


# ---- activity


def test_a_member_says_what_it_is_doing_until_it_sends(server: RunningServer, ada: Member) -> None:
    with member(server.url, query="?user=bot&kind=agent") as bot:
        bot.send(typing("thinking…"))
        found = until(ada, "bot", lambda one: one.get("typing") == "thinking…")
        assert [each for each in found["members"] if each["user"] == "bot"] == [
            {"user": "bot", "kind": "agent", "typing": "thinking…"}
        ]
        bot.send(typing("x" * 80))
        until(ada, "bot", lambda one: one.get("typing") == "x" * 80)
        bot.send(typing())
        until(ada, "bot", lambda one: one.get("typing") is True)
        bot.send(typing("writing"))
        until(ada, "bot", lambda one: one.get("typing") == "writing")
        bot.say("done", user="bot")
        until(ada, "bot", lambda one: "typing" not in one)


def test_a_member_says_that_it_does_so_no_more(server: RunningServer, ada: Member) -> None:
    with member(server.url, query="?user=bot&kind=agent") as bot:
        bot.send(typing("thinking…"))
        until(ada, "bot", lambda one: one.get("typing") == "thinking…")
        bot.send({"type": "chat.typing", "on": False})
        until(ada, "bot", lambda one: "typing" not in one)


def test_an_activity_that_is_not_repeated_ends(server: RunningServer, ada: Member, monkeypatch) -> None:
    with member(server.url, query="?user=bot&kind=agent") as bot:
        bot.send(typing("thinking…"))
        until(ada, "bot", lambda one: one.get("typing") == "thinking…")
        monkeypatch.setattr(dispatch, "TYPING_TIMEOUT", 0.5)
        bot.send(typing("thinking…"))  # for the last time
        until(ada, "bot", lambda one: "typing" not in one)


@pytest.mark.parametrize(("text", "code"), [("x" * 81, "too_long"), ("", "empty"), (" ", "empty"), (5, "bad_field")])
def test_an_activity_that_is_no_short_text_is_refused(server: RunningServer, ada: Member, text, code) -> None:
    with member(server.url, query="?user=bot") as bot:
        bot.send({"type": "chat.typing", "text": text})
        assert bot.until("error")["code"] == code
        bot.send(typing())
        until(ada, "bot", lambda one: one.get("typing") is True)


def test_the_last_activity_of_several_windows_counts(server: RunningServer, ada: Member) -> None:
    with member(server.url, query="?user=bob") as one, member(server.url, query="?user=bob") as other:
        one.send(typing("reading"))
        until(ada, "bob", lambda bob: bob.get("typing") == "reading")
        other.send(typing("writing"))
        until(ada, "bob", lambda bob: bob.get("typing") == "writing")
        other.say("done", user="bob")
        until(ada, "bob", lambda bob: bob.get("typing") == "reading")


def test_what_has_not_changed_is_not_sent_again() -> None:
    async def scenario() -> None:
        hub = Hub(MemoryLog())
        one, other = await joined(hub, user="ada"), await joined(hub, user="bob")
        room = hub.peers[one]
        assert [len(peers) for _, peers in next_announcement(room, room.peers)] == [1]  # ada has not seen bob
        assert next_announcement(room, room.peers) == []
        other.typing_until, other.activity = 1e12, "thinking…"
        assert [len(peers) for _, peers in next_announcement(room, room.peers)] == [2]
        other.typing_until = 2e12
        assert next_announcement(room, room.peers) == []

    run(scenario)


def test_a_peer_that_was_catching_up_gets_what_it_has_missed() -> None:
    async def scenario() -> None:
        hub = Hub(MemoryLog())
        one, other = await joined(hub, user="ada"), await joined(hub, user="bob", kind="kernel")
        room = hub.peers[one]
        next_announcement(room, room.peers)
        start_resume(hub, room, one, 0, None)
        other.commands = (Command(name="mean"),)
        assert [peers for _, peers in next_announcement(room, room.peers)] == [[other]]
        await one.catch_up_task
        found = [each for each in frames(b"".join(one.connection.writes)) if each["type"] == "presence"]
        assert found[-1]["members"][1]["commands"] == [{"name": "mean"}]

    run(scenario)


# ---- members of one name


def one_member(server: RunningServer, query: str) -> AbstractContextManager[Member]:
    return member(server.url, query=f"?user=jovyan&{query}")


def ids(frame: Frame) -> list[str | None]:
    return [each.get("id") for each in frame["members"] if each["user"] == "jovyan"]


@pytest.mark.parametrize("field", ["client", "member"])
def test_two_of_one_unverified_name_are_two(server: RunningServer, ada: Member, field: str) -> None:
    with one_member(server, f"{field}=1") as one, one_member(server, f"{field}=2") as other:
        own = [each.until("hello")["member"] for each in (one, other)]
        other.send(typing())
        found = until(ada, "jovyan", lambda each: each.get("typing"))
        assert sorted(ids(found)) == sorted(own)
        assert [each["id"] for each in found["members"] if each.get("typing")] == own[1:]
        assert not {"1", "2"}.intersection(own)  # what a client calls itself is its own


@pytest.mark.parametrize("queries", [("", ""), ("member=1&client=1", "member=1&client=2"), ("client=1", "client=1")])
def test_windows_of_one_member_are_one(server: RunningServer, ada: Member, queries: tuple[str, str]) -> None:
    with one_member(server, queries[0]) as one, one_member(server, queries[1]) as other:
        for each in (one, other):
            each.until("hello")
        other.send(typing())
        assert len(ids(until(ada, "jovyan", lambda each: each.get("typing")))) == 1
        one.socket.close()
        other.say("done", user="jovyan")
        assert len(ids(until(ada, "jovyan", lambda each: not each.get("typing")))) == 1


def test_a_verified_name_is_one_member(home: Path) -> None:
    bearer = {"Authorization": f"Bearer {tokens.add_grant(home / 'data' / 'tokens.json', 'ann')[0]}"}
    with (
        running_server() as server,
        member(server.url, query="?client=1", **bearer) as one,
        member(server.url, query="?client=2", **bearer) as other,
    ):
        assert "member" not in one.until("hello")
        other.send(typing())
        assert until(one, "ann", lambda each: each.get("typing"))["members"] == [
            {"user": "ann", "typing": True, "verified": True}
        ]


def test_a_person_who_takes_another_name_is_shown_with_it(server: RunningServer, ada: Member) -> None:
    with one_member(server, "client=1") as one, member(server.url, query="?user=bot&kind=kernel") as kernel:
        until(ada, "jovyan", lambda _: True)
        one.send({**typing(), "user": "ann"})
        assert "jovyan" not in [each["user"] for each in until(ada, "ann", lambda each: each.get("typing"))["members"]]
        kernel.send({**typing(), "user": "ann"})  # a person at its window
        until(ada, "bot", lambda each: each.get("typing"))


# ---- commands


def test_the_commands_of_many_connections_are_merged_only_until_there_are_enough(monkeypatch) -> None:
    async def scenario() -> None:
        hub, merges = Hub(MemoryLog()), []
        peers = [await joined(hub, user="bot", kind="kernel", client=str(number), member="bot") for number in range(30)]
        for number, peer in enumerate(peers):
            peer.commands = tuple(Command(name=f"c{number}-{each}") for each in range(MAX_COMMANDS))
        union = presence._union
        monkeypatch.setattr(presence, "_union", lambda *both: merges.append(1) or union(*both))
        room = hub.peers[peers[0]]
        [before] = local_members(room)
        assert (len(before.commands), len(merges)) == (MAX_COMMANDS, 0)
        peers[7].typing_until = 2e12  # now the last in the order of members
        [after] = local_members(room)
        assert after.commands == before.commands

    run(scenario)


@pytest.mark.parametrize("kind", ["kernel", "agent"])
def test_the_commands_of_a_member_are_shown_until_it_leaves(server: RunningServer, ada: Member, kind: str) -> None:
    with member(server.url, query=f"?user=bot&kind={kind}&client=b1") as bot:
        bot.send(offer(MEAN, STOP))
        found = until(ada, "bot", lambda one: "commands" in one)
        assert found["members"][1] == {"user": "bot", "kind": kind, "commands": [MEAN, {"name": "stop"}]}
        with member(server.url, query="?user=eve") as late:
            assert until(late, "bot", lambda one: True)["members"][1] == found["members"][1]
        bot.send(offer(STOP))
        until(ada, "bot", lambda one: one.get("commands") == [{"name": "stop"}])
        bot.send(offer())
        until(ada, "bot", lambda one: "commands" not in one)
        bot.send(offer(MEAN))
        until(ada, "bot", lambda one: one.get("commands") == [MEAN])
    until_gone(ada, "bot")
    with member(server.url, query=f"?user=bot&kind={kind}&client=b1"):
        until(ada, "bot", lambda one: "commands" not in one)


def test_a_member_with_two_connections_offers_the_commands_of_both(server: RunningServer, ada: Member) -> None:
    with member(server.url, query="?user=bot&kind=kernel") as one:
        one.send(offer(STOP, MEAN))
        with member(server.url, query="?user=bot&kind=kernel") as other:
            other.send(offer({"name": "help"}, MEAN))
            both = [{"name": "help"}, MEAN, {"name": "stop"}]
            until(ada, "bot", lambda bot: bot.get("commands") == both)
        until(ada, "bot", lambda bot: bot.get("commands") == [{"name": "stop"}, MEAN])


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ([{"name": "a b"}], "bad_field"),
        ([{"name": ""}], "empty"),
        ([{"name": "x" * (MAX_COMMAND_NAME + 1)}], "too_long"),
        ([{"name": "x", "usage": "x" * (MAX_COMMAND_USAGE + 1)}], "too_long"),
        ([{"name": "x", "help": "x" * (MAX_COMMAND_HELP + 1)}], "too_long"),
        ([{"name": f"c{number}"} for number in range(MAX_COMMANDS + 1)], "too_long"),
        ([{"name": 1}], "bad_field"),
        ("x", "bad_field"),
    ],
)
def test_wrong_commands_are_refused_and_the_earlier_ones_stay(server: RunningServer, ada: Member, commands, code):
    with member(server.url, query="?user=bot&kind=kernel") as bot:
        bot.send(offer(MEAN))
        until(ada, "bot", lambda one: "commands" in one)
        bot.send({"type": "chat.commands", "commands": commands})
        assert bot.until("error")["code"] == code
        bot.send(typing())
        until(ada, "bot", lambda one: one.get("typing") is True and one["commands"] == [MEAN])


@pytest.mark.parametrize("query", ["?user=bob", "?user=bob&kind=person", "?user=bob&kind=robot"])
def test_a_person_offers_no_commands(server: RunningServer, ada: Member, query: str) -> None:
    with member(server.url, query=query) as bob:
        bob.send(offer(MEAN))
        assert bob.until("error")["code"] == "forbidden"
        bob.send(typing())
        until(ada, "bob", lambda one: one == {"user": "bob", "typing": True})


def test_many_commands_are_not_sent_again_when_a_member_types(server: RunningServer, ada: Member) -> None:
    with member(server.url, query="?user=bot&kind=kernel") as bot:
        bot.send(offer(*largest(100)))
        full = until(ada, "bot", lambda one: len(one.get("commands", ())) == 100)
        assert "same_commands" not in full
        for text in ("reading", "writing"):
            bot.send(typing(text))
            brief = until(ada, "bot", lambda one, text=text: one.get("typing") == text)
            assert brief["same_commands"]
            assert len(json.dumps(brief)) < 1_000
        with member(server.url, query="?user=eve") as late:
            assert len(until(late, "bot", lambda one: "commands" in one)["members"][1]["commands"]) == 100
        bot.send(offer(*largest(101)))
        assert "same_commands" not in until(ada, "bot", lambda one: len(one.get("commands", ())) == 101)
        bot.send(typing("done"))
        assert until(ada, "bot", lambda one: one.get("typing") == "done")["same_commands"]
    until_gone(ada, "bot")


def test_few_commands_are_in_every_frame(server: RunningServer, ada: Member) -> None:
    with member(server.url, query="?user=bot&kind=kernel") as bot:
        bot.send(offer(MEAN))
        bot.send(typing("reading"))
        found = until(ada, "bot", lambda one: one.get("typing") == "reading")
        assert ("same_commands" in found, found["members"][1]["commands"]) == (False, [MEAN])


def test_the_commands_in_one_frame_are_bounded_and_short_lists_come_first() -> None:
    async def scenario() -> None:
        hub = Hub(MemoryLog())
        one = await joined(hub, user="ada")
        room = hub.peers[one]
        for number in range(5):
            peer = new_peer(hub, one.connection, user=f"b{number}", kind="kernel")
            peer.commands = tuple(Command(**each) for each in largest(200 if number < 4 else 2))
            hub.enter(peer)
        [(data, _)] = next_announcement(room, [one])
        [frame] = frames(data)
        assert [len(each.get("commands", ())) for each in frame["members"]] == [0, 200, 0, 0, 0, 2]
        assert BRIEF_COMMANDS_BYTES < len(data) < MAX_COMMANDS_BYTES + 1_000

    run(scenario)
