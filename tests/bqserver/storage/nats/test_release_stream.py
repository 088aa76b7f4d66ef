"""A cluster's streams written by the release 938af9b: nodes of the present code find everything and continue it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from support.nats_cluster import NatsCluster
from support.release.files import bqserver, expected, serving, unpack
from support.release.report import SECTIONS, bearer, redact, redacted, report
from support.ws_client import member, request

pytestmark = pytest.mark.sqlite  # some copies are files

EXPECTED = expected()
ASKED, ANSWERS = EXPECTED["stream"]["asked"], EXPECTED["stream"]["answers"]
FORMER_LOG, ANSWERS = ANSWERS["log"], redact(ANSWERS, ASKED)
TOKENS = ASKED["tokens"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the release's node."""
    return unpack("home", tmp_path / "release") / "data"


@pytest.fixture
def nats(nats_server: str, tmp_path: Path) -> Iterator[str]:
    """host:port of a NATS server on the streams."""
    cluster = NatsCluster(nats_server, tmp_path / "nats", 1)
    unpack("streams", tmp_path / "nats" / "n1")
    try:
        cluster.start()
        yield cluster.servers[0].url
    finally:
        cluster.close()


def node(nats: str, view: Path, stream: str = "release") -> AbstractContextManager[str]:
    """The address of a node with the tokens and rights in the folder of ``view``."""
    return serving(view.parent, f"nats://{nats}/{stream}", single=True, view=str(view))


@pytest.mark.parametrize("view", ["view-PORT.sqlite", "fresh.sqlite"])
def test_the_rooms_are_served_as_by_the_release(nats: str, data: Path, view: str) -> None:
    """From the view of the release's node, and from a new one that the node fills. Moderators' orders, and a
    revocation that ``tokens.json`` does not contain, come from the stream's buckets.
    """
    with node(nats, data / view) as url:
        found = report(url, ASKED)
    for section, answers in ANSWERS.items():
        assert found[section] == answers, section


def test_the_view_of_the_release_is_used(nats: str, data: Path) -> None:
    """A message is changed in the view alone; a view that is filled again would not contain that."""
    view = data / "view-PORT.sqlite"
    with closing(sqlite3.connect(view)) as db:
        changed = "UPDATE entry SET body = CAST(replace(body, 'for the staff', 'in the view') AS BLOB)"
        db.execute(changed)
        db.commit()
    with node(nats, view) as url:
        assert '"text":"in the view"' in request(url, "GET", "/rooms/staff/log", **bearer(TOKENS["mo"])).body.decode()


def test_the_invites_are_still_valid(nats: str, data: Path) -> None:
    """As often as they were not used, except for the one of a token that was revoked."""
    sessions = {}
    with node(nats, data / "fresh.sqlite") as url:
        for label, invite in EXPECTED["stream"]["invites"].items():
            uses = 0 if label == "frida until 2126" else invite["uses"]
            body = {"invite": invite["code"]}
            answers = [request(url, "POST", "/session", body, Origin=url) for _ in range(uses + 1)]
            assert [answer.status for answer in answers] == [*[204] * uses, 403], label
            sessions[label] = answers[0].headers["Set-Cookie"]
        with member(url, "lobby", Cookie=sessions["ada again"].partition(";")[0], Origin=url) as joined:
            assert joined.recv()["user"] == "ada"


def test_a_room_is_first_shown_from_its_page(nats: str, data: Path) -> None:
    """The test marks the page, to distinguish its text from the stream's."""
    mark = "the first line on the release's page"

    async def mark_page() -> list[dict[str, Any]]:
        client = Client()
        await client.connect(f"nats://{nats}")
        stream = client.jetstream()
        page = json.loads((await stream.get_last_msg("KV_release-pages", "$KV.release-pages.lobby")).data)
        as_written = page["messages"]
        marked = [{**as_written[0], "text": mark}, *as_written[1:]]
        await stream.publish("$KV.release-pages.lobby", json.dumps({**page, "messages": marked}).encode())
        await client.close()
        return as_written

    as_written = asyncio.run(mark_page())
    with node(nats, data / "fresh.sqlite") as url:
        limit = len(as_written)
        shown = request(url, "GET", f"/rooms/lobby/messages?limit={limit}", **bearer(TOKENS["mo"])).json
    assert shown[0]["text"] == mark
    assert shown[1:] == as_written[1:]


