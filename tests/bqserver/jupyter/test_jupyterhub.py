"""bqserver as a service of a real JupyterHub: users and kernels in one room under verified names."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
from e2e.conftest import copy
from support.eventually import eventually
from support.jupyter_server import CONFIG_PATH, JupyterServer
from support.paths import PYTHONPATH, ROOT
from support.ports import free_ports
from support.ws_client import Answer, member, request
from websockets.exceptions import InvalidStatus

if TYPE_CHECKING:
    from playwright.sync_api import Page

POST = {"user": "grace", "text": "hi"}
GRACE, STRANGER, OPERATOR = (f"service-token-of-{name}" for name in ("grace", "a-stranger", "the-operator"))

CONFIG = """
import sys
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser", "--allow-root"]
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home-{{username}}"
c.LocalProcessSpawner.interrupt_timeout = c.LocalProcessSpawner.term_timeout = 1  # Jupyter Server hangs when both signals are sent
c.JupyterHub.tornado_settings = dict(slow_spawn_timeout=0)
c.Spawner.http_timeout = c.Spawner.start_timeout = 60
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"

{documented}
# ---- settings for the test only
c.JupyterHub.services[0]["command"] = [sys.executable, "-m", "bqserver", "--jupyterhub", "--log=memory"]
c.JupyterHub.services[0]["command"] += ["--ChatServer.recheck=1"]
c.JupyterHub.services[0]["environment"] = {environment!r}
c.Spawner.environment |= {environment!r}
hub_rooms = c.Spawner.environment["BQWIDGET_URL"]
c.Spawner.environment["BQWIDGET_URL"] = lambda spawner: "" if spawner.user.name == "erin" else hub_rooms
for name, token, scopes in (
    ("grace", {grace!r}, ["access:services!service=chat"]),
    ("stranger", {stranger!r}, ["list:users"]),
    ("operator", {operator!r}, ["admin:users", "admin:servers", "access:servers"]),
):
    c.JupyterHub.services += [dict(name=name, api_token=token)]
    c.JupyterHub.load_roles += [dict(name=name + "s-role", scopes=scopes, services=[name])]
