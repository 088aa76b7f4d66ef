"""Deleted and superseded texts: hidden from every reader at once, then removed from the files; seqs stay exact."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nats.js.errors
import pytest
from bqserver.storage.nats import erasure
from bqserver.storage.sqlite import compaction
from bqserver.testing import RunningServer, running_server
from nats.aio.client import Client
from support.eventually import eventually
from support.forking.server import start
from support.nats_cluster import NatsCluster, nats_cluster
from support.pictures import png
from support.sqlite_logs import list_problems, run_bqserver
from support.ws_client import Answer, Member, member, request

SECRET = "xyzzysecret"
KINDS = ("memory", "sqlite", pytest.param("nats", marks=pytest.mark.sqlite))


@pytest.fixture(params=KINDS)
def server(request, log_traits):
    with running_server(**log_traits(request.param), open=True) as running:
        yield running


def post(server: RunningServer | str, text: str, cid: str, **more: object) -> Answer:
    url = server if isinstance(server, str) else server.url
    return request(url, "POST", "/messages", {"user": "ada", "text": text, "cid": cid, **more})


def change(one: Member, kind: str, target: int, cid: str, **more: object) -> int:
    one.send({"type": f"chat.{kind}", "cid": cid, "user": "ada", "target": target, **more})
    return one.until("ack")["seq"]


def get(server: RunningServer | str, path: str) -> bytes:
    url = server if isinstance(server, str) else server.url
    return request(url, "GET", path).body


def replay(server: RunningServer, after: int = 0) -> list[dict[str, object]]:
    """The frames with an entry that a member gets who rejoins after that seq."""
    with member(server.url, "lobby", f"?live=1&after={after}") as late:
        return _until_synced(late)


def _until_synced(late: Member) -> list[dict[str, object]]:
    frames = []
    while (frame := late.recv())["type"] != "synced":
        frames.append(frame)
    return [frame for frame in frames if "entry" in frame]


READS = (
    "/messages",
    "/rooms/lobby/log",
    "/rooms/lobby/messages?before=50",
    f"/rooms/lobby/search?q={SECRET}",
    "/rooms/lobby",
)


def shown(server: RunningServer | str) -> list[str]:
    """The reads in whose answers the secret is."""
    return [path for path in READS if SECRET.encode() in get(server, path)]


def test_a_deleted_message_is_nowhere_and_the_seqs_are_exact(server: RunningServer) -> None:
    with member(server.url) as one:
        first = post(server, "first", "1").json["seq"]
        seq = post(server, SECRET, "2", ask={"choices": [SECRET]}).json["seq"]
        change(one, "edit", seq, "3", text=f"{SECRET}, edited")
        change(one, "react", seq, "4", emoji="x")
        assert shown(server)
        deleted = change(one, "delete", seq, "5")
        last = post(server, "last", "6").json["seq"]
    assert shown(server) == []
    frames = replay(server)
    assert SECRET not in json.dumps(frames)
    seqs = [frame["entry"]["seq"] for frame in frames]
    assert [frame["prev"] for frame in frames] == [0, *seqs[:-1]]
    assert (seqs[0], seqs[1], seqs[-2], seqs[-1]) == (first, seq, deleted, last)
    entry = frames[1]["entry"]
    assert {"seq", "room", "user", "at"} <= entry.keys()
    assert (entry["text"], entry["redacted"], entry.get("parts")) == ("", True, None)
    assert [frame["entry"]["seq"] for frame in replay(server, after=seq)] == seqs[2:]


def test_the_votes_of_a_deleted_poll_do_not_show_its_choices(server: RunningServer) -> None:
    with member(server.url) as one:
        seq = post(server, "Which?", "1", ask={"choices": [SECRET, "no"], "poll": True}).json["seq"]
        votes = [change(one, "vote", seq, cid, choice=choice) for cid, choice in (("2", SECRET), ("3", "no"))]
        change(one, "edit", seq, "4", text="Which one?")
        assert b'"choice":"xyzzysecret"' in get(server, "/rooms/lobby/log")
        change(one, "delete", seq, "5")
        assert shown(server) == []
        entries = json.loads(get(server, "/rooms/lobby/log"))
        assert [(each["seq"], each.get("choice")) for each in entries if each.get("kind") == "vote"] == [
            (each, None) for each in votes
        ]
        assert change(one, "vote", seq, "2", choice=SECRET) == votes[0]  # repeated: it is the same vote
    assert SECRET not in json.dumps(replay(server))


def write_and_end(one: Member, cid: str) -> int:
    """A live message that ``one`` (joined with a ``client``) has written, and ended with another text."""
    one.send({"type": "chat.send", "cid": cid, "user": "ada", "text": f"{SECRET} opened", "live": True})
    seq = int(one.until("ack")["seq"])
    one.send({"type": "chat.append", "target": seq, "offset": 0, "text": f"{SECRET} written", "replace": True})
    change(one, "step", seq, f"{cid}-step", id="a", title=f"{SECRET} step", state="running")
    change(one, "step", seq, f"{cid}-more", id="b", title=f"{SECRET} step", state="done", text=f"{SECRET} result")
    change(one, "end", seq, f"{cid}-end", end="done")
    return seq


JOIN = "?user=ada&client=c1&live=1"


def test_nothing_is_left_of_a_deleted_live_message(server: RunningServer) -> None:
    with member(server.url, query=JOIN) as one:
        seq = write_and_end(one, "1")
        end = change(one, "end", seq, "1-end", end="done")  # repeated
        raw = get(server, "/rooms/lobby/log")
        assert [text.encode() in raw for text in ("opened", "written", "step", "result")] == [True] * 4
        assert b"written" in get(server, f"/rooms/lobby/search?q={SECRET}")
        change(one, "delete", seq, "2")
        assert shown(server) == []
        assert change(one, "end", seq, "1-end", end="done") == end
        assert change(one, "step", seq, "1-step", id="a", title=f"{SECRET} step", state="running") < end
    assert SECRET not in json.dumps(replay(server))
    with member(server.url, "lobby", f"{JOIN}&after=0") as late:
        assert SECRET not in json.dumps(_until_synced(late))


def test_the_steps_stay_when_the_text_of_a_live_message_is_edited(server: RunningServer) -> None:
    with member(server.url, query=JOIN) as one:
        seq = write_and_end(one, "1")
        change(one, "edit", seq, "2", text="new")
    raw = get(server, "/rooms/lobby/log")
    assert [text.encode() in raw for text in ("opened", "written", "step", "result")] == [False, False, True, True]
    [folded] = json.loads(get(server, "/messages"))
    assert (folded["text"], len(folded["steps"]), folded["end"]) == ("new", 2, "done")


def test_only_the_newest_text_of_an_edited_message_is_shown(server: RunningServer) -> None:
    with member(server.url) as one:
        seq = post(server, SECRET, "1").json["seq"]
        middle = change(one, "edit", seq, "2", text=f"{SECRET} 2")
        change(one, "edit", seq, "3", text="new")
    assert shown(server) == []
    frames = replay(server)
    assert [(frame["type"], frame["entry"].get("text")) for frame in frames] == [
        ("message", "new"),
        ("change", None),
        ("change", "new"),
    ]
    assert frames[1]["entry"]["seq"] == middle
    [folded] = json.loads(get(server, "/messages"))
    assert (folded["text"], "redacted" in folded, folded["edited"]) == ("new", False, frames[2]["entry"]["at"])


def test_an_edit_of_a_deleted_message_is_not_shown(server: RunningServer) -> None:
    with member(server.url) as one:
        seq = post(server, "gone", "1").json["seq"]
        change(one, "delete", seq, "2")
        change(one, "edit", seq, "3", text=SECRET)
    assert shown(server) == []


def test_a_repeated_draft_stays_one_message_and_stays_deleted(server: RunningServer) -> None:
    with member(server.url) as one:
        first = post(server, SECRET, "1").json
        assert post(server, SECRET, "1").json == first
        change(one, "edit", first["seq"], "2", text=f"{SECRET} 2")
        assert change(one, "edit", first["seq"], "2", text=f"{SECRET} 2") == first["seq"] + 1
        again = post(server, SECRET, "1")
        assert (again.status, again.json["seq"], again.json["text"]) == (200, first["seq"], f"{SECRET} 2")
        change(one, "delete", first["seq"], "3")
        again = post(server, SECRET, "1")
        assert (again.status, again.json["seq"], again.json["text"]) == (200, first["seq"], "")
        change(one, "edit", first["seq"], "2", text=f"{SECRET} 2")
        answer = request(server.url, "POST", "/messages", {"user": "ada", "text": "", "cid": "3"})
        assert answer.status in (400, 409)
    assert shown(server) == []
    assert len(json.loads(get(server, "/rooms/lobby/log"))) == 3


def test_an_attachment_goes_with_its_last_message(server: RunningServer) -> None:
    part = request(server.url, "POST", "/rooms/lobby/parts?name=p.png", png(), Content_Type="image/png").json
    path = f"/rooms/lobby/parts/{part['sha256']}"

    def status() -> int:
        return request(server.url, "GET", path).status

    with member(server.url) as one:
        seqs = [post(server, "", cid, parts=[part]).json["seq"] for cid in "12"]
        change(one, "delete", seqs[0], "3")
        assert status() == 200
        change(one, "delete", seqs[1], "4")
        eventually(lambda: status() == 404, what="the end of the attachment")
        assert part["sha256"].encode() not in get(server, "/rooms/lobby/log")
        again = request(server.url, "POST", "/rooms/lobby/parts?name=p.png", png(), Content_Type="image/png").json
        assert post(server, "", "5", parts=[again]).status == 201
        assert status() == 200


# ---- the files of a SQLite log


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file())


@pytest.mark.sqlite
def test_the_files_have_nothing_of_it_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COMPACTION_DELAY", "SEARCH_COMPACTION_DELAY"):
        monkeypatch.setattr(compaction, name, 0.0)
    monkeypatch.setattr("bqserver.storage.sqlite.attachments.REMOVAL_DELAY", 0.0)
    monkeypatch.setattr(compaction, "RETRY_INTERVAL", 0.5)
    picture = png(64, 64, color=(1, 2, 3))
    log = f"sqlite:{tmp_path / 'log.sqlite'}"
    with running_server(log=log, open=True) as server, member(server.url, query=JOIN) as one:
        part = request(server.url, "POST", "/rooms/lobby/parts?name=p.png", picture, Content_Type="image/png").json
        long = SECRET * 1_000  # overflow pages
        for number in range(200):
            post(server, f"filler {number} " * 20, f"f{number}")
        seqs = [post(server, text, f"s{len(text)}", parts=[part]).json["seq"] for text in (SECRET, long)]
        edited = post(server, f"{SECRET} edited", "e").json["seq"]
        assert shown(server)  # and builds the search index
        assert SECRET.encode() in contents(tmp_path)
        assert picture in contents(tmp_path)
        poll = post(server, "Which?", "p", ask={"choices": [SECRET, "no"], "poll": True}).json["seq"]
        change(one, "vote", poll, "p2", choice=SECRET)
        change(one, "edit", edited, "e2", text=f"{SECRET} again")
        change(one, "edit", edited, "e3", text="harmless")
        live = write_and_end(one, "live")
        for seq in [*seqs, poll, live]:
            change(one, "delete", seq, f"d{seq}")
        eventually(lambda: SECRET.encode() not in contents(tmp_path), what="the end of the texts")
        eventually(lambda: picture not in contents(tmp_path), what="the end of the picture")
        assert len(json.loads(get(server, "/rooms/lobby/messages?limit=200"))) == 200
    assert list_problems(tmp_path / "log.sqlite") == []


@pytest.mark.sqlite
def test_a_log_of_an_earlier_version_is_redacted_when_it_is_opened(tmp_path: Path) -> None:
    from support.release.files import serving, unpack

    data = unpack("home", tmp_path / "release") / "data"
    assert b"gone soon" in contents(data)
    with serving(data, f"sqlite:{data / 'history.sqlite'}"):
        pass
    assert b"gone soon" not in (data / "history.sqlite").read_bytes()
    assert run_bqserver("check", f"--log=sqlite:{data / 'history.sqlite'}").returncode == 0


# ---- bqserver purge


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A log whose seq 2 is the secret; its server has stopped."""
    path = tmp_path / "log.sqlite"
    with running_server(log=f"sqlite:{path}", open=True) as server:
        post(server, "first", "1")
        post(server, SECRET, "2")
        post(server, "third", "3")
        get(server, f"/rooms/lobby/search?q={SECRET}")
    assert SECRET.encode() in contents(tmp_path)
    return path


