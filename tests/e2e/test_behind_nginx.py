"""The nginx configuration printed in server/README.md, in a real nginx: TLS, WebSockets, and a base path."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bqserver.testing import running_server
from support.certificate import self_signed
from support.nginx import nginx
from support.paths import ROOT
from support.ws_client import request

pytestmark = pytest.mark.browser
GUIDE = (ROOT / "server" / "README.md").read_text()
SNIPPET = re.search(r"^```nginx\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)[1]
NAME = "chat.example.org"
CLIENT = """
from bqwidget import Room
with Room("lobby", user="bob").wait_open(20) as room:
    sent = room.send("through the proxy " + "x" * 10_000)
    received = room.wait_for(lambda message: message.seq == sent.seq, after=0, timeout=20)
    print(len(received.text), len(room.history(limit=5)), room.url)
"""


@pytest.fixture
def proxy(home, missing, unused_port):
    """``with proxy(target, base) as port``: nginx in front of the port ``target``, with the printed snippet, in which
    only the ports and the certificate are replaced."""
    cert, key = self_signed(home, missing)

    @contextmanager
    def running(target: int, base: str) -> Iterator[int]:
        snippet = SNIPPET
        for printed, here in (
            ("listen 443 ssl", f"listen 127.0.0.1:{unused_port} ssl"),
            (f"/etc/ssl/{NAME}.pem", str(cert)),
            (f"/etc/ssl/{NAME}.key", str(key)),
            ("http://127.0.0.1:8765", f"http://127.0.0.1:{target}"),
            ("location / {", f"location {base} {{"),
        ):
            assert snippet.count(printed) == 1, printed
            snippet = snippet.replace(printed, here)
        with nginx(snippet, unused_port, home, missing):
            yield unused_port

    return running


@pytest.fixture(scope="module")
def remote_browser(launch):
    """A browser that resolves chat.example.org to this machine."""
    return launch(f"--host-resolver-rules=MAP {NAME} 127.0.0.1")


@pytest.mark.parametrize("base", ["/", "/chat/"])
def test_programs_and_pages_connect_through_the_proxy(home, home_environ, remote_browser, proxy, base):
    audit = home / "audit.jsonl"
    flags = {"behind_proxy": True, "allow_host": [NAME], "audit_log": str(audit), "base_url": base}
    with running_server(**flags) as server, proxy(server.port, base) as port:
        path = base.rstrip("/")
        url = f"https://localhost:{port}{path}"
        bearer = {"Authorization": f"Bearer {server.token}"}
        done = subprocess.run(
            [sys.executable, "-c", CLIENT],
            env={
                **home_environ,
                "SSL_CERT_FILE": str(home / "cert.pem"),
                "PYTHONPATH": os.pathsep.join(sys.path),
                "BQWIDGET_URL": url,
                "BQWIDGET_TOKEN": str(server.token),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout.split(), done.stderr) == (["10018", "1", f"{url}/rooms/lobby"], "")

        site = f"https://{NAME}:{port}{path}"
        code = request(url, "POST", f"{path}/invites", {}, **bearer).json["code"]
        context = remote_browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(f"{site}/rooms/lobby#invite={code}")
        region = page.get_by_role("region", name="Chat room lobby")
        region.get_by_role("status").filter(has_text=re.compile("^Connected")).wait_for()
        region.get_by_role("textbox", name="Your name").fill("ada")
        box = region.get_by_role("textbox", name="Message")
        box.fill("from the page")
        box.press("Enter")
        region.get_by_role("list", name="Messages").locator("[data-seq]").filter(has_text="from the page").wait_for()
        (cookie,) = context.cookies()
        assert (cookie["secure"], cookie["httpOnly"], cookie["path"]) == (True, True, base)
        context.close()
        foreign = request(
            url,
            "POST",
            f"{path}/messages",
            {"user": "eve", "text": "x"},
            **bearer,
            Origin="https://evil.example",
        )
        assert foreign.code == "bad_origin"
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert {"join", "send"} <= {line["what"] for line in lines}
