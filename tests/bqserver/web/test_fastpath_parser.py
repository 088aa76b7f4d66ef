"""The heads of plain posts: which are parsed, which are left to Tornado, and the bytes of a response."""

from __future__ import annotations

import pytest
from bqserver.web.fastpath.parser import PostHead, post_path, read_head, response

LINES = {
    "Host": "127.0.0.1:8765",
    "Content-Type": "application/json",
    "Content-Length": "26",
}
PATH = post_path("/")


def head(first: str = "POST /messages HTTP/1.1", end: str = "\r\n", **lines: str | None) -> bytes:
    given = {**LINES, **{name.replace("_", "-"): value for name, value in lines.items()}}
    said = [first, *(f"{name}: {value}" for name, value in given.items() if value is not None)]
    return "".join(f"{line}{end}" for line in [*said, ""]).encode("latin1")


def test_a_plain_post_is_parsed():
    assert read_head(PATH, head()) == PostHead(None, "127.0.0.1:8765", 26, None)
    assert read_head(PATH, head("POST /rooms/a-b_C/messages HTTP/1.1")).room == "a-b_C"
    assert read_head(PATH, head(Authorization="Bearer x y")).authorization == "Bearer x y"


@pytest.mark.parametrize(
    "more",
    [
        {"Connection": "Keep-Alive"},
        {"Accept": "*/*", "Accept_Encoding": "gzip, br", "Accept_Language": "*", "User_Agent": "curl/8"},
        {"Sec_Fetch_Mode": "cors"},
        {"Content_Type": "Application/JSON; charset=utf-8"},
        {"Content_Length": "007"},
        {"Content_Length": "0"},
    ],
)
def test_common_headers_of_clients_are_accepted(more):
    assert read_head(PATH, head(**more)) is not None


@pytest.mark.parametrize(
    "lines",
    [
        {"Host": None},
        {"Host": "a,b"},
        {"Host": "a/b"},
        {"Content_Length": None},
        {"Content_Length": "-1"},
        {"Content_Length": "+1"},
        {"Content_Length": "1_0"},
        {"Content_Length": "26, 26"},
        {"Content_Length": "9" * 19},
        {"Content_Type": None},
        {"Content_Type": "text/plain"},
        {"Connection": "close"},
        {"Connection": "keep-alive, close"},
        {"Connection": "Upgrade"},
        {"Origin": "http://127.0.0.1:8765"},
        {"Cookie": "a=b"},
        {"Expect": "100-continue"},
        {"Transfer_Encoding": "chunked"},
        {"Upgrade": "websocket"},
        {"X_Forwarded_For": "10.0.0.1"},
        {"X_A": "b"},
        {"content-length": "26"},
        {"Authorization": "Bearer a", "authorization": "Bearer b"},
        {"host": "127.0.0.1"},
        {"Content-Length ": "26"},
        {" Folded": "x"},
        {"User_Agent": "a\r\n b"},
        {"User_Agent": "a\nX: b"},
        {"User_Agent": "a\rb"},
        {"User_Agent": "a\0b"},
        {"User_Agent": "a\tb"},
        {"User_Agent": "é"},
        {"(": "x"},
    ],
    ids=str,
)
def test_an_ambiguous_head_is_left_to_tornado(lines):
    assert read_head(PATH, head(**lines)) is None


@pytest.mark.parametrize(
    "first",
    [
        "GET /messages HTTP/1.1",
        "post /messages HTTP/1.1",
        "POST /messages HTTP/1.0",
        "POST /messages HTTP/2.0",
        "POST /messages",
        "POST  /messages HTTP/1.1",
        "POST /messages HTTP/1.1 ",
        "POST /messages?limit=1 HTTP/1.1",
        "POST /messages# HTTP/1.1",
        "POST /messages/ HTTP/1.1",
        "POST //messages HTTP/1.1",
        "POST http://127.0.0.1/messages HTTP/1.1",
        "POST /rooms/a.b/messages HTTP/1.1",
        "POST /rooms/a%62/messages HTTP/1.1",
        "POST /rooms//messages HTTP/1.1",
        f"POST /rooms/{'r' * 65}/messages HTTP/1.1",
        "POST /rooms/a/parts HTTP/1.1",
        "",
        "\r\nPOST /messages HTTP/1.1",
    ],
)
def test_every_other_request_is_left_to_tornado(first):
    assert read_head(PATH, head(first)) is None


def test_a_bare_cr_or_lf_is_left_to_tornado():
    assert read_head(PATH, head(end="\n")) is None
    assert read_head(PATH, head()[:-2] + b"\n") is None
    assert read_head(PATH, head()[:-2]) is None
    assert read_head(PATH, head() + b"x") is None
    assert read_head(PATH, b"") is None


def test_the_path_is_below_the_base():
    path = post_path("/a.b/")
    assert read_head(path, head("POST /a.b/rooms/x/messages HTTP/1.1")).room == "x"
    assert read_head(path, head("POST /aXb/messages HTTP/1.1")) is None
    assert read_head(path, head()) is None


def test_a_response_has_its_date_and_length():
    answer = response(429, b"{}", 1_000_000_000, retry_after=1.2)
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n")
    assert b"Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n" in answer
    assert answer.endswith(b"Retry-After: 2\r\nContent-Length: 2\r\n\r\n{}")
    assert b"Retry-After" not in response(201, b"{}", 1_000_000_000)
