"""Pages of other origins in a real browser can neither read a room nor write to it, under any host name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from bqserver.testing import running_server
from support.ws_client import request

pytestmark = pytest.mark.browser
SECRET = "a secret"

ATTACK = """
async (server) => {
  const found = {};
  const attempt = async (name, act) => {
    try { found[name] = await act(); } catch (error) { found[name] = "blocked"; }
  };
  const body = JSON.stringify({ user: "eve", text: "written by an attacker" });
  const json = { "content-type": "application/json" };
  await attempt("fetch", async () => (await fetch(`${server}/messages`)).text());
  await attempt("fetch with cookies", async () =>
    (await fetch(`${server}/messages`, { credentials: "include" })).text());
  await attempt("page", async () => (await fetch(`${server}/rooms/lobby`, { credentials: "include" })).text());
  await attempt("post json", async () =>
    (await fetch(`${server}/messages`, { method: "POST", headers: json, body, credentials: "include" })).text());
  await attempt("post simple", async () => {
    await fetch(`${server}/messages`, { method: "POST", mode: "no-cors", body, credentials: "include" });
    return "sent";
  });
  await attempt("beacon", async () => navigator.sendBeacon(`${server}/messages`, body) && "sent");
  await attempt("script", () => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = `${server}/messages`;
    script.onload = () => done("loaded");
    script.onerror = failed;
    document.body.append(script);
  }));
  await attempt("frame", () => new Promise((done, failed) => {
    const frame = document.createElement("iframe");
    frame.src = `${server}/rooms/lobby`;
    frame.onload = () => { try { done(frame.contentDocument.body.innerText); } catch (error) { failed(error); } };
    document.body.append(frame);
  }));
  await attempt("socket", () => new Promise((done, failed) => {
    const socket = new WebSocket(`${server.replace("http", "ws")}/rooms/lobby?after=0`, ["chat.v1"]);
    const received = [];
    socket.onopen = () => socket.send(JSON.stringify({ type: "chat.send", cid: "x", ...JSON.parse(body) }));
    socket.onmessage = ({ data }) => { received.push(data); if (data.includes("synced")) done(received.join()); };
    socket.onerror = failed;
  }));
  return found;
}
"""
READS = ("fetch", "fetch with cookies", "page", "post json", "script", "frame", "socket")


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title><body></body>")

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def foreign_site() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def rebound_browser(launch):
    """A browser that resolves evil.example to this machine, as after DNS rebinding."""
    return launch("--host-resolver-rules=MAP evil.example 127.0.0.1")


def attack(browser, site: str, server: str, cookies: list[dict[str, str]] = ()) -> dict[str, str]:
    context = browser.new_context()
    try:
        context.add_cookies(list(cookies))
        page = context.new_page()
        page.goto(site)
        return page.evaluate(ATTACK, server)
    finally:
        context.close()


def texts(server) -> list[str]:
    headers = {} if server.token is None else {"Authorization": f"Bearer {server.token}"}
    return [message["text"] for message in request(server.url, "GET", "/messages", **headers).json]


def say(server, text: str) -> None:
    headers = {} if server.token is None else {"Authorization": f"Bearer {server.token}"}
    assert request(server.url, "POST", "/messages", {"user": "ada", "text": text}, **headers).status == 201


def session(server) -> dict[str, str]:
    bearer = {"Authorization": f"Bearer {server.token}"}
    code = request(server.url, "POST", "/invites", {}, **bearer).json["code"]
    made = request(server.url, "POST", "/session", {"invite": code}, Origin=server.url)
    name, _, value = made.headers["Set-Cookie"].partition(";")[0].partition("=")
    return {"name": name, "value": value, "url": server.url, "sameSite": "Strict", "httpOnly": True}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_foreign_page_can_neither_read_nor_write(rebound_browser, home, host, is_open):
    with running_server(open=is_open) as server, foreign_site() as port:
        say(server, SECRET)
        # Cookies ignore ports: a page on another port of this machine sends ours too.
        cookies = [] if is_open else [session(server)]
        found = attack(rebound_browser, f"http://{host}:{port}/", server.url, cookies)
        assert {name: found[name] for name in READS} == dict.fromkeys(READS, "blocked")
        assert texts(server) == [SECRET]


@pytest.mark.parametrize("is_open", [True, False])
def test_a_rebound_host_name_is_rejected_even_from_its_own_origin(rebound_browser, home, is_open):
    with running_server(open=is_open) as server:
        say(server, SECRET)
        site = f"http://evil.example:{server.port}"
        found = attack(rebound_browser, f"{site}/rooms/lobby", site)
        assert SECRET not in str(found)
        assert all(found[name] == "blocked" or "bad_host" in found[name] for name in READS), found
        assert texts(server) == [SECRET]


def test_the_attack_succeeds_from_an_allowed_origin(rebound_browser, home):
    """Without this, the tests above would prove nothing."""
    with foreign_site() as port:
        site = f"http://evil.example:{port}"
        with running_server(open=True, allow_origin=[site]) as server:
            say(server, SECRET)
            found = attack(rebound_browser, f"{site}/", server.url)
            assert SECRET in found["fetch"]
            assert SECRET in found["socket"]
            assert texts(server) == [SECRET, "written by an attacker"]


def test_the_page_enforces_trusted_types_and_its_content_policy(rebound_browser, home):
    """On the real page, code that violates Trusted Types or the content policy is blocked."""
    with running_server(open=True) as server:
        say(server, SECRET)
        context = rebound_browser.new_context()
        page = context.new_page()
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        answer = page.goto(f"{server.url}/rooms/lobby")
        assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
        page.get_by_role("region", name="Chat room lobby").wait_for()
        assert errors == []
        outcomes = page.evaluate(
            """() => ["innerHTML", "script"].map((way) => {
                 try {
                   if (way === "innerHTML") document.createElement("p").innerHTML = "<b>x</b>";
                   if (way === "script") document.createElement("script").src = "https://evil.example/x.js";
                   return "done";
                 } catch (error) { return error.name; }
               })"""
        )
        assert "done" not in outcomes
        context.close()


FOLLOW_LINK = """
(href) => {
  const link = document.createElement("a");
  link.href = href;
  document.body.append(link);
  link.click();
}
"""
ASKS_FOR_INVITE = "room.invite()"


@pytest.mark.parametrize("fragment", ["", "#m=1", "#invite=used"])
def test_a_member_who_follows_a_link_of_another_site_is_in_the_room(pages, fragment):
    """The cookie is not sent with the first request, so the page looks again. 127.0.0.1 and localhost are two sites."""
    with running_server() as server, foreign_site() as port:
        page = pages()
        page.context.add_cookies([session(server)])
        page.goto(f"http://localhost:{port}/")
        page.evaluate(FOLLOW_LINK, f"{server.url}/rooms/lobby{fragment}")
        page.get_by_role("region", name="Chat room lobby").get_by_role("textbox", name="Message").wait_for()
        assert page.get_by_text(ASKS_FOR_INVITE).count() == 0


def test_a_stranger_who_follows_a_link_of_another_site_is_asked_for_an_invite(pages):
    with running_server() as server, foreign_site() as port:
        page = pages()
        page.goto(f"http://localhost:{port}/")
        loaded = []
        page.on("framenavigated", lambda frame: loaded.append(frame.url))
        page.evaluate(FOLLOW_LINK, f"{server.url}/rooms/lobby")
        page.get_by_text(ASKS_FOR_INVITE).wait_for()
        assert loaded == [f"{server.url}/rooms/lobby"]
