"""Two people on one Jupyter server, behind a proxy and a prefix: two notebooks and a page are one room."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from support.eventually import eventually
from support.jupyter_server import jupyter_server
from support.nginx import nginx
from support.paths import ROOT

pytestmark = pytest.mark.browser
SLOW = 60_000
PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC"
PROXY = """
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 50m;
    location / {{
        proxy_pass {origin};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
        proxy_read_timeout 600s;
    }}
}}
"""
BADGES = """
from jupyter_server.auth import IdentityProvider, User

LOOKS = {
    "ada": dict(display_name="Ada Lovelace", initials="AL", color="var(--jp-collaborator-color3)"),
    "bob": dict(initials="B!", color="gold", avatar_url=PICTURE),
}

class Badges(IdentityProvider):
    def get_user_token(self, handler):
        name, _, word = (self.get_token(handler) or "").partition("-")
        return User(name, **LOOKS.get(name, {})) if word == "badge" else super().get_user_token(handler)

c.ServerApp.identity_provider_class = Badges
"""


def notebook(path: Path, cell: str) -> str:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)], metadata=kernel), path)
    return path.name


def open_room(server, page, url: str, name: str, badge: str):
    """Open the notebook as somebody, run its cell, and give the room's region once it says that it is connected."""
    page.goto(f"{url}/lab/workspaces/{badge}/tree/{name}?token={badge}")

    def met() -> bool:  # JupyterLab looks idle before, and loses what is run then
        kernels = {one["path"]: one["kernel"] for one in server.ask("GET", "/api/sessions").json}
        return name in kernels and kernels[name]["connections"] > 0

    eventually(met, SLOW / 1000, f"the kernel of {name}")
    page.locator('.jp-NotebookPanel [data-status="idle"]').first.wait_for(timeout=SLOW)
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+Enter")
    return connected(page)


def connected(page):
    region = page.get_by_role("region", name="Chat room lobby").first
    region.get_by_role("status").filter(has_text=re.compile("^Connected")).wait_for(timeout=SLOW)
    return region


def say(region, text: str) -> None:
    box = region.get_by_role("textbox", name="Message")
    box.fill(text)
    box.press("Enter")


def sees(region, text: str, user: str) -> None:
    item = region.get_by_role("list", name="Messages").locator("[data-seq]").filter(has_text=text)
    item.first.wait_for(timeout=SLOW)
    assert user in region.inner_text()


def looks_as_jupyter_says(server, notebook, page) -> None:
    """Names that the server knows are marked, with Jupyter's initials and colours; another one is told from them."""
    guest = {"user": "carol", "text": "from somebody with the token"}
    assert server.ask("POST", "/bqserver/messages", guest).status == 201
    for region in (notebook, page):
        sees(region, guest["text"], "carol")
        asserted = region.locator("[data-seq]").filter(has_text=guest["text"])
        asserted.get_by_text("not verified", exact=True).wait_for()
        assert asserted.get_by_text("verified by the server").count() == 0
    ada = page.locator("[data-seq]").filter(has_text="from ada's notebook")
    assert ada.get_by_text("verified by the server").count() == 1
    assert ada.get_by_text("Ada Lovelace").count() == 1
    disc = ada.locator(".bq-avatar")
    assert disc.inner_text() == "AL"
    # The page has no theme of JupyterLab's: its light one's third colour. A style property passes the page's policy.
    assert disc.evaluate("disc => getComputedStyle(disc).backgroundColor") == "rgb(0, 126, 0)"
    bob = notebook.locator("[data-seq]").filter(has_text="from bob's page").locator(".bq-avatar")
    assert (
        bob.evaluate("disc => getComputedStyle(disc).backgroundColor") == "rgb(255, 215, 0)"
    )  # as canvas knows gold
    assert PICTURE in bob.evaluate("disc => getComputedStyle(disc).backgroundImage")
    page.get_by_role("button", name=re.compile("here")).click()
    people = page.get_by_role("list", name="People here").get_by_role("listitem")
    assert people.filter(has_text="ada").first.get_by_text("verified by the server").count() == 1
    if shots := os.environ.get("BQWIDGET_TEST_SHOTS"):
        page.page.screenshot(path=f"{shots}/names-page.png")
        notebook.page.screenshot(path=f"{shots}/names-notebook.png")
    page.page.keyboard.press("Escape")


@pytest.mark.timeout(300)
def test_two_notebooks_and_a_page_are_one_room_under_verified_names(
    home, home_environ, pages, missing, unused_port
):
    config = home / "jupyter-config" / "jupyter_server_config.py"
    config.parent.mkdir()
    config.write_text(BADGES.replace("PICTURE", repr(PICTURE)))
    cell = "from bqwidget import Room\nRoom('lobby', user='anything')"
    with jupyter_server(home, home_environ, base="/user/team", app="jupyterlab") as server:
        names = [notebook(home / "notebooks" / f"{who}.ipynb", cell) for who in ("ada", "bob")]
        with nginx(PROXY.format(port=unused_port, origin=server.origin), unused_port, home, missing):
            url = f"http://127.0.0.1:{unused_port}{server.base}"
            ada_page, bob_page = pages(), pages()
            ada = open_room(server, ada_page, url, names[0], "ada-badge")
            bob = open_room(server, bob_page, url, names[1], "bob-badge")
            say(ada, "from ada's notebook")
            sees(bob, "from ada's notebook", "ada")
            bob_page.goto(f"{url}/bqserver/rooms/lobby")
            bob = connected(bob_page)
            sees(bob, "from ada's notebook", "ada")
            say(bob, "from bob's page")
            sees(ada, "from bob's page", "bob")
            looks_as_jupyter_says(server, ada, bob)
            listed = server.ask("GET", "/bqserver/messages").json[:2]
        assert [(m["user"], m["verified"]) for m in listed] == [("ada", True), ("bob", True)]
        stranger = pages()
        assert "/login?next=" in (stranger.goto(f"{server.origin}{server.rooms}/rooms/lobby") or stranger).url


@pytest.mark.timeout(300)
def test_the_launcher_opens_the_rooms_of_this_server(home, home_environ, pages):
    installed = home / "share" / "labextensions"
    installed.mkdir(parents=True)
    shutil.copytree(ROOT / "server" / "labextension", installed / "bqwidget-launcher")
    environ = {**home_environ, "JUPYTER_PATH": str(home / "share")}
    with jupyter_server(home, environ, base="/user/team", app="jupyterlab") as server:
        page = pages()
        page.goto(f"{server.origin}{server.base}/lab?token={server.token}")
        card = page.locator(".jp-LauncherCard", has_text="Chat rooms")
        card.wait_for(timeout=SLOW)
        with page.context.expect_page() as opened:
            card.click()
        connected(opened.value)
        assert opened.value.url == f"{server.origin}{server.rooms}/rooms/lobby"
