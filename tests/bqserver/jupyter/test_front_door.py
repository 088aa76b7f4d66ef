"""The extension as the front door of the user's local server: what passes it, what does not, and what survives."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
from html import unescape
from pathlib import Path

import pytest
from bqserver.testing import running_server
from support.eventually import eventually
from support.pictures import png
from support.processes import is_running, stop_local_server
from support.sqlite_logs import make_log
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus

from bqwidget import Room
from bqwidget.local import find_or_start

POST = {"user": "eve", "text": "hi"}
ADA = """
from jupyter_server.auth import IdentityProvider, User

class Badges(IdentityProvider):
    def get_user_token(self, handler):
        name, _, word = (self.get_token(handler) or "").partition("-")
        return User(name) if word == "badge" else super().get_user_token(handler)

c.ServerApp.identity_provider_class = Badges
"""


@pytest.fixture
def config(home: Path) -> Path:
    folder = home / "jupyter-config"
    folder.mkdir()
    return folder / "jupyter_server_config.py"


def local(home: Path) -> dict:
    runtime = home / "runtime"
    key = json.loads((runtime / "server.gateway").read_text())["key"]
    return json.loads((runtime / "server.json").read_text()) | {"gateway_key": key}


def forged(key: str, **said: object) -> dict[str, str]:
    text = base64.b64encode(json.dumps(said).encode()).decode()
    return {"Bqserver_Forwarded": f"{key} {text}"}


def test_scripts_and_two_jupyter_servers_are_in_one_room(home, home_environ, config, jupyter_server):
    config.write_text(ADA)
    with (
        jupyter_server(home, home_environ) as first,
        jupyter_server(home, home_environ, base="/second") as second,
        Room("lobby", user="ada") as script,
    ):
        script.wait_open(20)
        assert second.ask("POST", "/bqserver/messages", POST, token="ada-badge").json["verified"]
        script.send("from a script")  # the owner of the server may use the name that Jupyter has verified
        said = first.kernel("bob-badge").run(
            "from bqwidget import Room; room = Room('lobby'); print(room.send('from a kernel', timeout=30).seq)"
        )
        script.wait_for(lambda message: message.text == "from a kernel", after=0, timeout=20)
        for server in (first, second):
            listed = server.ask("GET", "/bqserver/messages").json
            assert [(one["user"], one["text"]) for one in listed] == [
                ("ada", "hi"),
                ("ada", "from a script"),
                ("bob", "from a kernel"),
            ]
        assert int(said) == listed[-1]["seq"]


def test_only_who_knows_the_key_can_name_the_member(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ) as server:
        running = local(home)
        claim = {"member": {"principal": "ada"}, "base": "/evil/"}
        for key in ("", "guess", running["token"]):
            refused = request(running["url"], "POST", "/messages", POST, **forged(key, **claim))
            assert refused.status == 401
            posted = server.ask("POST", "/bqserver/messages", POST, **forged(key, **claim))
            assert (posted.json["user"], "verified" in posted.json) == ("eve", False)
        right = forged(running["gateway_key"], **claim)
        posted = server.ask("POST", "/bqserver/messages", POST, **right)  # removed: a client may not say it
        assert (posted.json["user"], "verified" in posted.json) == ("eve", False)
        assert request(running["url"], "POST", "/messages", POST, **right).json["user"] == "ada"
        broken = {"Bqserver_Forwarded": f"{running['gateway_key']} not base64"}
        assert request(running["url"], "GET", "/messages", **broken).status == 401
        text = server.log.read_text() + (home / "data" / "local-server.log").read_text()
        assert running["gateway_key"] not in text


def test_a_jupyter_server_that_stops_starts_no_local_server(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ):
        stop_local_server(home / "runtime")
    assert not (home / "runtime" / "server.json").exists()


def test_members_cannot_report_what_the_gateway_reports(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ) as server:
        for way in (
            lambda: server.ask("POST", "/bqserver/gateway", {"connections": {}}),
            lambda: request(local(home)["url"], "POST", "/gateway", {"connections": {}}),
            lambda: request(
                local(home)["url"],
                "POST",
                "/gateway",
                {"connections": {}},
                Authorization=f"Bearer {local(home)['token']}",
            ),
        ):
            assert way().status == 404


def test_secrets_of_jupyter_stay_with_jupyter(home, home_environ, jupyter_server):
    """The query's token is not passed on, and neither are cookies: a server sees the member, not their credentials."""
    with jupyter_server(home, home_environ) as server:
        page = server.ask("GET", f"/bqserver/rooms/lobby?token={server.token}&after=0", Cookie="none=1")
        assert b'data-session="yes"' in page.body
        listed = server.ask("GET", f"/bqserver/messages?token={server.token}&limit=7", Cookie="none=1")
        assert listed.status == 200
        bad = server.ask("GET", f"/bqserver/messages?limit=0&token={server.token}", Cookie="none=1")
        assert (bad.status, bad.code) == (400, "bad_limit")


