"""The extension in a real Jupyter server: logins, user names, and kernels."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from bqserver.app import ChatServer
from bqserver.auth.identity import Identity
from bqserver.config.limits import LimitSettings
from bqserver.jupyter.kernel_tokens import KERNEL_ENDED, KernelTokens
from support.certificate import self_signed
from support.eventually import eventually
from support.jupyter_server import JupyterServer
from support.processes import stop_local_server
from support.ws_client import member, request
from websockets.exceptions import InvalidStatus

BADGES = """
from jupyter_server.auth import Authorizer, IdentityProvider, User

class Badges(IdentityProvider):
    def get_user_token(self, handler):
        name, _, word = (self.get_token(handler) or "").partition("-")
        looks = dict(display_name="Ada L.", initials="AL", color="var(--jp-collaborator-color3)") if name == "ada" else {}
        return User(name, **looks) if word == "badge" else super().get_user_token(handler)

class Readers(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return resource != "bqserver" or user.username != "bob" or action == "read"

c.ServerApp.identity_provider_class = Badges
"""
POST = {"user": "eve", "text": "hi"}


@pytest.fixture
def config(home: Path) -> Path:
    folder = home / "jupyter-config"
    folder.mkdir()
    return folder / "jupyter_server_config.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory, jupyter_server):
    """Shared by the tests without a configuration of their own; its base URL has a prefix."""
    home = tmp_path_factory.mktemp("shared")
    folders = {
        "BQWIDGET_RUNTIME_DIR": "runtime",
        "BQWIDGET_DATA_DIR": "data",
        "JUPYTER_CONFIG_DIR": "jupyter-config",
        "JUPYTER_DATA_DIR": "jupyter-data",
        "JUPYTER_RUNTIME_DIR": "jupyter-runtime",
        "IPYTHONDIR": "ipython",
    }
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("BQ", "XDG_", "JPY_"))}
    environ |= {name: str(home / folder) for name, folder in folders.items()}
    with jupyter_server(home, {**environ, "HOME": str(home)}, base="/user/ada") as running:
        yield running
    stop_local_server(home / "runtime")


def log_in(server: JupyterServer, token: str | None = None) -> dict[str, str]:
    """Headers with the cookies of a browser that has logged in by ``?token=``."""
    page = server.ask("GET", f"/bqserver/rooms/lobby?token={token or server.token}", Cookie="none=1")
    cookies = [line.partition(";")[0] for line in page.headers.get_all("Set-Cookie")]
    xsrf = next(cookie for cookie in cookies if cookie.startswith("_xsrf="))
    return {"Cookie": "; ".join(cookies), "X_XSRFToken": xsrf.partition("=")[2]}


def test_routes_are_below_the_base_url_and_need_jupyters_login(server):
    assert server.base == "/user/ada"
    assert server.ask("GET", "/bqserver/health", Cookie="").json == {"ok": True}
    for method, path in (("GET", "messages"), ("GET", "rooms"), ("POST", "rooms/lobby/messages")):
        refused = server.ask(method, f"/bqserver/{path}", POST if method == "POST" else None, Cookie="")
        assert (refused.status, refused.code) == (401, "unauthorized")
        assert server.ask(method, f"/bqserver/{path}", None, token="wrong").status == 401
    page = server.ask("GET", "/bqserver/rooms/lobby", Cookie="")
    assert page.status == 302
    assert page.headers["Location"].startswith("/user/ada/login?next=")
    assert server.ask("POST", "/bqserver/messages", POST).status == 201
    assert "hi" in [m["text"] for m in server.ask("GET", "/bqserver/messages").json]
    assert "Traceback" not in server.log.read_text()
    assert "Warning" not in server.log.read_text().replace("DeprecationWarning", "")


def test_only_pages_of_jupyters_origin_with_an_xsrf_token_can_write(server):
    cookies = log_in(server)
    own = {**cookies, "Origin": server.origin}
    page = server.ask("GET", "/bqserver/rooms/lobby", **cookies)
    assert (page.status, b'data-session="yes"' in page.body) == (200, True)
    assert b'data-base="/user/ada/bqserver/"' in page.body
    assert server.ask("POST", "/bqserver/messages", POST, **own).status == 201
    without = {name: value for name, value in own.items() if name != "X_XSRFToken"}
    for headers, code in (
        (without, "bad_xsrf"),
        ({**own, "X_XSRFToken": "wrong"}, "bad_xsrf"),
        ({**own, "Origin": "https://evil.example"}, "bad_origin"),
        ({**own, "Origin": "null"}, "bad_origin"),
        (cookies, "bad_origin"),
        ({**own, "Host": "evil.example"}, "bad_host"),
    ):
        refused = server.ask("POST", "/bqserver/messages", POST, **headers)
        assert (refused.status, refused.code) == (403, code), headers
    rooms = server.origin + server.rooms
    with member(rooms, **own) as one:
        assert one.recv()["seq"] >= 1
    for origin in ({}, {"Origin": "https://evil.example"}):
        with pytest.raises(InvalidStatus) as rejected, member(rooms, Cookie=own["Cookie"], **origin):
            pass
        assert rejected.value.response.status_code == 403


def test_there_are_no_invites_inside_jupyter(server):
    for path, body in (("invites", {}), ("session", {"invite": "x"})):
        refused = server.ask("POST", f"/bqserver/{path}", body)
        assert (refused.status, refused.code) == (403, "no_invites")


def test_names_are_self_asserted_with_jupyters_shared_token(server):
    posted = server.ask("POST", "/bqserver/messages", POST)
    assert (posted.json["user"], "verified" in posted.json) == ("eve", False)


def test_jupyters_user_names_are_verified_and_reserved(home, home_environ, config, jupyter_server):
    config.write_text(BADGES)
    with jupyter_server(home, home_environ) as server:
        rooms = server.origin + server.rooms
        shared = {"Authorization": f"token {server.token}"}  # unverified names
        with (
            member(rooms, query="?user=ada", **shared) as early,
            member(rooms, Authorization="token ada-badge") as ada,
        ):
            while len(members := early.until("presence")["members"]) < 2:
                pass
            looks = {"name": "Ada L.", "initials": "AL", "color": "var(--jp-collaborator-color3)"}
            assert members == [{"user": "ada"}, {"user": "ada", "verified": True, "profile": looks}]
            ada.say("mine")
            seq = ada.until("ack")["seq"]
            early.say("hers")
            assert early.until("error")["code"] == "name_taken"
            early.send({"type": "chat.delete", "cid": "d", "user": "ada", "target": seq})
            assert early.until("error")["code"] == "name_taken"
            with pytest.raises(InvalidStatus), member(rooms, query="?user=Ada", **shared):
                pass
        refused = server.ask("POST", "/bqserver/messages", {"user": "ada", "text": "hers"})
        assert (refused.status, refused.code) == (403, "name_taken")

        posted = server.ask("POST", "/bqserver/messages", POST, token="ada-badge")
        assert (posted.json["user"], posted.json["verified"]) == ("ada", True)
        cookies = log_in(server, "bob-badge")
        posted = server.ask("POST", "/bqserver/messages", POST, **cookies, Origin=server.origin)
        assert (posted.json["user"], posted.json["verified"]) == ("bob", True)
        page = server.ask("GET", "/bqserver/rooms/lobby", **cookies).body
        assert b'"user":"bob",' in page.partition(b"bqwidget-state")[2]


def test_a_logout_closes_connections_and_invalidates_copies_of_the_cookie(server):
    gone, stays = log_in(server), log_in(server)
    rooms = server.origin + server.rooms
    with (
        member(rooms, **gone, Origin=server.origin) as one,
        member(rooms, **stays, Origin=server.origin) as other,
        member(rooms, Authorization=f"token {server.token}") as program,
    ):
        one.until("synced")
        assert server.ask("GET", "/logout", **gone).status == 200
        assert one.close_code() == 4401
        for still in (other, program):
            still.send({"type": "chat.ping"})
            still.until("synced")
    refused = server.ask("GET", "/bqserver/messages", **gone)
    assert (refused.status, refused.code) == (401, "unauthorized")
    assert server.ask("GET", "/bqserver/messages", **stays).status == 200


CHANGING = """
import os

class Changing(Readers):
    def is_authorized(self, handler, user, action, resource):
        if os.path.exists({gone!r}) and user.username == "bob" and resource == "bqserver":
            return False
        return super().is_authorized(handler, user, action, resource)

c.ServerApp.authorizer_class = Changing
c.BqserverExtension.recheck = 0.2
"""


def test_a_later_refusal_by_the_authorizer_closes_the_connection(home, home_environ, config, jupyter_server):
    gone = home / "gone"
    config.write_text(BADGES + CHANGING.format(gone=str(gone)))
    with jupyter_server(home, home_environ) as server:
        rooms = server.origin + server.rooms
        with (
            member(rooms, Authorization="token bob-badge") as bob,
            member(rooms, Authorization="token ada-badge") as ada,
        ):
            bob.until("synced")
            gone.touch()
            assert bob.close_code() == 4403
            ada.send({"type": "chat.ping"})
            ada.until("synced")


def test_jupyters_authorizer_decides_who_may_read_and_write(home, home_environ, config, jupyter_server):
    config.write_text(BADGES + "c.ServerApp.authorizer_class = Readers\n")
    with jupyter_server(home, home_environ) as server:
        assert server.ask("POST", "/bqserver/messages", POST, token="ada-badge").status == 201
        assert server.ask("GET", "/bqserver/messages", token="bob-badge").status == 200
        refused = server.ask("POST", "/bqserver/messages", POST, token="bob-badge")
        assert (refused.status, refused.code) == (403, "read_only")
        authorization = {"Authorization": "token bob-badge"}
        with member(server.origin + server.rooms, **authorization) as bob:
            bob.say("hi")
            assert bob.until("error")["code"] == "read_only"


def test_limits_are_configured_as_for_chat_server(home, home_environ, config, jupyter_server):
    wanted = {"text_limit": 5, "user_limit": 4, "frame_limit": 2000, "rate_limit": 3, "rate_seconds": 60}
    wanted |= {"buffer": 70_000, "heartbeat": 9, "join_limit": 1, "max_connections": 2, "failure_limit": 1}
    config.write_text("".join(f"c.BqserverExtension.{name} = {value}\n" for name, value in wanted.items()))
    with jupyter_server(home, home_environ) as server:
        authorization = {"Authorization": f"token {server.token}"}
        with member(server.origin + server.rooms, **authorization) as one:
            hello = one.recv()
            limits = {"text": 5, "user": 4, "frame": 2000, "rate": 3, "rate_ms": 60_000, "buffer": 70_000}
            assert limits.items() <= hello["limits"].items()
            assert hello["heartbeat_ms"] == 9000
            with (
                pytest.raises(InvalidStatus) as refused,
                member(server.origin + server.rooms, **authorization),
            ):
                pass
            assert b"too_many_joins" in refused.value.response.body
        answers = [server.ask("GET", "/bqserver/rooms", token=f"guess-{n}") for n in range(2)]
        assert [answer.status for answer in answers] == [401, 429]
    assert LimitSettings.class_own_traits(config=True).keys() <= ChatServer.class_traits(config=True).keys()


SEND = "from bqwidget import Room; room = Room('lobby'); print(room.send({text!r}, timeout=30))"
HEAR = "print(room.wait_for(lambda m: m.text == {text!r}, after=0, timeout=30).user)"


def test_kernels_join_one_room_under_the_names_of_their_users(home, home_environ, config, jupyter_server):
    config.write_text(BADGES)
    with jupyter_server(home, home_environ, base="/pre/fix") as server:
        ada, bob = server.kernel("ada-badge"), server.kernel("bob-badge")
        assert "user='ada'" in ada.run(SEND.format(text="from ada's kernel"))
        assert "user='bob'" in bob.run(SEND.format(text="from bob's kernel"))
        assert ada.run(HEAR.format(text="from bob's kernel")).strip() == "bob"
        listed = server.ask("GET", "/bqserver/messages", token="eve-badge").json
        assert [(m["user"], m["verified"]) for m in listed] == [("ada", True), ("bob", True)]


def test_a_kernels_token_is_only_in_its_environment_and_ends_with_it(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ, base="/pre/fix") as server:
        kernel = server.kernel()
        environment = json.loads(kernel.run("import json, os; print(json.dumps(dict(os.environ)))"))
        assert re.fullmatch(r"http://localhost:\d+/pre/fix/bqserver", environment["BQWIDGET_URL"])
        token = environment["BQWIDGET_TOKEN"]
        assert token not in environment["BQWIDGET_URL"]
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            assert token.encode() not in read_if_there(process)
        bearer = {"Authorization": f"Bearer {token}"}
        assert server.ask("GET", "/bqserver/rooms", **bearer).status == 200
        assert server.ask("GET", "/api/kernels", **bearer).status == 403  # valid for rooms only
        assert server.ask("DELETE", f"/api/kernels/{kernel.id}").status == 204
        refused = server.ask("GET", "/bqserver/rooms", **bearer)
        assert (refused.status, refused.code) == (401, "token_expired")
        assert token not in server.log.read_text()


def test_a_rooms_url_uses_the_host_name_of_jupyters_cookie(home, home_environ, jupyter_server):
    """Jupyter's cookie is bound to the host name of its URL. Its users need no invites."""
    with jupyter_server(home, home_environ) as server:
        kernel = server.kernel()
        output = kernel.run("from bqwidget import Room; room = Room('lobby'); print(room.url, room.invite())")
        url, invite = output.split()
        assert re.fullmatch(r"http://localhost:\d+/bqserver/rooms/lobby", url)
        assert invite == url


def read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_kernels_use_loopback_when_jupyter_has_a_certificate(home, home_environ, missing, jupyter_server):
    cert, key = self_signed(home, missing)
    with jupyter_server(home, home_environ, f"--ServerApp.certfile={cert}", f"--ServerApp.keyfile={key}") as server:
        kernel = server.kernel()
        assert "text='over loopback'" in kernel.run(SEND.format(text="over loopback"))
        (message,) = server.ask("GET", "/bqserver/messages").json
        assert message["text"] == "over loopback"
        own = kernel.run("import os; print(os.environ['BQWIDGET_URL'])").strip()
        for token in (server.token, "guess"):
            refused = request(own, "GET", "/messages", Authorization=f"Bearer {token}")
            assert refused.status == 401


def test_a_server_chosen_in_the_environment_is_kept(home, home_environ, jupyter_server):
    environ = {**home_environ, "BQWIDGET_URL": "https://chat.example.org"}
    with jupyter_server(home, environ) as server:
        output = server.kernel().run("import os; print(os.environ['BQWIDGET_URL'], 'BQWIDGET_TOKEN' in os.environ)")
        assert output.split() == ["https://chat.example.org", "False"]


def test_kernels_use_the_local_server_if_the_extension_is_disabled(home, home_environ, jupyter_server):
    off = "--ServerApp.jpserver_extensions={'bqserver.extension': False}"
    with jupyter_server(home, home_environ, off) as server:
        assert server.ask("GET", "/bqserver/health").status == 404
        kernel = server.kernel()
        assert "text='local'" in kernel.run(SEND.format(text="local"))
        local = json.loads((home / "runtime" / "server.json").read_text())
        assert kernel.run("print(room.url)").startswith(local["url"])


def test_a_stopped_server_sends_bye_and_keeps_the_history(home, home_environ, jupyter_server):
    authorization: dict[str, str] = {}
    for _ in range(2):
        with jupyter_server(home, home_environ) as server:
            authorization = {"Authorization": f"token {server.token}"}
            rooms = server.origin + server.rooms
            with member(rooms, **authorization) as one:
                seq = one.recv()["seq"]
                one.say(f"after {seq}", cid=f"c{seq}")
                one.until("ack")
                server.process.send_signal(signal.SIGTERM)
                assert one.until("bye")["code"] == 1001
                assert one.close_code() == 1001
            assert eventually(lambda: server.process.poll() is not None)
    assert seq == 1


@pytest.mark.parametrize("name", ["rights.toml", "log.moderation.json"])
def test_faulty_settings_disable_the_rooms_and_are_logged(home, home_environ, jupyter_server, name):
    """Jupyter can still be stopped."""
    faulty = home / "data" / name
    faulty.parent.mkdir(exist_ok=True)
    faulty.write_text("[lobby")
    faulty.chmod(0o600)
    log_url = f"--BqserverExtension.log_url=sqlite:{home / 'data' / 'log.sqlite'}"
    with jupyter_server(home, home_environ, log_url) as server:
        log = eventually(lambda: "chat rooms unavailable" in (text := server.log.read_text()) and text)
        assert str(faulty) in log
        assert "Traceback" not in log
        answer = server.ask("GET", "/bqserver/messages")
        assert (answer.status, answer.code, str(home) in answer.body.decode()) == (503, "start_failed", False)
        assert name in answer.json["error"]["message"]
        faulty.unlink()
        assert server.ask("GET", "/bqserver/messages").status == 200  # the next request tries again
        server.process.terminate()
        assert eventually(lambda: server.process.poll() is not None, 30, "Jupyter's end")


def test_lost_rights_open_no_room_and_after_a_restart_neither(home, home_environ, jupyter_server):
    rights = home / "data" / "rights.toml"
    rights.parent.mkdir(exist_ok=True)
    rights.write_text('[staff]\n"*" = "none"\n')
    log = home / "data" / "local-server.log"
    for _ in range(2):
        with jupyter_server(home, home_environ) as server:
            eventually(lambda: server.ask("GET", "/bqserver/health").status == 200)
            rights.unlink(missing_ok=True)
            eventually(lambda: f"{rights} is missing; the last good state stays in effect" in log.read_text())
            assert server.ask("GET", "/bqserver/rooms/staff/messages").status == 403
        stop_local_server(home / "runtime")


def test_two_jupyter_servers_have_the_same_rooms_and_start_one_server(home, home_environ, jupyter_server):
    with jupyter_server(home, home_environ) as first, jupyter_server(home, home_environ, base="/b") as second:
        assert first.ask("POST", "/bqserver/messages", POST).status == 201
        assert [m["text"] for m in second.ask("GET", "/bqserver/messages").json] == ["hi"]
    assert [path.name for path in (home / "data").glob("*.sqlite")] == ["local.sqlite"]


# ---- tokens of kernels, without a server


def test_a_kernel_token_is_valid_while_its_kernel_is_alive():
    alive = {"k1"}
    kernels = KernelTokens(alive.__contains__)
    environment = kernels.make_environment("http://here", Identity("ada"), {"PATH": "/bin"})
    token = environment["BQWIDGET_TOKEN"]
    assert (environment["PATH"], environment["BQWIDGET_URL"]) == ("/bin", "http://here")
    assert kernels.identify(token) == Identity(
        "ada", is_program=True
    )  # a kernel may join before Jupyter knows that it has started
    kernels.bind(environment, "k1")
    assert kernels.identify(token) == Identity("ada", is_program=True)
    assert kernels.identify("guess") is None
    alive.clear()
    assert kernels.identify(token) == KERNEL_ENDED


def test_retain_removes_old_messages_of_the_rooms_that_it_names(home, config, home_environ, jupyter_server):
    config.write_text("c.BqserverExtension.retain = ['logs-*=10kB']")
    with jupyter_server(home, home_environ) as server:
        for room in ("logs-a", "lobby"):
            for number in range(20):
                body = {"user": "ada", "text": f"{number}" * 1_000}
                assert server.ask("POST", f"/bqserver/rooms/{room}/messages", body).status == 201
    stop_local_server(home / "runtime")  # the next one removes them when it starts, and not after a minute
    with jupyter_server(home, home_environ) as server:

        def kept(room: str) -> int:
            return len(server.ask("GET", f"/bqserver/rooms/{room}/messages?limit=100").json)

        eventually(lambda: 0 < kept("logs-a") < 10)
        assert kept("lobby") == 20
