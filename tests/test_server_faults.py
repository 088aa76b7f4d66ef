"""What goes wrong inside the server reaches its clients as a clear answer, and never as silence."""

from __future__ import annotations

import sqlite3

import pytest
from bqserver.testing import running_server
from chaos.raw import frame, join
from wsclient import member, request

DEEP = "[" * 20_000 + "]" * 20_000


@pytest.fixture
def damaged(tmp_path):
    """A server whose log can't be read any more: somebody took its table away."""
    path = tmp_path / "log.sqlite"
    with running_server(log=f"sqlite:{path}", open=True) as running:
        request(running.url, "POST", "/messages", {"user": "ada", "text": "hi"})
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("DROP TABLE entry")
        other.close()
        yield running


@pytest.mark.parametrize("path", ["/messages", "/rooms/lobby/log", "/rooms", "/rooms/lobby"])
def test_a_log_that_cant_be_read_is_503_and_says_nothing_of_our_files(damaged, path):
    answer = request(damaged.url, "GET", path)
    assert (answer.status, answer.code) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"sqlite" not in answer.body


def test_a_log_that_cant_be_written_is_503_and_shows_in_health(damaged):
    answer = request(damaged.url, "POST", "/messages", {"user": "ada", "text": "hi"})
    assert (answer.status, answer.code) == (503, "unavailable")
    assert request(damaged.url, "GET", "/health").status == 503


def test_a_join_that_cant_read_the_log_is_closed_to_come_back(damaged):
    with member(damaged.url) as one:
        assert one.close_code() == 1013


def test_a_resume_that_cant_read_the_log_is_closed_to_come_back(tmp_path):
    path = tmp_path / "log.sqlite"
    with running_server(log=f"sqlite:{path}", open=True) as running, member(running.url) as one:
        one.until("synced")
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("DROP TABLE entry")
        other.close()
        one.send({"type": "chat.resume", "after": 0})
        assert one.close_code() == 1013


def test_json_too_deep_to_read_is_refused_or_echoed_as_text():
    with running_server(open=True) as running, member(running.url) as one:
        one.until("synced")
        one.send(DEEP)
        assert one.until("echo")["message"] == DEEP
        answer = request(running.url, "POST", "/messages", b'{"x":%b}' % DEEP.encode())
        assert (answer.status, answer.code) == (400, "bad_json")


def test_json_at_the_edge_of_what_can_be_read_is_echoed():
    echo = '{"type":"echo","message":%s}'
    with running_server(open=True) as running, member(running.url) as one:
        one.until("synced")
        for depth in range(850, 1_050):
            nested = "[" * depth + "]" * depth
            one.send(nested)
            assert one.socket.recv(10) in (echo % nested, echo % f'"{nested}"')


def test_who_pings_without_reading_the_pongs_is_dropped():
    with running_server(open=True, buffer=64 * 1024) as running:
        raw = join(running.url)
        with raw, pytest.raises(ConnectionError):
            raw.sendall(frame(9, b"x" * 125) * 1_000_000)
