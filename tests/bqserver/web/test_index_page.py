"""``GET /``: the rooms that a browser may read, without JavaScript; or the shell that can take an invite."""

from __future__ import annotations

import re
from pathlib import Path

from bqserver.auth.tokens import add_grant
from bqserver.testing import running_server
from support.ws_client import member, request


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def rooms_in(html: str) -> list[tuple[str, str]]:
    return re.findall(r'<li><a href="([^"]*)">([^<]*)</a>', html)


def test_the_page_lists_the_rooms_with_their_members():
    with running_server(open=True, base_url="/chat") as server:
        empty = request(server.url, "GET", "/chat/")
        assert empty.headers["Content-Type"] == "text/html; charset=UTF-8"
        assert 'href="/chat/rooms/lobby"' in empty.body.decode()
        for room in ("lobby", "team-1"):
            request(server.url, "POST", f"/chat/rooms/{room}/messages", {"user": "ada", "text": "hi"})
        with member(server.url, room="team-1"):
            page = request(server.url, "GET", "/chat/")
            assert rooms_in(page.body.decode()) == [("/chat/rooms/lobby", "lobby"), ("/chat/rooms/team-1", "team-1")]
            assert "team-1</a> <span>1 here</span>" in page.body.decode()
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_without_a_session_nothing_of_the_rooms_is_told():
    with running_server() as server:
        request(server.url, "POST", "/rooms/secret/messages", {"user": "a", "text": "hi"}, **bearer(server.token))
        page = request(server.url, "GET", "/")
        assert page.status == 200
        assert 'data-session="no"' in page.body.decode()
        assert "secret" not in page.body.decode()
        assert "secret" in request(server.url, "GET", "/", **bearer(server.token)).body.decode()


def test_only_rooms_that_one_may_read_are_listed(tmp_path: Path):
    path, rights = tmp_path / "tokens.json", tmp_path / "rights.toml"
    token, _ = add_grant(path, "bob")
    rights.write_text('["staff"]\n"*" = "none"\n')
    with running_server(named_tokens=str(path), rights=str(rights)) as server:
        for room in ("staff", "open"):
            request(server.url, "POST", f"/rooms/{room}/messages", {"user": "a", "text": "hi"}, **bearer(server.token))
        assert [name for _, name in rooms_in(request(server.url, "GET", "/", **bearer(token)).body.decode())] == [
            "open"
        ]