def test_the_rooms_continue(nats: str, data: Path) -> None:
    """New entries follow the old ones and change them, on a node with the release's view and on a fresh one."""
    before = FORMER_LOG["lobby"]
    edited = next(entry for entry in before if entry.get("text") == "helo wrold")
    parts = next(entry["parts"] for entry in before if entry.get("text") == "a picture")
    key = bearer(TOKENS["mo"])
    with node(nats, data / "view-PORT.sqlite") as url:
        with member(url, "lobby", **bearer(TOKENS["shared"])) as grace:
            grace.send({"type": "chat.edit", "cid": "new 1", "user": "grace", "target": edited["seq"], "text": "new"})
            grace.say("named again", cid="new 2", user="grace", parts=parts)
            for _ in range(2):
                grace.until("ack")
        for room, order in (("lobby", {"do": "unmute", "user": "vera"}), ("staff", {"do": "close"})):
            assert request(url, "POST", f"/rooms/{room}/moderation", order, **key).status == 204
        with node(nats, data / "fresh.sqlite") as other:
            for address in (url, other):
                log = SECTIONS["log"](address, ASKED)["lobby"]
                assert log[: len(before)] == redacted([*before, *log[len(before) :]])[: len(before)]
                assert [entry["text"] for entry in log[len(before) :]] == ["new", "named again"]
                assert SECTIONS["access"](address, ASKED)["ada"]["staff"] == ["403 room_closed"] * 3
                assert SECTIONS["repeats"](address, ASKED).count("403 muted") == 1


# ---- copies


@pytest.mark.parametrize("direction", ["into a file", "into a stream"])
def test_a_copy_that_the_release_began_is_finished(nats: str, data: Path, direction: str) -> None:
    """It was killed half-way; the same command goes on from there."""
    left = [data / name for name in EXPECTED["copies"]["left"]]
    assert all(file.exists() for file in left)
    if direction == "into a file":
        names = f"nats://{nats}/whole", f"sqlite:{data / 'back.sqlite'}"
        copied = serving(data, names[1])
    else:
        names = f"sqlite:{data / 'plain.sqlite'}", f"nats://{nats}/half"
        copied = node(nats, data / "half.sqlite", "half")
    done = bqserver(data, "copy", "--single", *names)
    assert done.returncode == 0, done.stderr
    with copied as url:
        assert without_seqs(SECTIONS["log"](url, {**ASKED, "rooms": ["a", "b"]})) == without_seqs(
            {room: redacted(entries) for room, entries in EXPECTED["copies"]["log"].items()}
        )
        muted = request(url, "POST", "/rooms/a/messages", {"user": "Vera", "text": "x"}, **bearer(TOKENS["shared"]))
        closed = request(url, "GET", "/rooms/b/messages", **bearer(TOKENS["shared"]))
        assert (muted.code, closed.code) == ("muted", "room_closed")
    if direction == "into a file":
        assert {file for file in left if file.exists() and file.suffix != ".lock"} == set()


@pytest.mark.parametrize("direction", ["into a file", "into a stream"])
def test_everything_of_the_release_is_copied(nats: str, data: Path, direction: str) -> None:
    """Except for the revocation that only the stream knows, and an upload that no message names."""
    releases = expected()
    if direction == "into a file":
        names = f"nats://{nats}/release", f"sqlite:{data / 'copy.sqlite'}"
        copied, served = serving(data, names[1]), releases["stream"]
    else:
        names = f"sqlite:{data / 'history.sqlite'}", f"nats://{nats}/copy"
        copied, served = node(nats, data / "copy.sqlite", "copy"), releases["history"]
    done = bqserver(data, "copy", "--single", *names)
    assert done.returncode == 0, done.stderr
    asked, answers = {**served["asked"], "uploads": {}}, redact(served["answers"], served["asked"])
    del asked["tokens"]["frida until 2126"], answers["access"]["frida until 2126"]
    for room, (upload,) in served["asked"]["uploads"].items():
        del answers["attachments"][room][upload]
    with copied as url:
        assert without_seqs(SECTIONS["log"](url, asked)) == without_seqs(answers["log"])
        for section in ("access", "attachments"):
            assert SECTIONS[section](url, asked) == answers[section]


def without_seqs(log: dict[str, list[dict[str, Any]]]) -> dict[str, list[tuple[Any, ...]]]:
    """The entries of rooms, by the fields that a copy keeps; each log has seqs of its own."""
    fields = ("room", "at", "user", "cid", "kind", "text", "emoji", "choice", "ask", "parts", "verified")
    return {room: [tuple(one.get(field) for field in fields) for one in entries] for room, entries in log.items()}
