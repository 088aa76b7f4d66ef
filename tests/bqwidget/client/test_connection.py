"""Staying joined: refusals, losses, restarts, timeouts; with a real server, sometimes behind a faulty proxy."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from bqserver.testing import running_server
from support.eventually import eventually
from support.tcp_proxy import tcp_proxy

from bqwidget import Room
from bqwidget.errors import BqwidgetError, ConnectionRefused, MessageRefused, RoomClosed, WaitTimeout
from bqwidget.protocol import Error, Send


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@contextlib.contextmanager
def joined(server, name="lobby", user="ada", **options):
    options = {"url": server.url, "token": server.token, **options}
    with Room(name, user=user, **options) as room:
        yield room.wait_open(20)


def texts(room):
    return [message.text for message in room.messages]


# ---- joining ----


def test_an_open_room_has_its_list(server):
    with joined(server) as ada:
        for n in range(3):
            ada.send(f"m{n}")
        with joined(server, user="bob") as bob:
            assert texts(bob) == ["m0", "m1", "m2"]


def test_a_long_list_is_loaded_up_to_keep(server):
    with joined(server) as ada:
        last = [ada.send(f"m{n}", wait=False) for n in range(450)][-1]
        last.result(20)
        with joined(server, user="bob", keep=401) as bob:
            assert texts(bob) == [f"m{n}" for n in range(49, 450)]


def test_a_room_returns_at_once_and_joins_when_the_server_starts(unused_port):
    with Room("lobby", user="ada", url=f"http://127.0.0.1:{unused_port}", token="any") as room:
        assert room.status == "connecting"
        eventually(lambda: room.reconnect_attempts > 1)
        assert "can't be joined" in str(room.error)
        with pytest.raises(WaitTimeout, match="can't be joined"):
            room.wait_open(0.05)
        with running_server(port=unused_port, open=True):
            room.wait_open(20)
            assert (room.error, room.reconnect_attempts, room.last_disconnected_at) == (None, 0, None)


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), (None, 401)], ids=["a wrong token", "no token"])
def test_a_refused_join_is_permanent_and_has_a_reason(server, token, status):
    with Room("lobby", user="ada", url=server.url, token=token) as room:
        with pytest.raises(ConnectionRefused, match="token") as raised:
            room.wait_open(20)
        assert (raised.value.status, room.error, room.status) == (status, raised.value, "closed")
        with pytest.raises(RoomClosed, match="token") as closed:
            room.send("hi")
        assert closed.value.__cause__ is raised.value
        assert "wrong" not in f"{raised.value} {raised.value!r} {vars(raised.value)}"


def test_a_path_without_a_server_is_a_permanent_error(server):
    with Room("lobby", user="ada", url=f"{server.url}/nothing/here", token=server.token) as room:
        with pytest.raises(ConnectionRefused) as raised:
            room.wait_open(20)
        assert raised.value.status == 404


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.org", "not encrypted"),
        ("ws://192.0.2.1:8765", "insecure=True"),
        ("ftp://example.org", "not a server's address"),
        ("lobby", "not a server's address"),
        ("http://ada:secret@127.0.0.1", "token="),
        ("http://127.0.0.1/?token=secret", "token="),
        ("http://127.0.0.1/#invite=secret", "token="),
        ("http://127.0.0.1:x", "not a server's address"),
    ],
)
def test_a_malformed_address_is_an_error_at_once(url, expected):
    with pytest.raises(BqwidgetError, match=expected) as raised:
        Room("lobby", user="ada", url=url)
    assert "secret" not in str(raised.value)


def test_plain_http_needs_insecure():
    with Room("lobby", user="ada", url="http://192.0.2.1:9", insecure=True) as room:
        assert room.url == "http://192.0.2.1:9/rooms/lobby"


def test_the_environment_sets_the_server(server, monkeypatch):
    monkeypatch.setenv("BQWIDGET_URL", server.url)
    monkeypatch.setenv("BQWIDGET_TOKEN", server.token)
    with Room("lobby", user="ada") as room:
        assert room.wait_open(20).url == f"{server.url.rstrip('/')}/rooms/lobby"


def test_the_environments_token_is_only_for_its_own_server(server, monkeypatch):
    monkeypatch.setenv("BQWIDGET_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BQWIDGET_TOKEN", server.token)
    with Room("lobby", user="ada", url=server.url) as room, pytest.raises(ConnectionRefused, match="401"):
        room.wait_open(20)


def test_the_default_is_the_local_server(home):
    with Room("lobby", user="ada") as room:
        assert room.wait_open(30).send("hi").text == "hi"
        assert (home / "runtime" / "server.json").exists()


# ---- losing the connection ----


def test_a_room_rejoins_a_restarted_server_without_missing_messages(tmp_path, unused_port):
    log = f"sqlite:{tmp_path / 'log.sqlite'}"
    with running_server(log=log, port=unused_port, open=True) as server, joined(server) as ada:
        ada.send("before")
        came_back = threading.Event()
        ada.on_reconnect(came_back.set)
        server.stop()
        eventually(lambda: ada.status == "reconnecting")
        assert ada.last_disconnected_at == pytest.approx(time.time() * 1000, abs=10_000)
        queued = [ada.send(f"queued {n}", wait=False) for n in range(3)]
        assert repr(queued[0]) == "Sending('queued 0')"
        eventually(lambda: ada.queued == 3)
        with running_server(log=log, port=unused_port, open=True) as again:
            with joined(again, user="bob") as bob:
                bob.send("meanwhile")
                assert [future.result(20).text for future in queued] == [f"queued {n}" for n in range(3)]
                ada.wait_open(20)
                eventually(lambda: texts(ada) == texts(bob))
            assert sorted(texts(ada)) == ["before", "meanwhile", "queued 0", "queued 1", "queued 2"]
            assert (ada.queued, ada.error, ada.reconnect_attempts) == (0, None, 0)
            assert came_back.wait(20)


def test_a_long_absence_is_filled_by_pages(tmp_path, unused_port):
    log = f"sqlite:{tmp_path / 'log.sqlite'}"
    received = []
    with running_server(log=log, port=unused_port, open=True) as server, joined(server, keep=5000) as ada:
        ada.on_message(received.append)
        ada.send("before")
        server.stop()
        with running_server(log=log, open=True) as elsewhere, joined(elsewhere, user="bob") as bob:
            [bob.send(f"m{n}", wait=False) for n in range(1200)][-1].result(60)
        with running_server(log=log, port=unused_port, open=True):
            ada.wait_for(lambda message: message.text == "m1199", after=0, timeout=60)
            expected = ["before", *(f"m{n}" for n in range(1200))]
            eventually(lambda: texts(ada) == expected)
            eventually(lambda: [message.text for message in received] == expected[1:])


def test_a_new_epoch_reloads_the_list(unused_port):
    with running_server(port=unused_port, open=True) as server, joined(server) as ada:
        for n in range(5):
            ada.send(f"old {n}")
        received = []
        ada.on_message(received.append)
        server.stop()
        with running_server(port=unused_port, open=True) as again, joined(again, user="bob") as bob:
            bob.send("new 0")
            ada.wait_open(20)
            eventually(lambda: texts(ada) == ["new 0"])
            bob.send("new 1")
            assert ada.wait_for(lambda message: message.text == "new 1", after=0, timeout=20).seq < 5
            eventually(lambda: "new 1" in [message.text for message in received])
            assert [message.text for message in ada.pending()][-1] == "new 1"


def test_a_cut_connection_loses_and_duplicates_nothing():
    with (
        running_server(open=True) as server,
        tcp_proxy(server.port) as wire,
        joined(server) as ada,
        joined(server, user="bob", url=wire.url) as bob,
    ):
        futures = []
        for n in range(200):
            futures.append(bob.send(f"m{n}", wait=False))
            if n % 50 == 20:
                wire.cut()
                eventually(lambda: bob.status == "open")
        for future in futures:
            future.result(30)
        eventually(lambda: len(ada.messages) == 200)
        assert sorted(texts(ada)) == sorted(f"m{n}" for n in range(200))
        eventually(lambda: texts(bob) == texts(ada))


def test_the_heartbeat_detects_a_dead_connection():
    with (
        running_server(open=True, heartbeat=0.3) as server,
        tcp_proxy(server.port) as wire,
        joined(server, url=wire.url) as ada,
    ):
        eventually(lambda: ada.latency is not None)
        assert 0 < ada.latency < 5
        wire.freeze()
        eventually(lambda: ada.status == "reconnecting")
        wire.unfreeze()
        ada.wait_open(30)
        assert wire.connections > 1


def test_a_lost_ack_causes_no_second_message(server):
    """After a loss between a send and its ack, the draft is sent again under the same cid."""
    with tcp_proxy(server.port) as wire, joined(server) as bob, joined(server, url=wire.url) as ada:
        for n in range(10):
            ada.send(f"m{n}", wait=False)
            wire.cut()
        eventually(lambda: ada.queued == 0)
        eventually(lambda: len(bob.messages) >= 10)
        assert sorted(texts(bob)) == [f"m{n}" for n in range(10)]


# ---- the server's answers to a send ----


def test_a_rate_limited_message_is_sent_again_later():
    with running_server(open=True, rate_limit=30, rate_seconds=2.0) as server, joined(server) as ada:
        futures = [ada.send(f"m{n}", wait=False) for n in range(36)]
        assert [future.result(30).text for future in futures] == [f"m{n}" for n in range(36)]
        assert texts(ada) == [f"m{n}" for n in range(36)]


def test_a_message_that_is_refused_raises_with_the_servers_code(server):
    with joined(server) as ada:
        first = ada.send("hi")
        with joined(server, user="bob") as bob, pytest.raises(MessageRefused) as raised:
            bob.edit(first, "changed")
        assert raised.value.code
        assert texts(ada) == ["hi"]


def test_a_draft_that_would_end_the_connection_is_refused_locally(server):
    received = []
    with joined(server) as ada:
        ada._add_listener(received.extend)
        draft = Send(cid="view-1", user="x" * 65, text="hi")
        with pytest.raises(MessageRefused, match="user has 65 characters"):
            ada._submit(draft, own=False).result(20)
        eventually(lambda: [frame.cid for frame in received if isinstance(frame, Error)] == ["view-1"])
        assert ada.send("still here").seq == 1


# ---- closing ----


def test_closing_sends_what_is_queued_first(server):
    with joined(server, user="bob") as bob:
        with joined(server) as ada:
            futures = [ada.send(f"m{n}", wait=False) for n in range(300)]
        assert all(future.result(0).text for future in futures)
        eventually(lambda: len(bob.messages) == 300)


@pytest.mark.usefixtures("closes_soon")
def test_closing_offline_drops_the_queue():
    with Room("lobby", user="ada", url="http://127.0.0.1:9") as room:
        future = room.send("hi", wait=False)
    with pytest.raises(RoomClosed, match="create a new Room"):
        future.result(0)
    with pytest.raises(RoomClosed):
        room.send("hi")
    assert (room.status, room.error) == ("closed", room.error)
    room.close()


def threads() -> int:
    """The threads of this process without the server's, which starts readers on demand and keeps them."""
    return sum(not thread.name.startswith("bqserver-") for thread in threading.enumerate())