"""


class LoggedInBrowser:
    """A logged-in browser: keeps cookies by path and follows redirects."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.jar = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.jar))
        (xsrf,) = re.findall(rb'name="_xsrf" value="([^"]+)"', self.get("/hub/login"))
        self.get(
            "/hub/login?next=/hub/home",
            urlencode({"username": name, "password": "x", "_xsrf": xsrf.decode()}),
        )

    def get(self, path: str, form: str | None = None) -> bytes:
        """The page after all redirects; with ``form``, the answer to posting it."""
        outgoing = Request(self.url + path, form and form.encode(), {"Sec-Fetch-Mode": "navigate"})
        try:
            with self.opener.open(outgoing, timeout=60) as answer:
                return answer.read()
        except HTTPError as error:
            with error:
                return error.read()

    def cookies(self, path: str) -> str:
        outgoing = Request(self.url + path)
        self.jar.add_cookie_header(outgoing)
        return outgoing.get_header("Cookie") or ""

    def xsrf(self, path: str) -> str:
        return re.findall(r"_xsrf=([^;]+)", self.cookies(path))[0].strip('"')

    def fetch(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send a request as the page's script does."""
        headers = {"Cookie": self.cookies(path), "Origin": self.url, "Sec_Fetch_Mode": "cors", **headers}
        return request(self.url, method, path, body, **headers)


@pytest.fixture(scope="module")
def jupyterhub(missing):
    if importlib.util.find_spec("jupyterhub") is None:
        missing("jupyterhub (pip install jupyterhub)")


@pytest.fixture(scope="module")
def url(node, jupyterhub, missing, tmp_path_factory):
    proxy = ROOT / "js" / "node_modules" / ".bin" / "configurable-http-proxy"
    if not proxy.exists():
        missing("configurable-http-proxy (npm ci in js/)")
    folder = tmp_path_factory.mktemp("hub")
    shutil.copytree(ROOT / "server" / "labextension", folder / "share" / "labextensions" / "bqwidget")
    (folder / "jupyter_server_config.json").write_text('{"ServerApp": {"jpserver_extensions": {"jupyterlab": true}}}')
    ports = free_ports(4)
    environment = {
        "PYTHONPATH": os.pathsep.join([PYTHONPATH, *filter(None, sys.path)]),
        "JUPYTER_CONFIG_PATH": os.pathsep.join([CONFIG_PATH, str(folder)]),
        "JUPYTER_PATH": str(folder / "share"),
        "BQWIDGET_DATA_DIR": str(folder / "data"),
        "BQWIDGET_RUNTIME_DIR": str(folder / "runtime"),
    }
    names = ("port", "hub_port", "api_port", "chat_port")
    config = folder / "jupyterhub_config.py"
    given = dict(zip(names, ports, strict=True), proxy=[node, str(proxy)], folder=folder, environment=environment)
    documented = re.search(r"```py\n(.*?)```", (ROOT / "server" / "README.md").read_text(), re.DOTALL)[1]
    documented = documented.replace("https://hub.example.org", f"http://127.0.0.1:{ports[0]}")
    given["documented"] = documented.replace("10101", str(ports[3]))
    given |= {"grace": GRACE, "stranger": STRANGER, "operator": OPERATOR}
    config.write_text(CONFIG.format(**given))
    log = folder / "hub.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)],
            cwd=folder,
            env={**os.environ, **environment, "HOME": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{ports[0]}"

    def up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return request(url, "GET", "/services/chat/health").status == 200
        except OSError:
            return False

    try:
        eventually(up, 180, "JupyterHub and its service")
        yield url
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.timeout(240)
def test_users_share_a_room_under_verified_names(url):
    assert request(url, "GET", "/services/chat/messages").status == 401
    ada, bob = LoggedInBrowser(url, "ada"), LoggedInBrowser(url, "bob")
    page = ada.get("/services/chat/rooms/lobby")
    assert b'data-session="yes"' in page
    assert b'"user":"ada"' in page
    bob.get("/services/chat/rooms/lobby")

    seqs = []
    for who, name in ((ada, "ada"), (bob, "bob")):
        posted = who.fetch("POST", "/services/chat/messages", POST)
        assert (posted.status, posted.json["user"], posted.json["verified"]) == (201, name, True)
        seqs.append(posted.json["seq"])
    listed = ada.fetch("GET", "/services/chat/messages").json  # other tests have written there too
    assert [m["user"] for m in listed if m["seq"] in seqs] == ["ada", "bob"]

    chat = f"{url}/services/chat"
    with (
        member(chat, Cookie=ada.cookies("/services/chat/"), Origin=url) as one,
        member(chat, query="?user=ada", Cookie=bob.cookies("/services/chat/"), Origin=url) as other,
    ):
        assert (one.recv()["user"], other.recv()["user"]) == ("ada", "bob")
        other.say("I am ada", user="ada")
        assert one.until("message")["entry"]["user"] == "bob"
        other.send({"type": "chat.delete", "cid": "d", "user": "ada", "target": seqs[0]})
        assert other.until("error")["code"] == "forbidden"

    for origin in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert ada.fetch("POST", "/services/chat/messages", POST, **origin).code == "bad_origin"
        with pytest.raises(InvalidStatus), member(chat, Cookie=ada.cookies("/services/chat/"), **origin):
            pass
    assert ada.fetch("POST", "/services/chat/session", {"invite": "x"}).code == "no_invites"


@pytest.mark.timeout(240)
def test_a_logout_from_the_hub_closes_connections(url):
    frank, gina = LoggedInBrowser(url, "frank"), LoggedInBrowser(url, "gina")
    chat, path = f"{url}/services/chat", "/services/chat/"
    for who in (frank, gina):
        who.get("/services/chat/rooms/lobby")
    cookies = frank.cookies(path)
    with (
        member(chat, Cookie=cookies, Origin=url) as one,
        member(chat, Cookie=gina.cookies(path), Origin=url) as other,
    ):
        one.until("synced")
        frank.get("/hub/logout")
        assert one.close_code() == 4401
        other.send({"type": "chat.ping"})
        other.until("synced")
    assert request(url, "GET", f"{path}messages", Cookie=cookies).status == 401


@pytest.mark.timeout(240)
def test_services_need_the_scope_and_are_marked_as_services(url):
    said = {"Authorization": f"token {GRACE}"}
    posted = request(url, "POST", "/services/chat/messages", POST, **said)
    assert (posted.json["user"], posted.json["verified"]) == ("grace (service)", True)
    for token in (STRANGER, "guess"):
        refused = request(url, "GET", "/services/chat/messages", Authorization=f"token {token}")
        assert refused.status == 401


def start_server(url: str, name: str) -> JupyterServer:
    """Start the single-user server of ``name`` by the Hub's API."""
    operator = {"Authorization": f"token {OPERATOR}"}
    assert request(url, "POST", f"/hub/api/users/{name}", **operator).status in (201, 409)
    request(url, "POST", f"/hub/api/users/{name}/server", **operator)
    server = JupyterServer(None, f"{url}/user/{name}", OPERATOR, None)
    eventually(lambda: server.ask("GET", "/api/status").status == 200, 180, f"the server of {name}")
    return server


@pytest.mark.timeout(300)
def test_kernels_of_two_users_share_a_room_under_their_names(url):
    code = "from bqwidget import Room; room = Room('class', user='someone'); print(room.send('here', timeout=30))"
    outputs = [start_server(url, name).kernel().run(code) for name in ("carol", "dave")]
    assert ["user='carol'" in outputs[0], "user='dave'" in outputs[1]] == [True, True]
    said = request(url, "GET", "/services/chat/rooms/class/messages", Authorization=f"token {GRACE}").json
    assert [(m["user"], m["verified"]) for m in said] == [("carol", True), ("dave", True)]


@pytest.mark.timeout(240)
def test_a_single_user_server_has_its_own_rooms(url):
    """The extension with the Hub's logins: for users with access to that server, under their own name."""
    start_server(url, "erin")
    erin = LoggedInBrowser(url, "erin")
    rooms = "/user/erin/bqserver"
    page = erin.get(f"{rooms}/rooms/lobby")
    assert b'"user":"erin"' in page
    xsrf = {"X_XSRFToken": erin.xsrf(f"{rooms}/")}
    posted = erin.fetch("POST", f"{rooms}/messages", POST, **xsrf)
    assert (posted.status, posted.json["user"], posted.json["verified"]) == (201, "erin", True)
    with member(f"{url}{rooms}", Cookie=erin.cookies(f"{rooms}/"), Origin=url) as one:
        assert one.recv()["user"] == "erin"
    assert erin.fetch("POST", f"{rooms}/messages", POST, **xsrf, Origin="https://evil.example").status == 403
    stranger = LoggedInBrowser(url, "mallory")
    assert b"bqwidget-state" not in stranger.get(f"{rooms}/rooms/lobby")
    assert stranger.fetch("GET", f"{rooms}/messages").status in (401, 403)


@pytest.fixture
def open_page(browser):
    """``open_page(url, path, name)``: a browser in which ``name`` has logged in to the Hub, at ``path``."""
    with ExitStack() as contexts:

        def open_page(url: str, path: str, name: str) -> Page:
            context = contexts.enter_context(browser.new_context(permissions=["clipboard-read", "clipboard-write"]))
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.goto(f"{url}/hub/login?{urlencode({'next': path})}")
            page.get_by_label("Username").fill(name)
            page.get_by_label("Password").fill("x")
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(lambda address: "/hub/login" not in address)
            return page

        yield open_page


def copied_link(page: Page, hint: str) -> str:
    """What "Share" in the side panel's lobby copies."""
    page.locator("#bqwidget-rooms").wait_for(state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.keyboard.press("ControlOrMeta+Alt+r")
    page.locator("button[aria-label^='lobby']").click()
    room = page.get_by_role("region", name="Chat room lobby")
    room.get_by_role("button", name="Share").click()
    room.get_by_text(hint).wait_for()
    copy(room.get_by_role("button", name="Copy link"))
    return page.evaluate("navigator.clipboard.readText()")


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_a_link_from_a_user_s_panel_leads_another_user_into_the_room(url, open_page):
    start_server(url, "hana")
    hana = open_page(url, "/user/hana/lab", "hana")
    link = copied_link(hana, "For everyone who may log in here")
    assert link == f"{url}/services/chat/rooms/lobby"
    ivan = open_page(url, link.removeprefix(url), "ivan")
    ivan.get_by_role("textbox", name="Message").fill("I am in")
    ivan.keyboard.press("Enter")
    hana.get_by_role("region", name="Chat room lobby").get_by_text("I am in").wait_for()


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_share_says_who_may_use_a_user_s_own_server(url, open_page):
    start_server(url, "erin")
    erin = open_page(url, "/user/erin/lab", "erin")
    link = copied_link(erin, "For people who may use erin’s server. Rooms for everyone on this JupyterHub need")
    assert link == f"{url}/user/erin/bqserver/rooms/lobby"
    mallory = open_page(url, "/user/erin/bqserver/rooms/lobby", "mallory")
    assert mallory.get_by_role("region", name="Chat room lobby").count() == 0


def test_a_service_is_not_taken_for_the_user_of_the_same_name(jupyterhub):
    from bqserver.jupyter.jupyterhub import identity_from_model

    assert identity_from_model({"name": "ada", "kind": "user"}, is_program=False).principal == "ada"
    assert identity_from_model({"name": "ada", "kind": "service"}, is_program=True).principal == "ada (service)"


def test_starting_without_a_hub_is_an_error(home, jupyterhub):
    done = subprocess.run(
        [sys.executable, "-m", "bqserver", "--jupyterhub"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no Hub has started this process" in done.stderr
    assert done.stdout == ""
