"""Faults inside the server reach its clients as a clear answer, never as silence."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from chaos.load.raw_websocket import frame, join
from support.sqlite_logs import drop_entries
from support.ws_client import TIMEOUT, member, request

DEEP = "[" * 30_000 + "]" * 30_000


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """A server whose log can't be read any more, because its table was dropped.

    It does not try by itself whether it can write again: in other tables of the file it could.
    """
    monkeypatch.setattr("bqserver.storage.sqlite.log.PROBE_INTERVAL", 600.0)
    with running_server(log=f"sqlite:{tmp_path / 'log.sqlite'}", open=True) as running:
        request(running.url, "POST", "/messages", {"user": "ada", "text": "hi"})
        drop_entries(running)
        yield running


@pytest.mark.parametrize("path", ["/messages", "/rooms/lobby/log", "/rooms"])
def test_an_unreadable_log_is_503_and_the_answer_names_no_file(damaged, path):
    answer = request(damaged.url, "GET", path)
    assert (answer.status, answer.code) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"sqlite" not in answer.body


def test_a_page_that_has_begun_says_that_its_log_is_unreadable(damaged):
    answer = request(damaged.url, "GET", "/rooms/lobby", Accept="text/html")
    assert answer.status == 200
    assert b"The messages can't be read just now" in answer.body
    assert b"sqlite" not in answer.body


def test_an_unwritable_log_is_503_and_shows_in_health(damaged):
    answer = request(damaged.url, "POST", "/messages", {"user": "ada", "text": "hi"})
    assert (answer.status, answer.code) == (503, "unavailable")
    assert request(damaged.url, "GET", "/health").status == 503


def test_a_join_with_an_unreadable_log_is_closed_with_1013(damaged):
    with member(damaged.url) as one:
        assert one.close_code() == 1013


def test_a_resume_with_an_unreadable_log_is_closed_with_1013(tmp_path):
    with (
        running_server(log=f"sqlite:{tmp_path / 'log.sqlite'}", open=True) as running,
        member(running.url) as one,
    ):
        one.until("synced")
        drop_entries(running)
        one.send({"type": "chat.resume", "after": 0})
        assert one.close_code() == 1013


def test_json_nested_too_deeply_is_rejected_or_echoed_as_text():
    with running_server(open=True) as running, member(running.url) as one:
        one.until("synced")
        one.send(DEEP)
        assert one.until("echo")["message"] == DEEP
        answer = request(running.url, "POST", "/messages", b'{"x":%b}' % DEEP.encode())
        # Python 3.14 limits the bytes of the stack, and not the calls: there it is only an unknown field.
        assert (answer.status, answer.code) in ((400, "bad_json"), (400, "bad_field"))


def test_json_nested_to_the_limit_is_echoed():
    echo = '{"type":"echo","message":%s}'
    with running_server(open=True, heartbeat=600) as running, member(running.url) as one:
        one.until("synced")
        for depth in range(850, 1_050):
            nested = "[" * depth + "]" * depth
            one.send(nested)
            assert one.socket.recv(TIMEOUT) in (echo % nested, echo % f'"{nested}"')


def test_a_client_that_pings_without_reading_pongs_is_dropped(monkeypatch):
    monkeypatch.setattr("bqserver.websocket.flood_control.BURST_FRAMES", 10_000_000)  # so that the buffer ends it
    with running_server(open=True, buffer=64 * 1024) as running:
        raw = join(running.url)
        with raw, pytest.raises(ConnectionError):
            raw.sendall(frame(9, b"x" * 125) * 1_000_000)


@pytest.mark.parametrize("kind", [["chat.send"], {}, 7, None, "chat.SEND"])
def test_a_frame_with_an_unknown_type_is_echoed(kind):
    with running_server(open=True) as running, member(running.url) as one:
        one.until("synced")
        one.send({"type": kind, "user": "ada"})
        assert one.until("echo")["message"] == {"type": kind, "user": "ada"}


@pytest.mark.parametrize("length", ["x", "-1", "+5", "0x5", ""])
def test_a_content_length_that_is_not_a_number_is_400(length):
    with running_server(open=True) as running:
        answer = request(running.url, "POST", "/messages", b"{}", Content_Length=length)
        assert (answer.status, answer.code) == (400, "bad_length")


def test_a_body_that_is_too_long_is_read_so_that_its_sender_sees_the_answer():
    with running_server(open=True) as running:
        for size in (400_000, 3_000_000):
            answer = request(running.url, "POST", "/messages", b"x" * size)
            assert (answer.status, answer.code) == (413, "too_big")
            assert answer.headers["Connection"] != "close"  # the connection stays open


def test_a_request_rejected_before_its_body_closes_the_connection():
    with running_server() as running:
        answer = request(running.url, "POST", "/messages", b"{}")
        assert (answer.status, answer.headers["Connection"]) == (401, "close")