def test_a_garbage_collected_room_leaves_no_thread(server):
    before = threads()
    room = Room("lobby", user="ada", url=server.url, token=server.token).wait_open(20)
    ended = room._connection._ended
    del room
    eventually(ended.is_set)
    eventually(lambda: threads() <= before)


@pytest.mark.slow("opens two hundred rooms")
def test_two_hundred_rooms_leave_no_threads_and_no_files(server):
    before = threads()
    for _ in range(200):
        with Room("lobby", user="ada", url=server.url, token=server.token) as room:
            room.wait_open(20)
    eventually(lambda: threads() <= before)


FROZEN = """
from bqwidget import Room
room = Room("lobby", user="run").wait_open(20)
room._connection.set_busy(busy=True)
input()
"""


def test_a_frozen_kernel_is_busy_no_more_although_nothing_else_happens(monkeypatch):
    with running_server(open=True, heartbeat=2) as server, joined(server, user="bob") as bob:
        monkeypatch.setenv("BQWIDGET_URL", server.url)
        process = subprocess.Popen([sys.executable, "-c", FROZEN], stdin=subprocess.PIPE)
        try:
            eventually(lambda: any(member.busy for member in bob.members), 30, "the busy kernel")
            process.send_signal(signal.SIGSTOP)
            eventually(lambda: [member.user for member in bob.members] == ["bob"], 30, "its end")
        finally:
            process.kill()
            process.communicate()
