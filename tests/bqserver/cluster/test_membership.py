"""Two servers of one cluster: members, moderation, invites, revoked tokens and rate limits hold on both."""

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
from bqserver.auth import admission, tokens
from bqserver.cluster import membership
from bqserver.hub import dispatch
from bqserver.jetstream.address import parse_address
from bqserver.testing import RunningServer, running_server
from chaos.load.server_process import ServerProcess, server_process
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
def two_nodes(nats_single, tmp_path: Path, monkeypatch) -> Iterator[Nodes]:
    """Two nodes that publish changes, and do not repeat their state."""
    monkeypatch.setattr(membership, "HEARTBEAT_INTERVAL", 3600.0)
    with nodes(nats_single.log(), tmp_path, open=True) as running:
        yield running


@pytest.fixture
def people(home: Path) -> dict[str, dict[str, str]]:
    """The bearer headers of ada, a moderator, and of eve, who is not."""
    path = home / "data" / "tokens.json"
    found = {name: {"Authorization": f"Bearer {tokens.add_grant(path, name)[0]}"} for name in ("ada", "eve")}
    path.with_name("rights.toml").write_text('["*"]\nada = "moderate"\n')
    return found


def wait_for_members(one: Member, names: list[str], typing: str = "") -> None:
    """Wait for a presence frame with these members, in which ``typing``, if given, types."""
    while True:
        members = one.until("presence")["members"]
        typists = [member["user"] for member in members if member.get("typing")]
        if [member["user"] for member in members] == names and typing in ("", *typists):
            return


def test_two_of_one_unverified_name_are_two_on_two_nodes(two_nodes: Nodes) -> None:
    one, other = two_nodes
    with (
        member(one.url, query="?user=ann&client=1") as ann,
        member(other.url, query="?user=ann&client=1"),
        member(other.url, query="?user=ann&client=2"),
    ):
        wait_for_members(ann, ["ann", "ann"])


def post(node: RunningServer | ServerProcess, who: dict[str, str], text: str = "hi") -> Answer:
    return request(node.url, "POST", "/rooms/lobby/messages", {"user": "x", "text": text}, **who)


def moderate(node: RunningServer, who: dict[str, str], **what: str) -> Answer:
    return request(node.url, "POST", "/rooms/lobby/moderation", what, **who)


def redeem(node: RunningServer | ServerProcess, code: str) -> Answer:
    return request(node.url, "POST", "/session", {"invite": code}, Origin=node.url)


async def wait_until_counted(log: str, count: int, act: Callable[[], object]) -> None:
    """``act``, and wait until its node has published that many counted messages."""
    address = parse_address(log)
    client = await nats.connect(address.servers[0])
    subscription = await client.subscribe(f"{address.stream}.nodes")
    await client.flush()
    await asyncio.to_thread(act)
    while count > 0:
        state = json.loads((await subscription.next_msg(20)).data)
        count -= sum((state.get("counted") or {}).get("messages", {}).values())
    await client.close()


async def stored_invites(log: str) -> int:
    address = parse_address(log)
    client = await nats.connect(address.servers[0])
    info = await client.jetstream().stream_info(f"KV_{address.stream}-invites")
    await client.close()
    return info.state.messages


def test_members_of_both_nodes_share_a_room(two_nodes: Nodes):
    here, there = two_nodes
    with member(here.url, query="?user=ada") as ada:
        for cid in ("first", "second"):  # the second time, ada's node has nothing new to publish
            with member(there.url, query="?user=bob&kind=kernel") as bob:
                wait_for_members(bob, ["ada", "bob"])  # a new node asks for the members
                wait_for_members(ada, ["ada", "bob"])
                bob.send({"type": "chat.typing"})
                wait_for_members(ada, ["ada", "bob"], typing="bob")
                bob.say("hi", user="bob", cid=cid)
                assert ada.until("message")["entry"]["cid"] == cid
            wait_for_members(ada, ["ada"])


