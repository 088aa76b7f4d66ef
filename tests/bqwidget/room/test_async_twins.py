"""The async twins of the verbs that wait: the same arguments and results, and no blocked event loop."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest
from bqserver.testing import running_server

from bqwidget import ConnectionRefused, Room, RoomClosed, WaitTimeout
from bqwidget.protocol import Part

PICTURE = b"\x89PNG\r\n\x1a\n"
ASKED = "Continue?"
CALLS = {
    "asend": lambda room, _: room.asend("hi"),
    "areply": lambda room, sent: room.areply(sent, "hello"),
    "aedit": lambda room, sent: room.aedit(sent, "edited"),
    "areact": lambda room, sent: room.areact(sent, "👍"),
    "adelete": lambda room, sent: room.adelete(sent),
    "aask": lambda room, _: room.aask("Another?", timeout=0.2, default="none"),
    "apoll": lambda room, _: room.apoll("Which?", ["a", "b"], wait=False),
    "aanswer": lambda room, _: room.aanswer(next(each for each in room.messages if each.text == ASKED), "yes"),
    "next_message": lambda room, _: room.next_message(after=0),
    "apending": lambda room, _: room.apending(),
    "ahistory": lambda room, _: room.ahistory(limit=3),
    "asearch": lambda room, _: room.asearch("first"),
    "apart": lambda room, _: room.apart(next(each for each in room.messages if each.parts).parts[0]),
    "adf": lambda room, _: room.adf(history=True),
    "aconversation": lambda room, _: room.aconversation(),
    "aget": lambda room, sent: room.aget(sent.seq),
    "athread": lambda room, sent: room.athread(sent),
    "amark_read": lambda room, sent: room.amark_read(sent),
    "astop": lambda room, sent: room.astop(sent),
    "ainvite": lambda room, _: room.ainvite(uses=2),
    "apin": lambda room, sent: room.apin(sent),
    "apins": lambda room, _: room.apins(),
    "amute": lambda room, _: room.amute("eve", minutes=1),
    "aunmute": lambda room, _: room.aunmute("eve"),
    "alock": lambda room, _: room.alock(),
    "aunlock": lambda room, _: room.aunlock(),
    "await_open": lambda room, _: room.await_open(20),
}
VERBS = {name: "wait_open" if name == "await_open" else name.removeprefix("a") for name in CALLS}
VERBS["next_message"] = "wait_for"
SAME_AS_OFFLINE = {"next_message", "aask", "aconversation"}
"""They read the kept messages, or end by their own time."""
NEED_A_TOKEN = ["ainvite", "apin", "amute", "aunmute", "alock", "aunlock"]
"""An open server refuses them."""


def test_every_verb_that_waits_has_a_twin_with_its_arguments() -> None:
    found = {
        name
        for base in Room.__mro__
        if base.__module__.startswith("bqwidget")
        for name, value in vars(base).items()
        if inspect.iscoroutinefunction(value) and not name.startswith("_")
    }
    assert found | {"next_message"} == CALLS.keys() | {"aclose"}
    for name, verb in VERBS.items():
        both = [inspect.signature(getattr(Room, each)).parameters for each in (name, verb)]
        assert [str(each) for each in both[0].values()] == [
            str(each) for each in both[1].values() if each.name != "wait" or verb == "poll"
        ]


@pytest.fixture
def log(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'log.sqlite'}"


def test_each_twin_does_what_its_verb_does(log: str) -> None:
    async def use(room: Room) -> None:
        sent = await room.asend("first", timeout=20)
        assert (sent.text, sent.user) == ("first", "ada")
        assert (await room.areply(sent, "hello")).re == sent.seq
        edited = await room.aedit(sent, "edited first")
        assert edited is not None
        assert (edited.text, edited.edited is None) == ("edited first", False)
        reacted = await room.areact(sent, "👍")
        assert reacted is not None
        assert reacted.reactions == {"👍": ("ada",)}
        reacted = await room.areact(sent.seq, "👍", on=False)
        assert reacted is not None
        assert reacted.reactions == {}
        picture = (await room.asend(PICTURE, "loss")).parts[0]
        assert await room.apart(picture) == PICTURE
        deleted = await room.asend("deleted")
        await room.adelete(deleted)
        assert room.messages[-1].deleted
        assert [each.text for each in await room.ahistory(deleted, 2)] == ["hello", "loss"]
        assert [each.text for each in await room.asearch("first")] == ["edited first"]
        assert list((await room.adf(limit=100))["text"]) == ["edited first", "hello", "loss", ""]
        assert "#invite=" in await room.ainvite()
        assert await room.apending() == []

    async def answer(room: Room, **options: str | None) -> str:
        async with Room("lobby", user="bob", keep=2, **options) as bob:
            await bob.await_open(20)
            asking = asyncio.ensure_future(room.aask(ASKED, ["yes", "no"], timeout=20))
            question = await bob.next_message(lambda message: message.ask is not None, 20)
            assert (await bob.aanswer(question, "no")).choice == "no"
            for number in range(4):
                await room.asend(f"pending {number}")
            await bob.next_message(lambda message: message.text == "pending 3", 20, after=0)
            assert [each.text for each in await bob.apending()][-4:] == [f"pending {number}" for number in range(4)]
            assert await bob.apending() == []
            return await asking

    with running_server(log=log) as server, Room("lobby", "ada", url=server.url, token=server.token) as ada:
        asyncio.run(use(ada))
        assert asyncio.run(answer(ada, url=server.url, token=server.token)) == "no"


def test_no_twin_blocks_the_loop_while_the_server_is_away(log: str, unused_port: int) -> None:
    """All wait at once on one loop, which goes on; they end when the server is there again."""

    async def use(room: Room) -> None:
        sent = room.messages[0]
        away = asyncio.create_task(room._until(lambda: room.status != "open", 20))
        await asyncio.to_thread(server.stop)
        assert await away
        tasks = {name: asyncio.create_task(call(room, sent)) for name, call in CALLS.items() if name != "apending"}
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(task.done() for name, task in tasks.items() if name not in SAME_AS_OFFLINE)
        with running_server(log=log, port=unused_port, open=True):
            async with asyncio.timeout(60):
                ended = dict(zip(tasks, await asyncio.gather(*tasks.values(), return_exceptions=True), strict=True))
        assert [name for name, result in ended.items() if isinstance(result, Exception)] == NEED_A_TOKEN
        assert "making an invite needs a token" in str(ended["ainvite"])

    with (
        running_server(log=log, port=unused_port, open=True) as server,
        Room("lobby", user="ada", url=server.url) as room,
    ):
        room.send("first")
        room.send(PICTURE)
        room.ask(ASKED, timeout=0.1, default=None)
        asyncio.run(use(room))


def test_the_errors_are_those_of_the_verbs(unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bqwidget._room.history.REQUEST_TIMEOUT", 0.1)

    async def use() -> None:
        room = Room("lobby", user="ada", url=f"http://127.0.0.1:{unused_port}")
        with pytest.raises(WaitTimeout, match="room lobby is not open"):
            await room.await_open(0.1)
        for call in (
            room.ahistory(),
            room.asearch("x"),
            room.apart(Part(mime="", sha256="a" * 64, size=1)),
            room.adf(history=True),
        ):
            with pytest.raises(ConnectionRefused, match="room lobby is connecting"):
                await call
        await room.aclose()
        assert room.status == "closed"
        await room.aclose()
        for call in (room.ahistory(), room.asend("x"), room.aedit(1, "x")):
            with pytest.raises(RoomClosed):
                await call

    asyncio.run(use())