def test_attachments_pass_in_both_directions(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ) as server:
        data = png(color=(1, 2, 3))
        part = server.ask("POST", "/bqserver/rooms/lobby/parts?name=p.png", data, Content_Type="image/png")
        assert part.json["sha256"] == hashlib.sha256(data).hexdigest()
        body = {"user": "ada", "text": "", "parts": [part.json]}
        assert server.ask("POST", "/bqserver/messages", body).status == 201
        fetched = server.ask("GET", f"/bqserver/rooms/lobby/parts/{part.json['sha256']}")
        assert (fetched.status, fetched.body) == (200, data)
        assert fetched.headers["Content-Security-Policy"]
        large = server.ask("POST", "/bqserver/messages", {"user": "ada", "text": "x" * 500_000})
        assert (large.status, large.code) == (413, "too_big")
        assert server.ask("HEAD", "/bqserver/rooms/lobby").status == 200
        assert server.ask("GET", "/bqserver/nothing").code == "not_found"
        assert server.ask("DELETE", "/bqserver/messages").status == 405


def test_the_local_server_outlives_jupyter_and_comes_back_when_it_has_ended(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ) as server:
        pid = local(home)["pid"]
        assert server.ask("POST", "/bqserver/messages", POST).status == 201
    assert is_running(pid)
    with jupyter_server(home, home_environ) as server:
        assert local(home)["pid"] == pid
        os.kill(pid, signal.SIGTERM)
        answer = server.ask("GET", "/bqserver/messages")
        while answer.status == 503:  # a request that the end of the server has met
            answer = server.ask("GET", "/bqserver/messages")
        assert answer.status == 200, answer.body
        assert [one["text"] for one in answer.json] == ["hi"]
        assert local(home)["pid"] != pid


def test_members_read_why_the_local_server_cannot_start_without_names_of_folders(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ) as server:
        running = find_or_start()
        os.kill(running.pid, signal.SIGKILL)
        eventually(lambda: not is_running(running.pid))
        (home / "data" / "local.sqlite").write_bytes(b"these are not the bytes of a database" * 100)
        for _ in range(2):
            answer = server.ask("GET", "/bqserver/messages")
            assert (answer.status, answer.code, str(home) in answer.body.decode()) == (503, "start_failed", False)
            reason = "the local server can't be started: local.sqlite is damaged: inspect it"
            assert answer.json["error"]["message"].startswith(reason)
        browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        for path in ("/bqserver/rooms/lobby", "/bqserver/"):
            page = server.ask("GET", path, **browser)
            assert (page.status, page.headers["Content-Type"]) == (503, "text/html; charset=UTF-8")
            text = unescape(page.body.decode())
            assert "The local server can't be started: local.sqlite is damaged: inspect it" in text
            assert str(home) not in text
            assert server.ask("GET", path).code == "start_failed"  # a program
        assert server.ask("GET", "/bqserver/messages", **browser).code == "start_failed"
        stranger = server.ask("GET", "/bqserver/messages", Cookie="")
        assert stranger.json["error"] == {"code": "start_failed", "message": "the rooms can't be reached: try again"}
        (said,) = [line for line in server.log.read_text().splitlines() if "chat rooms unavailable" in line]
        assert str(home / "data" / "local-server.log") in said