def test_what_a_member_does_and_offers_is_shown_on_both_nodes(two_nodes: Nodes, monkeypatch):
    monkeypatch.setattr(dispatch, "TYPING_TIMEOUT", 600.0)
    here, there = two_nodes
    mean, stop = {"name": "mean", "usage": "/mean NUMBERS..."}, {"name": "stop"}
    ada = {"user": "ada"}

    def until_bot(one: Member, **more: object) -> None:
        while one.until("presence")["members"] != [ada, {"user": "bot", "kind": "agent"} | more]:
            pass

    with member(here.url, query="?user=ada") as one, member(there.url, query="?user=bot&kind=agent") as bot:
        bot.send({"type": "chat.commands", "commands": [mean]})
        until_bot(one, commands=[mean])
        bot.send({"type": "chat.typing", "text": "thinking…"})
        until_bot(one, commands=[mean], typing="thinking…")
        monkeypatch.setattr(dispatch, "TYPING_TIMEOUT", 0.5)
        bot.send({"type": "chat.typing", "text": "thinking…"})  # for the last time
        until_bot(one, commands=[mean])  # it has ended, and has not been repeated
        monkeypatch.setattr(dispatch, "TYPING_TIMEOUT", 600.0)
        with member(here.url, query="?user=bot&kind=agent") as other:
            other.send({"type": "chat.commands", "commands": [stop]})
            until_bot(one, commands=[mean, stop])
            until_bot(bot, commands=[mean, stop])
            bot.send({"type": "chat.typing", "text": "writing"})
            until_bot(one, commands=[mean, stop], typing="writing")
            bot.send({"type": "chat.typing", "on": False})
        until_bot(one, commands=[mean])
        bot.socket.close()
        while one.until("presence")["members"] != [ada]:
            pass


def test_the_list_of_rooms_counts_the_members_of_all_nodes(nats_single, tmp_path: Path):
    def counts(node: RunningServer) -> dict[str, int]:
        return {row["name"]: row["members"] for row in request(node.url, "GET", "/rooms").json}

    with nodes(nats_single.log(), tmp_path, open=True) as (here, there), member(here.url, "one"):
        with member(there.url, "one"), member(there.url, "one"), member(there.url, "two"):
            for node in (here, there):
                eventually(lambda node=node: counts(node) == {"one": 3, "two": 1}, what="all members")
            there.stop()
        eventually(lambda: counts(here) == {"one": 1}, what="the remaining members")


def test_the_members_of_a_stopped_node_are_removed_at_once(nats_single, tmp_path: Path):
    with (
        nodes(nats_single.log(), tmp_path, open=True) as (here, there),
        member(here.url, query="?user=ada") as ada,
        member(there.url, query="?user=bob"),
    ):
        wait_for_members(ada, ["ada", "bob"])
        there.stop()
        wait_for_members(ada, ["ada"])


