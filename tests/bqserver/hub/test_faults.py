"""What goes wrong inside the server reaches its clients as a clear answer, and never as silence."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from chaos.raw import frame, join
from support.sqlite_logs import lose_entries
from support.ws_client import member, request

DEEP = "[" * 20_000 + "]" * 20_000


@pytest.fixture
def damaged(tmp_path):
    """A server whose log can't be read any more: somebody took its table away."""
    with running_server(log=f"sqlite:{tmp_path / 'log.sqlite'}", open=True) as running:
        request(running.url, "POST", "/messages", {"user": "ada", "text": "hi"})
        lose_entries(running)
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
    with (
        running_server(log=f"sqlite:{tmp_path / 'log.sqlite'}", open=True) as running,
        member(running.url) as one,
    ):
        one.until("synced")
        lose_entries(running)
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


@pytest.mark.parametrize("kind", [["chat.send"], {}, 7, None, "chat.SEND"])
def test_a_type_that_is_no_word_of_ours_is_echoed(kind):
    with running_server(open=True) as running, member(running.url) as one:
        one.until("synced")
        one.send({"type": kind, "user": "ada"})
        assert one.until("echo")["message"] == {"type": kind, "user": "ada"}


@pytest.mark.parametrize("length", ["x", "-1", "+5", "0x5", ""])
def test_a_length_that_is_no_number_is_400(length):
    with running_server(open=True) as running:
        answer = request(running.url, "POST", "/messages", b"{}", Content_Length=length)
        assert (answer.status, answer.code) == (400, "bad_length")


def test_a_body_that_is_too_long_is_read_on_so_that_its_sender_sees_why():
    with running_server(open=True) as running:
        for size in (200_000, 3_000_000):
            answer = request(running.url, "POST", "/messages", b"x" * size)
            assert (answer.status, answer.code) == (413, "too_big")
            assert answer.headers["Connection"] != "close"  # and the next request may follow


def test_who_is_refused_before_the_body_is_read_is_told_that_the_connection_ends():
    with running_server() as running:
        answer = request(running.url, "POST", "/messages", b"{}")
        assert (answer.status, answer.headers["Connection"]) == (401, "close")
