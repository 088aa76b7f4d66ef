"""Two servers of one cluster, as people see them: whoever is on the other one is there all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bqserver import nats_neighbours, tokens
from bqserver.testing import RunningServer, running_server
from eventually import eventually
from natscluster import nats_cluster
from websockets.exceptions import InvalidStatus
from wsclient import Answer, Member, member, request

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
    monkeypatch.setattr(nats_neighbours, "BEAT", 3600.0)
    with nodes(nats_single.log(), tmp_path, open=True) as running:
        yield running


@pytest.fixture
def people(home: Path) -> dict[str, dict[str, str]]:
    """The bearer headers of ada, who moderates, and of eve, who doesn't."""
    path = home / "data" / "tokens.json"
    found = {name: {"Authorization": f"Bearer {tokens.add(path, name)[0]}"} for name in ("ada", "eve")}
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


def post(node: RunningServer, who: dict[str, str], text: str = "hi") -> Answer:
    return request(node.url, "POST", "/rooms/lobby/messages", {"user": "x", "text": text}, **who)


def order(node: RunningServer, who: dict[str, str], **what: str) -> Answer:
    return request(node.url, "POST", "/rooms/lobby/moderation", what, **who)


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
    monkeypatch.setattr(nats_neighbours, "BEAT", 0.1)
    monkeypatch.setattr(nats_neighbours, "SILENT", 0.4)
    with (
        nodes(nats_single.log(), tmp_path, open=True) as (here, there),
        member(here.url, query="?user=ada") as ada,
        member(there.url, query="?user=bob"),
    ):
        until_members(ada, ["ada", "bob"])
        monkeypatch.setattr(nats_neighbours.NatsNeighbours, "tell", lambda *_: None)
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
        swapped = request(there.url, "POST", "/session", {"invite": code}, Origin=there.url)
        assert swapped.status == 204
        cookie = swapped.headers["Set-Cookie"].partition(";")[0]
        assert request(there.url, "GET", "/messages", Cookie=cookie).status == 200
        assert request(here.url, "POST", "/session", {"invite": code}, Origin=here.url).code == "bad_invite"
        assert request(there.url, "POST", "/session", {"invite": code}, Origin=there.url).code == "bad_invite"


def test_a_rate_limit_counts_on_every_node(nats_single, tmp_path: Path, people, monkeypatch):
    monkeypatch.setattr(nats_neighbours, "GATHER", 0.005)
    with nodes(nats_single.log(), tmp_path, rate_limit=40) as (here, there):
        for number in range(40):
            assert post(here, people["eve"], str(number)).status == 201
        passed = list(iter(lambda: post(there, people["eve"]).status, 429))
        assert len(passed) < 40


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
