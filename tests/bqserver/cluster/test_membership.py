"""Two servers of one cluster, as people see them: whoever is on the other one is there all the same."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nats
import pytest
from bqserver.auth import tokens
from bqserver.cluster import membership
from bqserver.jetstream import stream
from bqserver.testing import RunningServer, running_server
from chaos.process import ServerProcess, server_process
from support.eventually import eventually
from support.nats_cluster import nats_cluster
from support.ws_client import Answer, Member, member, request
from websockets.exceptions import InvalidStatus

Nodes = tuple[RunningServer, RunningServer]


@contextmanager
def nodes(log: str, folder: Path, **traits: object) -> Iterator[Nodes]:
    options = {"log": log, "single": True, **traits}
    with (
        running_server(view=str(folder / "one.sqlite"), **options) as one,
        running_server(view=str(folder / "other.sqlite"), **options) as other,
    ):
        yield one, other


@pytest.fixture
def two(nats_single, tmp_path: Path, monkeypatch) -> Iterator[Nodes]:
    """They tell each other when something happens, and not again and again."""
    monkeypatch.setattr(membership, "HEARTBEAT_INTERVAL", 3600.0)
    with nodes(nats_single.log(), tmp_path, open=True) as running:
        yield running


@pytest.fixture
def people(home: Path) -> dict[str, dict[str, str]]:
    """The bearer headers of ada, who moderates, and of eve, who doesn't."""
    path = home / "data" / "tokens.json"
    found = {name: {"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("ada", "eve")}
    path.with_name("rights.toml").write_text('["*"]\nada = "moderate"\n')
    return found


def until_members(one: Member, names: list[str], typing: str = "") -> None:
    while True:
        told = one.until("presence")["members"]
        if [who["user"] for who in told] == names and typing in (
            "",
            *[w["user"] for w in told if w.get("typing")],
        ):
            return


def post(node: RunningServer | ServerProcess, who: dict[str, str], text: str = "hi") -> Answer:
    return request(node.url, "POST", "/rooms/lobby/messages", {"user": "x", "text": text}, **who)


def order(node: RunningServer, who: dict[str, str], **what: str) -> Answer:
    return request(node.url, "POST", "/rooms/lobby/moderation", what, **who)


def swap(node: RunningServer | ServerProcess, code: str) -> Answer:
    return request(node.url, "POST", "/session", {"invite": code}, Origin=node.url)


async def counted(log: str, count: int, act: Callable[[], object]) -> None:
    """``act``, and wait until its node has told the others of that many messages."""
    address = stream.parse_address(log)
    client = await nats.connect(address.servers[0])
    heard = await client.subscribe(f"{address.stream}.nodes")
    await client.flush()
    await asyncio.to_thread(act)
    while count > 0:
        news = json.loads((await heard.next_msg(20)).data)
        count -= sum((news.get("counted") or {}).get("messages", {}).values())
    await client.close()


async def invites_kept(log: str) -> int:
    address = stream.parse_address(log)
    client = await nats.connect(address.servers[0])
    info = await client.jetstream().stream_info(f"KV_{address.stream}-invites")
    await client.close()
    return info.state.messages


def test_members_of_both_nodes_are_one_room(two: Nodes):
    here, there = two
    with member(here.url, query="?user=ada") as ada:
        for cid in ("first", "second"):  # the second time, ada's node has told all it had to tell before
            with member(there.url, query="?user=bob&kind=kernel") as bob:
                until_members(bob, ["ada", "bob"])  # who comes asks who is there
                until_members(ada, ["ada", "bob"])
                bob.send({"type": "chat.typing"})
                until_members(ada, ["ada", "bob"], typing="bob")
                bob.say("hi", user="bob", cid=cid)
                assert ada.until("message")["entry"]["cid"] == cid
            until_members(ada, ["ada"])


def test_the_list_of_rooms_counts_the_members_of_all_nodes(nats_single, tmp_path: Path):
    def counts(node: RunningServer) -> dict[str, int]:
        return {row["name"]: row["members"] for row in request(node.url, "GET", "/rooms").json}

    with nodes(nats_single.log(), tmp_path, open=True) as (here, there), member(here.url, "one"):
        with member(there.url, "one"), member(there.url, "one"), member(there.url, "two"):
            for node in (here, there):
                eventually(lambda node=node: counts(node) == {"one": 3, "two": 1}, what="all members")
            there.stop()
        eventually(lambda: counts(here) == {"one": 1}, what="the members that are left")


def test_the_members_of_a_node_that_stops_are_gone_at_once(nats_single, tmp_path: Path):
    with (
        nodes(nats_single.log(), tmp_path, open=True) as (here, there),
        member(here.url, query="?user=ada") as ada,
        member(there.url, query="?user=bob"),
    ):
        until_members(ada, ["ada", "bob"])
        there.stop()
        until_members(ada, ["ada"])


def test_the_members_of_a_node_that_falls_silent_are_gone(nats_single, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(membership, "HEARTBEAT_INTERVAL", 0.1)
    monkeypatch.setattr(membership, "NODE_TIMEOUT", 0.4)
    with (
        nodes(nats_single.log(), tmp_path, open=True) as (here, there),
        member(here.url, query="?user=ada") as ada,
        member(there.url, query="?user=bob"),
    ):
        until_members(ada, ["ada", "bob"])
        monkeypatch.setattr(membership.NatsMembership, "publish_members", lambda *_: None)
        until_members(ada, ["ada"])


def test_a_mute_holds_on_every_node_and_after_all_have_restarted(nats_single, tmp_path: Path, people):
    log = nats_single.log()
    with nodes(log, tmp_path) as (here, there):
        assert post(there, people["eve"]).status == 201
        assert order(here, people["ada"], do="mute", user="Eve").status == 204
        eventually(lambda: post(there, people["eve"]).status == 403, what="eve's mute on the other node")
    with nodes(log, tmp_path) as (here, there):
        assert post(there, people["eve"]).code == "muted"
        assert order(there, people["ada"], do="unmute", user="eve").status == 204
        eventually(lambda: post(here, people["eve"]).status == 201, what="the end of eve's mute")


def test_a_room_is_closed_on_every_node(nats_single, tmp_path: Path, people):
    with nodes(nats_single.log(), tmp_path) as (here, there):
        with member(there.url, **people["eve"]) as eve:
            eve.until("synced")
            assert order(here, people["ada"], do="close").status == 204
            assert eve.close_code() == 4404
        with pytest.raises(InvalidStatus), member(there.url, **people["eve"]):
            pass
        assert order(there, people["ada"], do="reopen").status == 204
        eventually(lambda: post(here, people["eve"]).status == 201, what="the reopened room")


def test_an_invite_is_good_on_every_node_and_once_in_all(nats_single, tmp_path: Path, people):
    with nodes(nats_single.log(), tmp_path) as (here, there):
        code = request(here.url, "POST", "/invites", {}, **people["ada"]).json["code"]
        swapped = swap(there, code)
        assert swapped.status == 204
        cookie = swapped.headers["Set-Cookie"].partition(";")[0]
        assert request(there.url, "GET", "/messages", Cookie=cookie).status == 200
        assert swap(here, code).code == "bad_invite"
        assert swap(there, code).code == "bad_invite"


def test_an_invite_expires_on_every_node_and_leaves_nothing(nats_single, tmp_path: Path, people):
    log = nats_single.log()
    with nodes(log, tmp_path) as (here, there):
        asked = {"minutes": 0.001, "uses": 100}
        code = request(here.url, "POST", "/invites", asked, **people["ada"]).json["code"]
        assert asyncio.run(invites_kept(log)) == 1
        eventually(lambda: swap(there, code).status == 403, what="the end of the invite")
        eventually(lambda: asyncio.run(invites_kept(log)) == 0, what="an empty bucket")


def test_of_two_nodes_one_lets_the_last_one_in(nats_three, tmp_path: Path, people):
    """Ten uses, twenty who come at once: ten are let in."""
    with nodes(nats_three.log(), tmp_path, single=False) as both, ThreadPoolExecutor(20) as pool:
        code = request(both[0].url, "POST", "/invites", {"uses": 10}, **people["ada"]).json["code"]
        found = list(pool.map(lambda place: swap(both[place % 2], code).status, range(20)))
    assert sorted(found) == [204] * 10 + [403] * 10


def test_a_revoked_token_ends_on_every_node_whatever_its_file_says(nats_single, tmp_path: Path, people, home):
    """The other node has an old copy of the file, now and after a restart."""
    log, current = nats_single.log(), home / "data" / "tokens.json"
    old = current.with_name("old.json")
    shutil.copy(current, old)
    with (
        running_server(log=log, single=True, view=str(tmp_path / "one.sqlite")) as here,
        member(here.url, **people["eve"]) as eve,
    ):
        eve.until("synced")
        with running_server(
            log=log, single=True, view=str(tmp_path / "other.sqlite"), named_tokens=str(old)
        ) as there:
            with member(there.url, **people["eve"]) as elsewhere:
                elsewhere.until("synced")
                tokens.revoke_grants(current, "eve")
                eventually(lambda: post(there, people["eve"]).status == 401, what="the end of eve's token")
                assert (eve.close_code(), elsewhere.close_code()) == (4401, 4401)
            assert post(there, people["eve"]).code == "token_revoked"
            assert post(there, people["ada"]).status == 201
    with running_server(
        log=log, single=True, view=str(tmp_path / "other.sqlite"), named_tokens=str(old)
    ) as there:
        assert post(there, people["eve"]).code == "token_revoked"


def test_invites_outlive_the_node_that_made_them(nats_three, tmp_path: Path):
    log, bearer = nats_three.log(), {"Authorization": "Bearer anybody"}
    with server_process(log) as lost, server_process(log) as left:
        codes = [request(lost.url, "POST", "/invites", {}, **bearer).json["code"] for _ in range(2)]
        assert swap(lost, codes[0]).status == 204
        lost.kill()
        assert swap(left, codes[0]).code == "bad_invite"
        assert swap(left, codes[1]).status == 204
        assert swap(left, codes[1]).code == "bad_invite"


def test_what_a_lost_node_has_counted_counts(nats_three, tmp_path: Path):
    """Who has used up their messages on one node gets none by killing it."""
    log = nats_three.log()
    limit = ("--rate-limit=20", "--ChatServer.rate_seconds=600")
    with server_process(log, *limit) as lost, server_process(log, *limit) as left:
        asyncio.run(counted(log, 20, lambda: [post(lost, {}, str(number)) for number in range(20)]))
        lost.kill()
        assert post(left, {}).status == 429


def test_a_rate_limit_counts_on_every_node(nats_single, tmp_path: Path, people, monkeypatch):
    monkeypatch.setattr(membership, "COUNT_INTERVAL", 0.005)
    with nodes(nats_single.log(), tmp_path, rate_limit=40) as (here, there):
        for number in range(40):
            assert post(here, people["eve"], str(number)).status == 201
        passed = list(iter(lambda: post(there, people["eve"]).status, 429))
        assert len(passed) < 40


def test_joins_and_wrong_tokens_count_on_every_node(nats_single, tmp_path: Path, people, monkeypatch):
    monkeypatch.setattr(membership, "COUNT_INTERVAL", 0.005)
    with nodes(nats_single.log(), tmp_path, join_limit=40, failure_limit=40) as (here, there):

        def join(node: RunningServer) -> bool:
            try:
                with member(node.url, **people["eve"]):
                    return True
            except InvalidStatus as refused:
                return refused.response.status_code != 429

        assert all(join(here) for _ in range(40))
        assert len(list(iter(lambda: join(there), False))) < 40
        guess = {"Authorization": "Bearer guess"}
        assert [post(here, guess).status for _ in range(40)] == [401] * 40
        assert len(list(iter(lambda: post(there, guess).status, 429))) < 40


def test_members_are_told_when_their_node_has_lost_the_cluster(nats_server: str, tmp_path: Path):
    with (
        nats_cluster(nats_server, tmp_path / "nats", 1) as cluster,
        running_server(
            log=cluster.log(), single=True, view=str(tmp_path / "view.sqlite"), open=True
        ) as server,
        member(server.url) as ada,
    ):
        ada.say("before")
        seq = ada.until("ack")["seq"]
        assert request(server.url, "GET", "/health").status == 200
        cluster.servers[0].kill()
        assert ada.until("error")["code"] == "unavailable"
        assert request(server.url, "GET", "/health").status == 503
        assert [entry["seq"] for entry in request(server.url, "GET", "/messages").json] == [seq]
        cluster.servers[0].start()
        eventually(lambda: request(server.url, "GET", "/health").status == 200, what="health")
        ada.say("after", cid="c2")
        assert ada.until("ack")["seq"] > seq