def test_the_members_of_a_silent_node_are_removed(nats_single, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(membership, "HEARTBEAT_INTERVAL", 0.1)
    monkeypatch.setattr(membership, "NODE_TIMEOUT", 0.4)
    with (
        nodes(nats_single.log(), tmp_path, open=True) as (here, there),
        member(here.url, query="?user=ada") as ada,
        member(there.url, query="?user=bob"),
    ):
        wait_for_members(ada, ["ada", "bob"])
        monkeypatch.setattr(membership.NatsMembership, "publish_members", lambda *_: None)
        wait_for_members(ada, ["ada"])


def test_a_mute_holds_on_every_node_and_after_a_restart_of_all(nats_single, tmp_path: Path, people):
    log = nats_single.log()
    with nodes(log, tmp_path) as (here, there):
        assert post(there, people["eve"]).status == 201
        assert moderate(here, people["ada"], do="mute", user="Eve").status == 204
        eventually(lambda: post(there, people["eve"]).status == 403, what="eve's mute on the other node")
    with nodes(log, tmp_path) as (here, there):
        assert post(there, people["eve"]).code == "muted"
        assert moderate(there, people["ada"], do="unmute", user="eve").status == 204
        eventually(lambda: post(here, people["eve"]).status == 201, what="the end of eve's mute")


def test_a_room_is_closed_on_every_node(nats_single, tmp_path: Path, people):
    with nodes(nats_single.log(), tmp_path) as (here, there):
        with member(there.url, **people["eve"]) as eve:
            eve.until("synced")
            assert moderate(here, people["ada"], do="close").status == 204
            assert eve.close_code() == 4404
        with pytest.raises(InvalidStatus), member(there.url, **people["eve"]):
            pass
        assert moderate(there, people["ada"], do="reopen").status == 204
        eventually(lambda: post(here, people["eve"]).status == 201, what="the reopened room")


def test_an_invite_can_be_redeemed_on_any_node_but_only_once(nats_single, tmp_path: Path, people):
    with nodes(nats_single.log(), tmp_path) as (here, there):
        code = request(here.url, "POST", "/invites", {}, **people["ada"]).json["code"]
        redeemed = redeem(there, code)
        assert redeemed.status == 204
        cookie = redeemed.headers["Set-Cookie"].partition(";")[0]
        assert request(there.url, "GET", "/messages", Cookie=cookie).status == 200
        assert redeem(here, code).code == "bad_invite"
        assert redeem(there, code).code == "bad_invite"


def test_an_expired_invite_is_rejected_on_every_node_and_removed(nats_single, tmp_path: Path, people):
    log = nats_single.log()
    with nodes(log, tmp_path) as (here, there):
        lasts, ends = (
            request(here.url, "POST", "/invites", {"minutes": minutes, "uses": 100}, **people["ada"]).json["code"]
            for minutes in (60, 0.001)
        )
        eventually(lambda: redeem(there, ends).status == 403, what="the end of the invite")
        eventually(lambda: asyncio.run(stored_invites(log)) == 1, what="the other invite alone")
        assert redeem(there, lasts).status == 204


def test_the_last_use_of_an_invite_is_redeemed_on_one_node_only(nats_three, tmp_path: Path, people):
    """Ten uses, twenty requests at the same time: ten succeed."""
    with nodes(nats_three.log(), tmp_path, single=False) as both, ThreadPoolExecutor(20) as pool:
        code = request(both[0].url, "POST", "/invites", {"uses": 10}, **people["ada"]).json["code"]
        found = list(pool.map(lambda place: redeem(both[place % 2], code).status, range(20)))
    assert sorted(found) == [204] * 10 + [403] * 10


def test_a_revoked_token_ends_on_every_node_even_with_an_old_token_file(nats_single, tmp_path: Path, people, home):
    """The other node has an old copy of the token file, now and after a restart."""
    log, current = nats_single.log(), home / "data" / "tokens.json"
    old = current.with_name("old.json")
    shutil.copy(current, old)
    with (
        running_server(log=log, single=True, view=str(tmp_path / "one.sqlite")) as here,
        member(here.url, **people["eve"]) as eve,
    ):
        eve.until("synced")
        with running_server(log=log, single=True, view=str(tmp_path / "other.sqlite"), named_tokens=str(old)) as there:
            with member(there.url, **people["eve"]) as eve_there:
                eve_there.until("synced")
                tokens.revoke_grants(current, "eve")
                eventually(lambda: post(there, people["eve"]).status == 401, what="the end of eve's token")
                assert (eve.close_code(), eve_there.close_code()) == (4401, 4401)
            assert post(there, people["eve"]).code == "token_revoked"
            assert post(there, people["ada"]).status == 201
    with running_server(log=log, single=True, view=str(tmp_path / "other.sqlite"), named_tokens=str(old)) as there:
        assert post(there, people["eve"]).code == "token_revoked"


def test_invites_outlive_the_node_that_created_them(nats_three, tmp_path: Path):
    log, bearer = nats_three.log(), {"Authorization": "Bearer any-token"}
    with server_process(log) as lost, server_process(log) as left:
        codes = [request(lost.url, "POST", "/invites", {}, **bearer).json["code"] for _ in range(2)]
        assert redeem(lost, codes[0]).status == 204
        lost.kill()
        assert redeem(left, codes[0]).code == "bad_invite"
        assert redeem(left, codes[1]).status == 204
        assert redeem(left, codes[1]).code == "bad_invite"


def test_the_counts_of_a_killed_node_remain(nats_three, tmp_path: Path):
    """A sender at the rate limit can't send more after the node that counted was killed."""
    log = nats_three.log()
    limit = ("--rate-limit=20", "--ChatServer.rate_seconds=600")
    with server_process(log, *limit) as lost, server_process(log, *limit) as left:
        asyncio.run(wait_until_counted(log, 20, lambda: [post(lost, {}, str(number)) for number in range(20)]))
        lost.kill()
        passed = list(iter(lambda: post(left, {}).status, 429))  # until it has read what the other has published
        assert len(passed) < 20


def test_a_rate_limit_counts_on_every_node(nats_single, tmp_path: Path, people, monkeypatch):
    monkeypatch.setattr(membership, "COUNT_INTERVAL", 0.005)
    with nodes(nats_single.log(), tmp_path, rate_limit=40, rate_seconds=600) as (here, there):
        for number in range(40):
            assert post(here, people["eve"], str(number)).status == 201
        passed = list(iter(lambda: post(there, people["eve"]).status, 429))
        assert len(passed) < 40


def test_joins_and_failed_logins_count_on_every_node(nats_single, tmp_path: Path, people, monkeypatch):
    monkeypatch.setattr(membership, "COUNT_INTERVAL", 0.005)
    for name in ("JOIN_PERIOD", "FAILURE_PERIOD"):
        monkeypatch.setattr(admission, name, 600.0)
    with nodes(nats_single.log(), tmp_path, join_limit=40, failure_limit=40) as (here, there):

        def join(node: RunningServer) -> bool:
            try:
                with member(node.url, **people["eve"]):
                    return True
            except InvalidStatus as error:
                return error.response.status_code != 429

        assert all(join(here) for _ in range(40))
        assert len(list(iter(lambda: join(there), False))) < 40
        guess = {"Authorization": "Bearer guess"}
        assert [post(here, guess).status for _ in range(40)] == [401] * 40
        assert len(list(iter(lambda: post(there, guess).status, 429))) < 40


def test_members_get_an_error_when_their_node_has_lost_the_cluster(nats_server: str, tmp_path: Path):
    with (
        nats_cluster(nats_server, tmp_path / "nats", 1) as cluster,
        running_server(log=cluster.log(), single=True, view=str(tmp_path / "view.sqlite"), open=True) as server,
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


def test_a_read_position_is_told_and_kept_on_both_nodes(nats_single, tmp_path: Path, people) -> None:
    with nodes(nats_single.log(), tmp_path) as (one, other):
        for text in ("one", "two"):
            posted = request(one.url, "POST", "/messages", {"user": "", "text": text}, **people["eve"])
        last = posted.json["seq"]
        with member(one.url, **people["ada"]) as desk, member(other.url, **people["ada"]) as phone:
            desk.until("synced")
            while phone.until("synced")["seq"] < last:
                phone.send({"type": "chat.ping"})
            desk.send({"type": "chat.read", "seq": last - 1})
            assert phone.until("read") == {"type": "read", "seq": last - 1}
            phone.send({"type": "chat.read", "seq": last})
            while desk.until("read")["seq"] < last:
                pass
        for node in (one, other):
            with member(node.url, **people["ada"]) as again:
                assert again.until("hello")["read"] == last