@pytest.mark.sqlite
def test_purge_removes_a_message_of_a_stopped_server(history: Path) -> None:
    done = run_bqserver("purge", f"--log=sqlite:{history}", "lobby", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert "message 2 of room lobby" in done.stdout
    assert SECRET.encode() not in contents(history.parent)
    assert list_problems(history) == []
    with running_server(log=f"sqlite:{history}", open=True) as server:
        assert [entry["seq"] for entry in json.loads(get(server, "/rooms/lobby/log"))] == [1, 2, 3, 4]
        assert post(server, SECRET, "2").status == 200


@pytest.mark.sqlite
def test_purge_removes_a_message_of_a_running_server(history: Path) -> None:
    with running_server(log=f"sqlite:{history}", open=True) as server, member(server.url) as one:
        one.until("synced")
        done = run_bqserver("purge", f"--log=sqlite:{history}", "lobby", 2)
        assert (done.returncode, done.stderr) == (0, "")
        frame = one.until("change")
        assert (frame["entry"]["kind"], frame["entry"]["target"], frame["prev"]) == ("delete", 2, 3)
        assert SECRET.encode() not in contents(history.parent)
        assert shown(server) == []
        again = run_bqserver("purge", f"--log=sqlite:{history}", "lobby", 2)  # already deleted: nothing is added
        assert (again.returncode, len(json.loads(get(server, "/rooms/lobby/log")))) == (0, 4)
        unknown = run_bqserver("purge", f"--log=sqlite:{history}", "lobby", 99)
        assert (unknown.returncode, unknown.stderr.strip()) == (1, "bqserver purge: room lobby has no message 99")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["lobby"], 2, "give a room and the seq of a message"),
        (["lobby", "two"], 2, "is not the seq of a message"),
        (["lobby", "9"], 1, "room lobby has no message 9"),
        (["nowhere", "1"], 1, "room nowhere has no message 1"),
    ],
)
def test_purge_says_what_is_wrong(history: Path, arguments: list[str], status: int, message: str) -> None:
    done = run_bqserver("purge", f"--log=sqlite:{history}", *arguments)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr


