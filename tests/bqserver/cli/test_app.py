"""The ``bqserver`` command in a process of its own: output and exit status."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import stat
import subprocess

import pytest
from bqserver.app import ChatServer
from bqserver.errors import StorageError
from bqserver.testing import running_server
from support.ports import free_port
from support.processes import bqserver, listening, run_to_exit
from support.ws_client import member, request

from bqwidget import Room


def test_it_prints_its_address_and_stops_cleanly_on_a_signal(home):
    for number in (signal.SIGTERM, signal.SIGINT):
        with bqserver("--port=0", "--log=memory", "--open") as process:
            url = listening(process)
            with member(url) as one:
                one.until("synced")
                process.send_signal(number)
                assert one.until("bye")["code"] == 1001
                assert one.close_code() == 1001
            out, err = process.communicate(timeout=20)
            assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("given", ["chat", "/my/chat/"])
def test_all_routes_are_below_the_base_path(home, given):
    base = f"/{given.strip('/')}"
    with running_server(open=True, base_url=given) as server:
        assert server.url == f"http://127.0.0.1:{server.port}{base}"
        root = server.url.removesuffix(base)
        assert request(root, "GET", f"{base}/messages").status == 200
        assert request(root, "GET", "/messages").status == 404
        page = request(root, "GET", f"{base}/rooms/lobby").body.decode()
        assert f'data-base="{base}/"' in page
        (script,) = re.findall(r'script type="module" src="([^"]+)"', page)
        assert request(root, "GET", script).status == 200
        with Room("lobby", user="ada", url=server.url) as room:
            assert room.send("hi").text == "hi"
            assert room.url == f"{server.url}/rooms/lobby"


def test_messages_and_the_token_survive_a_kill(home):
    with bqserver("--port=0") as process:
        url = listening(process)
        token = (home / "data" / "token").read_text().strip()
        bearer = {"Authorization": f"Bearer {token}"}
        assert request(url, "POST", "/messages", {"user": "a", "text": "kept"}, **bearer).status == 201
        process.send_signal(signal.SIGKILL)
    assert stat.S_IMODE((home / "data" / "local.sqlite").stat().st_mode) == 0o600
    with bqserver("--port=0") as process:
        (entry,) = request(listening(process), "GET", "/messages", **bearer).json
        assert entry["text"] == "kept"


def test_port_and_token_come_from_the_environment(home):
    port = free_port()
    with bqserver("--log=memory", PORT=str(port), BQSERVER_TOKEN="from-env") as process:
        url = listening(process)
        assert url.endswith(f":{port}")
        assert request(url, "GET", "/messages", Authorization="Bearer from-env").status == 200


def test_a_terminal_gets_an_invite_link_and_no_token(home):
    ours, theirs = pty.openpty()
    with bqserver("--port=0", "--log=memory", stdout=theirs) as process:
        os.close(theirs)
        shown = ""
        while "#invite=" not in shown or not shown.endswith("\n"):
            shown += os.read(ours, 4096).decode()
        token = (home / "data" / "token").read_text().strip()
        assert token not in shown
        url, code = re.search(r"(http://\S+?)/rooms/lobby#invite=(\S+)", shown).groups()
        assert request(url, "POST", "/session", {"invite": code}, Origin=url).status == 204
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    os.close(ours)


def test_without_a_terminal_it_prints_one_line(home):
    with bqserver("--port=0", "--log=memory") as process:
        listening(process)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[0] == ""


def test_the_runtime_file_is_private_and_deleted_at_the_end(home):
    home.joinpath("runtime").mkdir()
    path = home / "runtime" / "server.json"
    with bqserver("--port=0", "--log=memory", f"--runtime-file={path}") as process:
        url = listening(process)
        content = json.loads(path.read_text())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (content["url"], content["pid"]) == (url, process.pid)
        assert request(url, "GET", "/messages", Authorization=f"Bearer {content['token']}").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not path.exists()


@pytest.mark.slow("waits until it ends")
def test_it_exits_when_idle(home):
    with bqserver("--port=0", "--log=memory", "--open", "--idle-timeout=3") as process:
        with member(listening(process)) as one:
            one.until("synced")
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(4)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["--prot=1"], ["--prot", "--port"]),
        (["--open=1"], ["--open", "no value"]),
        (["--port"], ["--port", "value"]),
        (["--port=abc"], ["abc"]),
        (["--port=65536"], ["port", "65536"]),
        (["--port=-1"], ["port", "-1"]),
        (["--heartbeat=0"], ["heartbeat"]),
        (["--rate-limit=-1"], ["rate_limit", "-1"]),
        (["--ChatServer.prot=1"], ["ChatServer.prot"]),
        (["open"], ["open"]),
        (["--log=mysql://x"], ["mysql", "sqlite:PATH"]),
        (["--log=foo"], ["foo", "sqlite:PATH"]),
        (["--certfile=c.pem"], ["--keyfile"]),
        (["--base-url=/a b/"], ["--base-url", "/chat/"]),
        (["--allow-origin=evil"], ["evil", "https://chat.example.org"]),
        (["--allow-origin=https://app.example/path"], ["/path"]),
        (["--allow-origin=null"], ["null"]),
        (["--allow-origin=*"], ["scheme://host"]),
        (["--allow-host=https://chat.example"], ["https://chat.example", "name:port"]),
        (["-x"], ["-x"]),
    ],
)
def test_a_wrong_option_exits_2_and_is_named(args, names):
    code, err = run_to_exit(*args)
    assert code == 2
    assert all(name in err for name in names), err


@pytest.mark.parametrize("port", ["abc", "65536", "-1"])
def test_an_invalid_port_in_the_environment_is_named(port):
    code, err = run_to_exit("--open", "--log=memory", PORT=port)
    assert (code, "PORT is " + port in err) == (2, True), err


def test_all_limits_can_be_set_and_are_sent_in_hello(home):
    limits = {"text": 5, "user": 4, "frame": 2000, "rate": 3, "rate_ms": 60_000, "buffer": 70_000, "part": 99}
    flags = [
        "text_limit=5",
        "user_limit=4",
        "frame_limit=2000",
        "rate_limit=3",
        "rate_seconds=60",
        "buffer=70000",
        "part_limit=99",
    ]
    args = ["--port=0", "--log=memory", "--open", *(f"--ChatServer.{flag}" for flag in flags)]
    with bqserver(*args) as process:
        url = listening(process)
        with member(url) as one:
            assert one.until("hello")["limits"] == {**limits, "room": 64}
        said = [{"user": "ada", "text": "x" * 6}, {"user": "adele", "text": "x"}, {"text": "x" * 2000}]
        codes = [request(url, "POST", "/messages", body).code for body in said]
        assert codes == ["too_long", "too_long", "too_big"]


def test_a_taken_port_is_an_error(home):
    with bqserver("--port=0", "--log=memory", "--open") as process:
        port = listening(process).rpartition(":")[2]
        code, err = run_to_exit(f"--port={port}", "--log=memory", "--open")
    assert code == 1
    assert f"port {port}" in err
    assert "taken" in err


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["--open", "--ip=0.0.0.0"], ["--open-network"]),
        (["--log=sqlite:/proc/none/history.sqlite"], ["/proc/none", "can't be written"]),
        (["--certfile=none.pem", "--keyfile=none.pem"], ["none.pem"]),
        (["--token-file=none"], ["none", "does not exist"]),
        (["--ip=192.0.2.1"], ["192.0.2.1"]),
        (["--log=memory", "--runtime-file=/proc/none/server.json"], ["/proc/none/server.json"]),
    ],
)
def test_the_reason_of_a_failed_start_is_printed(home, args, names):
    code, err = run_to_exit("--port=0", *args)
    assert code == 1
    assert all(name in err for name in names), err


@pytest.mark.sqlite
def test_a_failed_start_closes_the_sockets(home):
    port = free_port()
    for _ in range(2):  # a socket that stays open would make the second fail
        with pytest.raises(StorageError), running_server(log="sqlite:/proc/none/history.sqlite", port=port):
            pass
    with running_server(port=port) as server:
        assert request(server.url, "GET", "/health").status == 200


def test_a_file_that_is_not_a_history_is_not_changed(home, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("not a database, and dear to me\n" * 100)
    code, err = run_to_exit("--port=0", f"--log=sqlite:{path}")
    assert code == 1
    assert "not a bqserver database" in err
    assert path.read_text().startswith("not a database")


def test_open_network_allows_open_on_every_address(home):
    with bqserver("--port=0", "--log=memory", "--open", "--open-network", "--ip=0.0.0.0") as process:
        assert process.stdout.readline().startswith("bqserver listening on http://0.0.0.0:")


def test_every_alias_is_a_trait_with_help():
    traits = ChatServer.class_traits(config=True)
    for target in ChatServer().aliases.values():
        name = target.split(".")[1] if isinstance(target, str) else target[0].split(".")[1]
        assert name in traits or target == "Application.log_level"
    for name, trait in traits.items():
        assert trait.help, name


def test_a_config_file_sets_traits(home, tmp_path):
    config = tmp_path / "bqserver_config.py"
    config.write_text("c.ChatServer.open = True\nc.ChatServer.log_url = 'memory'\nc.ChatServer.port = 0\n")
    with bqserver(f"--config={config}") as process:
        assert request(listening(process), "GET", "/messages").status == 200


def test_the_rate_limit_is_off_on_loopback_and_on_elsewhere():
    assert ChatServer().limits().rate == 0
    assert ChatServer(ip="0.0.0.0").limits().rate == 20
    assert ChatServer(ip="0.0.0.0", rate_limit=0).limits().rate == 0


@pytest.mark.parametrize("name", ["config.py", "deep/config.py"])
def test_a_missing_config_file_is_named(name, tmp_path):
    code, err = run_to_exit(f"--config={tmp_path / name}")
    assert code == 2
    assert name in err