def test_histories_of_earlier_versions_are_taken_over(home, home_environ, jupyter_server):
    (home / "data").mkdir(mode=0o700)
    make_log(home / "data" / "jupyter-0123456789ab.sqlite")
    with jupyter_server(home, home_environ) as server:
        assert [one["text"] for one in server.ask("GET", "/bqserver/messages").json] == ["hello", "which?", "left", ""]
        assert "earlier histories" in (home / "data" / "local-server.log").read_text()
    assert (home / "data" / "jupyter-0123456789ab.sqlite.taken-over").exists()


def test_limits_count_the_person_and_not_the_door(home, home_environ, config, jupyter_server):
    config.write_text(ADA + "c.BqserverExtension.rate_limit = 2\nc.BqserverExtension.rate_seconds = 600\n")
    with jupyter_server(home, home_environ) as server:

        def post(name: str) -> int:
            return server.ask("POST", "/bqserver/messages", POST, token=f"{name}-badge").status

        assert [post("ada") for _ in range(3)] == [201, 201, 429]
        assert post("bob") == 201


def test_settings_of_a_server_that_runs_already_are_reported(home, home_environ, config, jupyter_server):
    running = find_or_start(options=["--rate-limit=7"])
    config.write_text("c.BqserverExtension.rate_limit = 2\nc.BqserverExtension.text_limit = 32000\n")
    with jupyter_server(home, home_environ) as server:
        (said,) = [line for line in server.log.read_text().splitlines() if "has no effect" in line]
        assert "c.BqserverExtension.rate_limit = 2 has no effect" in said
        assert f"started with 7; for the new value run `kill {running.pid}`" in said


def test_a_log_of_its_own_is_apart_from_the_lobby(home, home_environ, jupyter_server):
    own = f"--BqserverExtension.log_url=sqlite:{home / 'own.sqlite'}"
    with jupyter_server(home, home_environ, own) as apart, jupyter_server(home, home_environ) as usual:
        assert apart.ask("POST", "/bqserver/messages", POST).status == 201
        assert usual.ask("GET", "/bqserver/messages").json == []
    assert (home / "own.sqlite").exists()


@pytest.mark.parametrize("way", ["trait", "environment"])
def test_a_whole_jupyter_server_is_sent_elsewhere(home, home_environ, config, jupyter_server, way):
    with running_server() as other:
        environ = {**home_environ, "BQWIDGET_TOKEN": other.token}
        if way == "trait":
            config.write_text(ADA + f"c.BqserverExtension.url = {other.url!r}\n")
        else:
            config.write_text(ADA)
            environ["BQWIDGET_URL"] = other.url
        with jupyter_server(home, environ) as server:
            kernel = server.kernel("ada-badge")
            send = "from bqwidget import Room; room = Room('lobby'); print(room.send('hi', timeout=30).user, room.url)"
            assert kernel.run(send).split()[-1] == f"{other.url}/rooms/lobby"
            assert server.ask("POST", "/bqserver/messages", POST, token="ada-badge").status == 201
            assert len(server.ask("GET", "/bqserver/messages").json) == 2
            page = server.ask("GET", f"/bqserver/rooms/lobby?token={server.token}", Cookie="none=1")
            assert (page.status, page.headers["Location"]) == (302, f"{other.url}/rooms/lobby")
            assert server.ask("GET", "/bqserver/messages", Cookie="").status == 401
            with member(server.origin + server.rooms, Authorization="token ada-badge") as one:
                one.say("by WebSocket")
                one.until("ack")
            with pytest.raises(InvalidStatus), member(server.origin + server.rooms):
                pass
        assert not (home / "runtime").exists()


def test_a_jupyter_server_joins_the_rooms_that_a_script_has_opened(home, home_environ, jupyter_server):
    running = find_or_start()
    with jupyter_server(home, home_environ) as server:
        assert server.ask("POST", "/bqserver/messages", POST).status == 201
        assert local(home)["pid"] == running.pid