@pytest.mark.sqlite
def test_a_backup_keeps_a_redaction(history: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups" / "monday.sqlite"
    with running_server(log=f"sqlite:{history}", open=True) as server, member(server.url) as one:
        change(one, "delete", 2, "d")
        assert run_bqserver("backup", f"--log=sqlite:{history}", target).returncode == 0
    assert SECRET.encode() not in contents(target.parent)


@pytest.mark.sqlite
def test_a_killed_server_leaves_nothing_after_its_next_start(history: Path) -> None:
    with start("--port=0", "--open", f"--log=sqlite:{history}", stdout=subprocess.PIPE) as process:
        url = process.stdout.readline().split()[-1]
        with member(url) as one:
            change(one, "delete", 2, "d")
        process.send_signal(signal.SIGKILL)
    assert SECRET.encode() in b"".join(history.with_name(history.name + end).read_bytes() for end in ("", "-wal"))
    with running_server(log=f"sqlite:{history}", open=True) as server:
        assert shown(server) == []
        eventually(
            lambda: SECRET.encode() not in history.read_bytes() + history.with_name("log.sqlite-wal").read_bytes(),
            what="the end of the text",
        )


# ---- a stream


def stream_files(folder: Path, url: str) -> bytes:
    """What NATS has on disk of the stream, and of what is left of erased messages."""
    name = url.rpartition("/")[2]
    found = [one for one in folder.rglob("streams/*") if one.name in (name, f"KV_{name}-redacted")]
    assert name in {one.name for one in found}
    return b"".join(file.read_bytes() for one in found for file in sorted(one.rglob("*")) if file.is_file())


@pytest.fixture
def cluster(nats_server: str, tmp_path: Path) -> Iterator[NatsCluster]:
    with nats_cluster(nats_server, tmp_path / "nats", 1) as started:
        yield started


@pytest.mark.sqlite
def test_a_stream_has_nothing_of_it_and_new_nodes_agree(
    cluster: NatsCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PROPAGATION_DELAY", 0.0)
    url = cluster.log()
    traits = {"log": url, "single": True, "open": True}
    picture = png(64, 64, color=(1, 2, 3))
    with running_server(**traits, view=str(tmp_path / "a.sqlite")) as server, member(server.url) as one:
        part = request(server.url, "POST", "/rooms/lobby/parts?name=p.png", picture, Content_Type="image/png").json
        first = post(server, SECRET, "1", ask={"choices": [SECRET, "yes"]}, parts=[part]).json["seq"]
        post(server, "an answer", "2", re=first, choice="yes")
        poll = post(server, SECRET, "p", ask={"choices": [SECRET], "poll": True}).json["seq"]
        vote = change(one, "vote", poll, "p1", choice=SECRET)
        change(one, "delete", poll, "p2")
        grown, replaced = write_live(one, "grown"), write_live(one, "replaced", text=SECRET)
        for message in (grown, replaced):
            change(one, "delete", message[0], f"delete-{message[0]}")
        seq = post(server, f"{SECRET} too", "3").json["seq"]
        change(one, "edit", seq, "4", text=f"{SECRET} edited")
        change(one, "edit", seq, "5", text="harmless")
        assert SECRET.encode() in stream_files(tmp_path / "nats", url)
        change(one, "delete", first, "6")
        answer = json.loads(get(server, "/rooms/lobby/log"))[1]["seq"]
        change(one, "delete", answer, "7")
        with running_server(**traits, view=str(tmp_path / "b.sqlite")) as other:
            eventually(
                lambda: erased(url, (first, poll, vote, *grown[:-1], *replaced, seq, seq + 1)),
                what="the end of the texts",
            )
            assert SECRET.encode() not in stream_files(tmp_path / "nats", url)
            post(server, "last", "8")
            expected = json.loads(get(server, "/rooms/lobby/log"))
            assert json.loads(get(other, "/rooms/lobby/log")) == expected
        with running_server(**traits, view=str(tmp_path / "c.sqlite")) as fresh:
            assert json.loads(get(fresh, "/rooms/lobby/log")) == expected
            assert [frame["entry"] for frame in replay(fresh)] == expected
            assert json.loads(get(fresh, "/messages")) == json.loads(get(server, "/messages"))
            assert request(fresh.url, "GET", f"/rooms/lobby/parts/{part['sha256']}").status == 404
    done = run_bqserver("copy", "--single", url, f"sqlite:{tmp_path / 'copy.sqlite'}")
    assert done.returncode == 0, done.stderr
    assert list_problems(tmp_path / "copy.sqlite") == []


def write_live(one: Member, cid: str, **end: str) -> list[int]:
    """Write a live message with the secret in every part. Returns the seqs of all its entries, of which the last ends it."""
    one.say(SECRET, cid=cid, live=True)
    seq = one.until("ack")["seq"]
    step = change(one, "step", seq, f"{cid}-step", id="1", title=SECRET, state="done", text=SECRET)
    one.send({"type": "chat.append", "target": seq, "offset": len(SECRET), "text": SECRET})
    last = change(one, "end", seq, f"{cid}-end", end="done", **end)
    return [seq, *range(step, last + 1)]


def erased(url: str, seqs: tuple[int, ...]) -> bool:
    """Whether the stream has none of these messages any more."""

    async def look() -> bool:
        client = Client()
        host, _, stream = url.removeprefix("nats://").partition("/")
        await client.connect(host)
        try:
            for seq in seqs:
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    await client.jetstream().get_msg(stream, seq)
                    return False
            return True
        finally:
            await client.close()

    return asyncio.run(look())


@pytest.mark.sqlite
def test_purge_removes_a_message_of_a_cluster(cluster: NatsCluster, tmp_path: Path) -> None:
    url = cluster.log()
    traits = {"log": url, "single": True, "open": True}
    with running_server(**traits, view=str(tmp_path / "a.sqlite")) as server, member(server.url) as one:
        seq = post(server, SECRET, "1").json["seq"]
        done = run_bqserver("purge", "--single", f"--log={url}", "lobby", seq)
        assert (done.returncode, done.stderr) == (0, "")
        frame = one.until("change")
        assert (frame["entry"]["kind"], frame["entry"]["target"]) == ("delete", seq)
        assert shown(server) == []
        assert erased(url, (seq,))
        assert SECRET.encode() not in stream_files(tmp_path / "nats", url)
