"""Live messages in a cluster: pieces on every node at once, one author anywhere, and an end whatever stops."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
import pytest
from bqserver.cluster.live_messages import NatsLiveRelay
from bqserver.hub.live import saving
from bqserver.jetstream.address import parse_address
from bqserver.testing import RunningServer, running_server
from chaos.load.server_process import ServerProcess, server_process
from nats.aio.msg import Msg
from support.eventually import eventually
from support.nats_cluster import nats_cluster
from support.tcp_proxy import tcp_proxy
from support.ws_client import Member, append, append_all, changes, ended, member, members, opened, request, until_text

Nodes = tuple[RunningServer, RunningServer]
TEXT = "One, two, 🦊 three. " * 40
HEARTBEAT = 1.0


@contextmanager
def nodes(log: str, folder: Path, **traits: object) -> Iterator[Nodes]:
    options = {"log": log, "single": True, "open": True, "heartbeat": HEARTBEAT, **traits}
    with (
        running_server(view=str(folder / "one.sqlite"), **options) as one,
        running_server(view=str(folder / "other.sqlite"), **options) as other,
    ):
        yield one, other


@pytest.fixture(autouse=True)
def _texts_are_stored_at_the_end(monkeypatch) -> None:
    """Of live messages on servers in this process: not earlier, however long a test takes."""
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 600.0)


@pytest.fixture
def two_nodes(nats_single, tmp_path: Path) -> Iterator[Nodes]:
    with nodes(nats_single.log(), tmp_path) as running:
        yield running


@contextmanager
def killable(log: str, folder: Path, heartbeat: float = HEARTBEAT) -> Iterator[ServerProcess]:
    options = ("--single", f"--view={folder / 'killed.sqlite'}", f"--heartbeat={heartbeat}")
    with server_process(log, *options) as process:
        yield process


def folded(node: RunningServer | ServerProcess, seq: int, room: str = "lobby") -> dict:
    found = request(node.url, "GET", f"/rooms/{room}/messages").json
    return next((message for message in found if message["seq"] == seq), {})


def until_end(one: Member) -> dict:
    return changes(one)[-1]


def test_pieces_reach_the_members_of_every_node_at_once(two_nodes: Nodes):
    """The log is read by both nodes: each sends its members the entry without the text that they have."""
    here, there = two_nodes
    with members(here, "bot", "ada") as (bot, ada), members(there, "eve") as (eve,), member(there.url) as plain:
        plain.until("synced")
        seq = opened(bot)
        append_all(bot, seq, TEXT, 10)
        for one in (ada, eve):
            assert until_text(one, len(TEXT)) == TEXT
        assert folded(there, seq)["text"] == TEXT  # it is not in the log yet
        bot.send({"type": "chat.step", "cid": "s", "target": seq, "id": "1", "title": "Search", "state": "done"})
        ended(bot, seq)
        for one in (ada, eve):
            found = changes(one)
            assert sum(each["length"] for each in found if each["kind"] == "append") == len(TEXT)
            assert [each for each in found if each["kind"] == "append" and "text" in each] == []
            assert (found[-1]["end"], found[-1]["user"]) == ("done", "bot")
        message = plain.until("message")
        assert (message["entry"]["text"], message["entry"]["end"], "prev" in message) == (TEXT, "done", False)
        assert folded(here, seq) == folded(there, seq) == message["entry"]
    assert len(request(there.url, "GET", "/rooms/lobby/log").json) <= 8


def test_a_member_that_joins_another_node_gets_what_is_not_in_the_log(two_nodes: Nodes):
    """Also the first one there: its node has seen nothing of the message before."""
    here, there = two_nodes
    with members(here, "bot") as (bot,):
        seq = opened(bot)
        append(bot, seq, 0, TEXT)
        for name in ("eve", "zoe"):
            with members(there, name) as (late,):
                assert until_text(late, len(TEXT)) == TEXT
        with member(there.url, query="?live=1&after=0") as late:
            entry = late.until("message")["entry"]
            assert (entry["live"], entry["text"]) == (True, "")
            assert until_text(late, len(TEXT)) == TEXT
        append(bot, seq, len(TEXT), "!")
        ended(bot, seq)
    eventually(lambda: folded(there, seq).get("end") == "done", what="the end")
    assert folded(there, seq)["text"] == f"{TEXT}!"


def test_a_stop_reaches_the_author_on_another_node(two_nodes: Nodes):
    here, there = two_nodes
    with members(here, "bot") as (bot,), members(there, "eve", "zoe") as (eve, zoe):
        seq = opened(bot)
        eve.until("message")
        eve.send({"type": "chat.stop", "target": seq, "user": "eve"})
        for one in (bot, eve, zoe):
            assert one.until("stop") == {"type": "stop", "target": seq, "user": "eve"}
        ended(bot, seq, "stopped", stopped_by="eve")
        end = until_end(zoe)
        assert (end["end"], end["stopped_by"]) == ("stopped", "eve")


def test_a_text_that_is_replaced_is_the_same_on_every_node(two_nodes: Nodes):
    here, there = two_nodes
    with members(here, "bot") as (bot,), members(there, "eve") as (eve,):
        seq = opened(bot, "0 of 40", progress={"fraction": 0})
        eve.until("message")
        for number in range(1, 41):
            append(bot, seq, 0, f"{number} of 40", replace=True, progress={"fraction": number / 40})
        text, piece = "0 of 40", {}
        while text != "40 of 40":
            piece = eve.until("append")
            text = text[: piece["offset"]] + piece["text"]
        assert piece["progress"] == {"fraction": 1}
        assert (folded(there, seq)["text"], folded(there, seq)["progress"]) == ("40 of 40", {"fraction": 1})


def test_an_author_continues_on_another_node(nats_single, tmp_path: Path):
    half = len(TEXT) // 2
    with (
        nodes(nats_single.log(), tmp_path, heartbeat=3.0) as (here, there),
        members(here, "ada") as (ada,),
        members(there, "eve") as (eve,),
    ):
        with members(here, "bot") as (bot,):
            seq = opened(bot)
            append(bot, seq, 0, TEXT[:half])
            assert until_text(eve, half) == TEXT[:half]
        with members(there, "bot") as (bot,):
            append(bot, seq, len(TEXT), "too far")
            behind = bot.until("error")
            assert (behind["code"], behind["offset"]) == ("behind", half)
            append(bot, seq, half - 5, TEXT[half - 5 :])  # overlaps
            text = ""
            while len(text) < len(TEXT):
                piece = ada.until("append")
                text = text[: piece["offset"]] + piece["text"]
            assert text == TEXT
            wait_longer_than_an_author_may_be_away(ada)
            assert folded(here, seq)["live"]
            ended(bot, seq)
        assert [until_end(one)["end"] for one in (ada, eve)] == ["done", "done"]
        assert folded(here, seq)["text"] == folded(there, seq)["text"] == TEXT


def wait_longer_than_an_author_may_be_away(one: Member) -> None:
    """``synced`` comes once in a heartbeat to a member that is told nothing else."""
    for _ in range(3):
        one.until("synced")


def test_all_messages_of_an_author_stay_live_on_every_node(two_nodes: Nodes):
    here, there = two_nodes
    with members(here, "bot") as (bot,), members(there, "eve") as (eve,):
        seqs = [opened(bot)]
        asyncio.run(wait_for_sign(here.app.log_url, ["lobby"]))
        seqs.append(opened(bot, cid="second"))
        wait_longer_than_an_author_may_be_away(eve)
        assert [folded(there, seq).get("live") for seq in seqs] == [True, True]


def test_only_the_author_writes_on_any_node(two_nodes: Nodes):
    here, there = two_nodes
    with members(here, "bot") as (bot,), members(there, "eve") as (eve,):
        seq = opened(bot)
        eve.until("message")
        append(eve, seq, 0, "mine")
        assert eve.until("error")["code"] == "forbidden"
        eve.send({"type": "chat.end", "cid": "e", "target": seq, "end": "done"})
        assert eve.until("error")["code"] == "forbidden"


def test_a_node_that_has_missed_pieces_asks_for_the_text(nats_single, tmp_path: Path):
    """Its connection to NATS was lost meanwhile, and the log does not have the text."""
    log = nats_single.log()
    address = parse_address(log)
    with tcp_proxy(int(address.servers[0].rpartition(":")[2])) as proxy:
        proxied = f"nats://{proxy.url.removeprefix('http://')}/{address.stream}"
        options = {"single": True, "open": True}
        with (
            running_server(log=log, view=str(tmp_path / "here.sqlite"), **options) as here,
            running_server(log=proxied, view=str(tmp_path / "there.sqlite"), **options) as there,
            members(here, "bot", "ada") as (bot, ada),
            members(there, "eve") as (eve,),
        ):
            seq = opened(bot)
            append(bot, seq, 0, "One, ")
            assert until_text(eve, 5) == "One, "
            proxy.freeze()
            append(bot, seq, 5, "two, ")
            assert until_text(ada, 10) == "One, two, "
            eventually(lambda: request(there.url, "GET", "/health").status == 503, what="no connection to NATS")
            proxy.unfreeze()
            proxy.cut()
            assert eve.until("append") == {"type": "append", "target": seq, "offset": 5, "text": "two, "}
            append(bot, seq, 10, "three")
            assert eve.until("append") == {"type": "append", "target": seq, "offset": 10, "text": "three"}


def test_an_author_that_is_gone_is_lost_on_every_node(two_nodes: Nodes):
    here, there = two_nodes
    with members(there, "eve") as (eve,):
        with members(here, "bot") as (bot,):
            seq = opened(bot)
            append(bot, seq, 0, TEXT)
            assert until_text(eve, len(TEXT)) == TEXT
        assert until_end(eve)["end"] == "lost"
    assert folded(here, seq)["text"] == folded(there, seq)["text"] == TEXT


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_node_that_is_gone_leaves_no_live_message(nats_single, tmp_path: Path, how: str):
    """The others end it with the text that their members saw; also one in a room that they had nothing of."""
    log = nats_single.log()
    with (
        killable(log, tmp_path, 2.0) as gone,
        nodes(log, tmp_path, heartbeat=2.0) as (here, there),
        members(here, "ada") as (ada,),
        members(there, "eve") as (eve,),
    ):
        with members(gone, "bot") as (bot,), member(gone.url, "alone", "?user=bot&client=bot&live=1") as other:
            other.until("synced")
            seq, alone = opened(bot), opened(other)
            append(bot, seq, 0, TEXT)
            for one in (ada, eve):
                assert until_text(one, len(TEXT)) == TEXT
            asyncio.run(wait_for_sign(log, ["alone", "lobby"]))
            gone.kill() if how == "kill" else gone.stop()
            for one in (ada, eve):
                assert until_end(one)["end"] == "lost"
        assert folded(here, seq)["text"] == folded(there, seq)["text"] == TEXT
        draft = eventually(lambda: asyncio.run(last_end(log, "alone")), what="the end in a room that is not read")
        assert (draft["target"], draft["end"]) == (alone, "lost")
        for room in ("lobby", "alone"):
            entries = request(here.url, "GET", f"/rooms/{room}/log").json
            assert [each["end"] for each in entries if each.get("kind") == "end"] == ["lost"]


def test_a_node_that_can_not_read_the_rooms_of_a_lost_one_does_so_later(
    nats_single, tmp_path: Path, caplog, monkeypatch
):
    """Its connection to NATS is lost at that moment, as under high load, and it has nothing of the room."""
    reported, on_authors = threading.Event(), NatsLiveRelay._on_authors

    def hear(relay: NatsLiveRelay, msg: Msg) -> None:
        on_authors(relay, msg)
        if b"alone" in msg.data:
            reported.set()

    monkeypatch.setattr(NatsLiveRelay, "_on_authors", hear)
    log = nats_single.log()
    address = parse_address(log)
    with tcp_proxy(int(address.servers[0].rpartition(":")[2])) as proxy, killable(log, tmp_path) as gone:
        proxied = f"nats://{proxy.url.removeprefix('http://')}/{address.stream}"
        options = {"single": True, "open": True, "heartbeat": HEARTBEAT, "view": str(tmp_path / "here.sqlite")}
        with running_server(log=proxied, **options):
            with member(gone.url, "alone", "?user=bot&client=bot&live=1") as bot:
                bot.until("synced")
                seq = opened(bot)
                assert reported.wait(30), "what this node has not heard of, it can't miss"
                proxy.freeze()
                gone.kill()
            eventually(lambda: "room alone, in which a lost node had authors" in caplog.text, what="the first try")
            proxy.unfreeze()
            proxy.cut()
            draft = eventually(lambda: asyncio.run(last_end(log, "alone")), what="the end")
            assert (draft["target"], draft["end"]) == (seq, "lost")


async def last_end(log: str, room: str) -> dict | None:
    """The draft of the newest message of a room in the stream, if it ends a live message."""
    address = parse_address(log)
    client = await nats.connect(address.servers[0])
    message = await client.jetstream().get_last_msg(address.stream, address.subject(room))
    await client.close()
    draft = json.loads(message.data)["draft"]
    return draft if draft["type"] == "chat.end" else None


async def wait_for_sign(log: str, rooms: list[str]) -> None:
    """Wait until a node has said that the author of live messages in these rooms is connected to it."""
    address = parse_address(log)
    client = await nats.connect(address.servers[0])
    subscription = await client.subscribe(f"{address.stream}.writing")
    while rooms not in json.loads((await subscription.next_msg(timeout=30)).data).get("authors", {}).values():
        pass
    await client.close()


def test_a_live_message_ends_after_all_nodes_were_killed(nats_single, tmp_path: Path):
    log = nats_single.log()
    with killable(log, tmp_path) as node:
        with members(node, "bot", "ada") as (bot, ada):
            seq = opened(bot, "One, ")
            append(bot, seq, 5, "two")
            assert [each["kind"] for each in changes(ada, "append")] == ["append"]  # it is in the log
            node.kill()
        node.start()
        with member(node.url, query="?live=1&after=0") as eve:
            assert until_end(eve)["end"] == "lost"
        message = folded(node, seq)
        assert (message["text"], message["end"]) == ("One, two", "lost")
        node.kill()
        node.start()
        assert folded(node, seq) == message


def test_an_author_comes_back_to_another_node_after_its_own_was_killed(nats_single, tmp_path: Path):
    log = nats_single.log()
    half = len(TEXT) // 2
    with (
        killable(log, tmp_path, 20.0) as gone,
        running_server(log=log, single=True, open=True, view=str(tmp_path / "v.sqlite")) as here,
        members(here, "ada") as (ada,),
    ):
        with members(gone, "bot") as (bot,):
            seq = opened(bot)
            append(bot, seq, 0, TEXT[:half])
            assert until_text(ada, half) == TEXT[:half]
            gone.kill()
        with members(here, "bot") as (bot,):
            append(bot, seq, half, TEXT[half:])
            ended(bot, seq)
        assert until_end(ada)["end"] == "done"
        assert folded(here, seq)["text"] == TEXT


def test_a_live_message_survives_the_loss_of_a_nats_server(nats_server: str, tmp_path: Path):
    with nats_cluster(nats_server, tmp_path / "nats", 3) as cluster:
        log = cluster.log()
        with nodes(log, tmp_path, single=False, heartbeat=20.0) as (here, there):
            with members(here, "bot", "ada") as (bot, ada), members(there, "eve") as (eve,):
                seq = opened(bot)
                for start in range(0, len(TEXT), 20):
                    append(bot, seq, start, TEXT[start : start + 20])
                    if start == len(TEXT) // 40 * 20:
                        cluster.leader(parse_address(log).stream).kill()
                ended(bot, seq)
                for one in (ada, eve):
                    assert until_end(one)["end"] == "done"
            for node in (here, there):
                assert folded(node, seq)["text"] == TEXT
                entries = request(node.url, "GET", "/rooms/lobby/log").json
                assert sum(len(each["text"]) for each in entries if each.get("kind") == "append") == len(TEXT)
