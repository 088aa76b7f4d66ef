"""server/README.md: the server accepts the systemd unit, the proxy configuration and the flags in the guide."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess

from bqserver.app import ChatServer
from bqserver.cli.application import check_arguments
from bqserver.cli.invite import Invite
from bqserver.cli.tokens import Add
from bqserver.testing import running_server
from support.paths import ROOT
from support.ws_client import member, request

GUIDE = (ROOT / "server" / "README.md").read_text()
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE))


def test_the_systemd_unit_starts_and_reloads_the_server():
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(BLOCKS["ini"])
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/bqserver")
    assert check_arguments(ChatServer(), arguments) is None
    app = ChatServer()
    app.initialize(arguments)
    assert app.behind_proxy
    state = service["StateDirectory"]
    assert app.log_url == f"sqlite:/var/lib/{state}/history.sqlite"
    assert service["Environment"] == f"BQWIDGET_DATA_DIR=/var/lib/{state}"
    assert app.audit_log.startswith(f"/var/log/{service['LogsDirectory']}/")
    assert "-HUP" in service["ExecReload"]


def test_systemd_accepts_the_unit(home):
    """Checks nothing if systemd is not installed; the test above does not need it."""
    unit = home / "bqserver.service"
    unit.write_text(BLOCKS["ini"].replace("/opt/bqwidget/bin/bqserver", shutil.which("true")))
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
        assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


def test_the_nginx_snippet_sends_the_headers_that_the_server_needs(home):
    """A page can post and join with the headers of the snippet, filled in as nginx does."""
    printed = dict(re.findall(r"proxy_set_header (\S+) (\S+);", BLOCKS["nginx"]))
    values = {
        "$http_host": "chat.example.org",
        "$remote_addr": "192.0.2.7",
        "$scheme": "https",
        "$http_upgrade": "websocket",
        "$http_connection": "Upgrade",
    }
    headers = {name: values[value] for name, value in printed.items()}
    page = {"Origin": "https://chat.example.org"}
    audit = home / "audit.jsonl"
    flags = {"behind_proxy": True, "allow_host": ["chat.example.org"], "audit_log": str(audit)}
    with running_server(**flags) as server:
        plain = {name: value for name, value in headers.items() if name not in ("Upgrade", "Connection")}
        bearer = {"Authorization": f"Bearer {server.token}"}
        posted = request(server.url, "POST", "/messages", {"user": "ada", "text": "hi"}, **plain, **page, **bearer)
        assert posted.status == 201
        forwarded = {name: value for name, value in plain.items() if name != "Host"}
        with member(server.url, **forwarded, **bearer) as one:
            assert one.recv()["seq"] == 1
    assert '"address":"192.0.2.7"' in audit.read_text()
    assert '"127.0.0.1"' not in audit.read_text()


def test_every_flag_in_the_guide_exists():
    without_benchmarks = re.sub(r"`python3? tests[^`]*`", "", GUIDE)
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", without_benchmarks))
    commands = (ChatServer(), Add(), Invite())
    assert named <= {"help-all"}.union(*([*command.flags, *command.aliases] for command in commands))
