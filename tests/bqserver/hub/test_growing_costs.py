"""What was done before does not make the next change dearer: a limit, with an error that names it, or an equal cost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from bqserver.auth import moderation, tokens
from bqserver.auth.authenticator import MAX_INVITES_EACH
from bqserver.hub.presence import PRESENCE_SHARE, PresenceAnnouncer
from bqserver.hub.room import ActiveRoom
from bqserver.testing import running_server
from chaos.load.server_process import server_process
from support.ws_client import Member, member, request

from bqwidget.protocol import MAX_EMOJIS, MAX_REACTIONS

LOGS = ["memory", "sqlite", "nats"]
EMOJIS = [chr(0x1F600 + number % 80) + chr(0x1F300 + number // 80) for number in range(5_000)]


def react(cid: str, user: str, emoji: str, *, on: bool = True) -> dict[str, object]:
    return {"type": "chat.react", "cid": cid, "user": user, "target": 1, "emoji": emoji, "on": on}


def outcomes(client: Member, frames: Iterable[dict[str, object]], count: int) -> list[str]:
    """Send ``count`` frames. Returns ``ack``, or the code of the error, of each."""
    for frame in frames:
        client.send(frame)
    found: list[str] = []
    while len(found) < count:
        frame = client.recv()
        if frame["type"] in ("ack", "error"):
            found.append(frame.get("code", frame["type"]))
    return found


@pytest.mark.parametrize("kind", LOGS)
def test_reactions_to_one_message_are_limited(kind, log_traits):
    with running_server(open=True, **log_traits(kind)) as server, member(server.url) as ada:
        ada.until("synced")
        ada.say("like me", cid="first", user="ada")
        assert ada.until("ack")["seq"] == 1
        more = 20
        emojis = [react(f"e{number}", "ada", EMOJIS[number]) for number in range(MAX_EMOJIS + more)]
        found = [outcomes(ada, [one], 1)[0] for one in emojis]  # in a cluster those in flight are not counted yet
        assert found == ["ack"] * MAX_EMOJIS + ["too_many_reactions"] * more
        ada.send(react("again", "ada", EMOJIS[0]))
        assert ada.until("ack")["cid"] == "again"  # it adds nothing
        ada.send(react("off", "ada", EMOJIS[0], on=False))
        assert ada.until("ack")["cid"] == "off"
        ada.send(react("other", "ada", EMOJIS[MAX_EMOJIS]))
        assert ada.until("ack")["cid"] == "other"
        ada.send(react("full", "ada", EMOJIS[-1]))
        assert f"{MAX_EMOJIS} different reactions" in ada.until("error")["message"]
        folded = request(server.url, "GET", "/messages").json[0]
        assert len(folded["reactions"]) == MAX_EMOJIS


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_names_on_a_reaction_are_limited(kind, log_traits):
    with running_server(open=True, **log_traits(kind)) as server, member(server.url) as ada:
        ada.until("synced")
        ada.say("like me", cid="first", user="ada")
        ada.until("ack")
        names = [react(f"n{number}", f"user {number}", "x") for number in range(MAX_REACTIONS + 100)]
        found = outcomes(ada, names, len(names))
        assert found == ["ack"] * MAX_REACTIONS + ["too_many_reactions"] * 100
        assert len(request(server.url, "GET", "/messages").json[0]["reactions"]["x"]) == MAX_REACTIONS


# ---- the n-th change


def processor_seconds(pid: int) -> float:
    """Of all its threads. Not from ``stat``, which counts in steps of 10 ms, a fifth of the first 500 changes."""
    return sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


CHANGES = {
    "emojis": lambda number: react(f"c{number}", "ada", EMOJIS[number]),
    "names": lambda number: react(f"c{number}", f"user {number}", "x"),
    "toggles": lambda number: react(f"c{number}", "ada", "x", on=number % 2 == 0),
    "edits": lambda number: {
        "type": "chat.edit", "cid": f"c{number}", "user": "ada", "target": 1, "text": f"text {number}"
    },
    "messages": lambda number: {"type": "chat.send", "cid": f"c{number}", "user": "ada", "text": "x"},
    "questions": lambda number: {
        "type": "chat.send", "cid": f"c{number}", "user": "ada", "text": "?", "ask": {"choices": ["a"]}
    },
    "votes": lambda number: {
        "type": "chat.vote", "cid": f"c{number}", "user": f"user {number % 1000}", "target": 1, "choice": "ab"[number % 2]
    },
    "answers": lambda number: {"type": "chat.send", "cid": f"c{number}", "user": "ada", "text": "x", "re": 1},
}  # fmt: skip


@pytest.mark.alone
@pytest.mark.parametrize("kind", CHANGES)
def test_the_last_of_5000_changes_costs_as_much_as_the_first(kind, tmp_path: Path):
    """Processor time of the server for the first 500 and for the last 500. With names and votes it grows until there are
    as many as there can be, which is before the third 500.
    """
    with server_process(tmp_path / "log.sqlite") as server, member(server.url, query="?client=c") as ada:
        ada.until("synced")
        ada.say("the target", cid="first", user="ada", ask={"choices": ["a", "b"], "poll": True})
        ada.until("ack")
        times = []
        for start in range(0, 5_000, 500):
            before = processor_seconds(server.pid)
            outcomes(ada, [CHANGES[kind](number) for number in range(start, start + 500)], 500)
            times.append(processor_seconds(server.pid) - before)
        print(f"{kind}: ms a change, in steps of 500: {[round(one * 2, 3) for one in times]}")
        last = min(times[-3:])
        if kind in ("names", "votes"):
            assert last < 2 * min(times[2:4])
            assert last < 10 * max(times[0], 0.05)
        else:
            assert last < 3 * max(times[0], 0.05)


# ---- other tables


@pytest.mark.slow("makes a thousand invites")
def test_invites_of_one_inviter_are_limited(home: Path):
    ada, bob = (tokens.add_grant(home / "data" / "tokens.json", name)[0] for name in ("ada", "bob"))
    with running_server() as server:
        invite = lambda token: request(  # noqa: E731
            server.url, "POST", "/invites", {"minutes": 60}, Authorization=f"Bearer {token}"
        )
        codes = [invite(ada).json["code"] for _ in range(MAX_INVITES_EACH)]
        refused = invite(ada)
        assert (refused.status, refused.code) == (429, "too_many_invites")
        assert f"{MAX_INVITES_EACH:,}" in refused.json["error"]["message"]
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert invite(bob).status == invite(server.token).status == 201
        used = request(server.url, "POST", "/session", {"invite": codes[0]}, Origin=server.url)
        assert used.status == 204
        assert invite(ada).status == 201


def test_mutes_and_closed_rooms_are_limited(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(moderation, "MAX_MUTES", 10)
    monkeypatch.setattr(moderation, "MAX_CLOSED_ROOMS", 10)
    (home / "data").mkdir(exist_ok=True)
    (home / "data" / "rights.toml").write_text('["*"]\nada = "moderate"\n')
    ada, _ = tokens.add_grant(home / "data" / "tokens.json", "ada")
    with running_server() as server:

        def order(room: str, **body: object):
            return request(server.url, "POST", f"/rooms/{room}/moderation", body, Authorization=f"Bearer {ada}")

        for number in range(10):
            assert order("lobby", do="mute", user=f"user {number}", minutes=60).status == 204
            assert order(f"room-{number}", do="close").status == 204
        muting, closing = order("lobby", do="mute", user="eve"), order("lobby", do="close")
        assert (muting.status, muting.code) == (closing.status, closing.code) == (409, "too_many_orders")
        assert "unmute one first" in muting.json["error"]["message"]
        assert "reopen one first" in closing.json["error"]["message"]
        assert order("lobby", do="unmute", user="user 3").status == 204
        assert order("lobby", do="mute", user="eve").status == 204
        assert order("lobby", do="mute", user="x" * 65).code == "too_long"


@pytest.mark.sqlite
def test_a_rejected_draft_makes_no_room(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    with running_server(open=True, log=f"sqlite:{path}") as server:
        for number in range(50):
            body = {"user": "ada", "text": "x", "re": 99}
            assert request(server.url, "POST", f"/rooms/room-{number}/messages", body).status == 404
        assert request(server.url, "POST", "/rooms/real/messages", {"user": "ada", "text": "x"}).status == 201
        assert [room["name"] for room in request(server.url, "GET", "/rooms").json] == ["real"]
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM room").fetchall() == [("real",)]
    db.close()


@pytest.mark.slow("makes many rooms")
def test_a_list_of_many_rooms_is_complete_and_ordered(log_traits):
    with running_server(open=True, **log_traits("sqlite")) as server:
        names = sorted(f"room-{number}" for number in range(1_200))
        for name in names:
            assert request(server.url, "POST", f"/rooms/{name}/messages", {"user": "a", "text": "x"}).status == 201
        found = request(server.url, "GET", "/rooms").json
    assert found == [{"name": name, "seq": 1, "members": 0} for name in names]


async def presence_pauses(cost: float, rounds: int) -> list[float]:
    now = 0.0
    sent: list[float] = []

    def announce(_: ActiveRoom) -> None:
        nonlocal now
        sent.append(now)
        now += cost

    announcer = PresenceAnnouncer(announce, lambda: now)
    room = ActiveRoom("lobby")
    while len(sent) < rounds:
        announcer.room_changed(room)
        announcer._announce_changed()
        now += 0.1
    announcer.close()
    return [later - earlier for earlier, later in pairwise(sent)]


def test_members_of_a_large_room_are_announced_less_often():
    assert asyncio.run(presence_pauses(0.001, 5)) == pytest.approx([0.101] * 4)
    assert min(asyncio.run(presence_pauses(0.1, 5))) >= 0.1 * PRESENCE_SHARE
