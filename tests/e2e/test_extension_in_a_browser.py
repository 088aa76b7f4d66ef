"""Two users on one Jupyter server, behind a proxy and a base path: two notebooks and a page share one room."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from e2e.conftest import SLOW_TIMEOUT, expect
from support.eventually import eventually
from support.jupyter_server import jupyter_server
from support.nginx import nginx

pytestmark = pytest.mark.browser
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
IDENTITY_CONFIG = """
from jupyter_server.auth import IdentityProvider, User

PROFILES = {
    "ada": dict(display_name="Ada Lovelace", initials="AL", color="var(--jp-collaborator-color3)"),
    "bob": dict(initials="B!", color="gold", avatar_url=PICTURE),
}

class TestIdentity(IdentityProvider):
    def get_user_token(self, handler):
        name, _, word = (self.get_token(handler) or "").partition("-")
        return User(name, **PROFILES.get(name, {})) if word == "token" else super().get_user_token(handler)

c.ServerApp.identity_provider_class = TestIdentity
"""


def notebook(path: Path, cell: str) -> str:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)], metadata=kernel), path)
    return path.name


def open_room(server, page, url: str, name: str, token: str):
    """Open the notebook with a user's token and run its cell. Returns the room's region once it is connected."""
    page.goto(f"{url}/lab/workspaces/{token}/tree/{name}?token={token}")

    def has_kernel() -> bool:  # JupyterLab shows idle earlier, and loses code that is run then
        kernels = {one["path"]: one["kernel"] for one in server.ask("GET", "/api/sessions").json}
        return name in kernels and kernels[name]["connections"] > 0

    eventually(has_kernel, SLOW_TIMEOUT / 1000, f"the kernel of {name}")
    page.locator('.jp-NotebookPanel [data-status="idle"]').first.wait_for(timeout=SLOW_TIMEOUT)
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+Enter")
    return connected(page)


def connected(page):
    region = page.get_by_role("region", name="Chat room lobby").first
    region.get_by_role("status").filter(has_text=re.compile("^Connected")).wait_for(timeout=SLOW_TIMEOUT)
    return region


def say(region, text: str) -> None:
    box = region.get_by_role("textbox", name="Message")
    box.fill(text)
    box.press("Enter")


def wait_for_message(region, text: str, user: str) -> None:
    item = region.get_by_role("list", name="Messages").locator("[data-seq]").filter(has_text=text)
    item.first.wait_for(timeout=SLOW_TIMEOUT)
    item.filter(has_text=user).first.wait_for()


def check_profiles(server, notebook, page) -> None:
    """Verified names are marked and have Jupyter's initials and colours; an unverified name is marked as such."""
    guest = {"user": "carol", "text": "from a client with the token"}
    assert server.ask("POST", "/bqserver/messages", guest).status == 201
    for region in (notebook, page):
        wait_for_message(region, guest["text"], "carol")
        asserted = region.locator("[data-seq]").filter(has_text=guest["text"])
        asserted.get_by_text("not verified", exact=True).wait_for()
        expect(asserted.get_by_text("verified by the server")).to_have_count(0)
    ada = page.locator("[data-seq]").filter(has_text="from ada's notebook")
    expect(ada.get_by_text("verified by the server")).to_have_count(1)
    expect(ada.get_by_text("Ada Lovelace")).to_have_count(1)
    disc = ada.locator(".bq-avatar")
    expect(disc).to_have_text("AL")
    # The page has no JupyterLab theme and uses the third colour of the light one. Its policy allows style properties.
    expect(disc).to_have_css("background-color", "rgb(0, 126, 0)")
    bob = notebook.locator("[data-seq]").filter(has_text="from bob's page").locator(".bq-avatar")
    expect(bob).to_have_css("background-color", "rgb(255, 215, 0)")  # the canvas's value of gold
    assert PICTURE in bob.evaluate("disc => getComputedStyle(disc).backgroundImage")
    page.get_by_role("button", name=re.compile("here")).click()
    people = page.get_by_role("list", name="People here").get_by_role("listitem")
    expect(people.filter(has_text="ada").first.get_by_text("verified by the server")).to_have_count(1)
    if shots := os.environ.get("BQWIDGET_TEST_SHOTS"):
        page.page.screenshot(path=f"{shots}/names-page.png")
        notebook.page.screenshot(path=f"{shots}/names-notebook.png")
    page.page.keyboard.press("Escape")


@pytest.mark.timeout(300)
def test_two_notebooks_and_a_page_share_a_room_under_verified_names(home, home_environ, pages, missing, unused_port):
    config = home / "jupyter-config" / "jupyter_server_config.py"
    config.parent.mkdir()
    config.write_text(IDENTITY_CONFIG.replace("PICTURE", repr(PICTURE)))
    cell = "from bqwidget import Room\nRoom('lobby', user='anything')"
    with jupyter_server(home, home_environ, base="/user/team", app="jupyterlab.labapp") as server:
        names = [notebook(home / "notebooks" / f"{who}.ipynb", cell) for who in ("ada", "bob")]
        with nginx(PROXY.format(port=unused_port, origin=server.origin), unused_port, home, missing):
            url = f"http://127.0.0.1:{unused_port}{server.base}"
            ada_page, bob_page = pages(), pages()
            ada = open_room(server, ada_page, url, names[0], "ada-token")
            bob = open_room(server, bob_page, url, names[1], "bob-token")
            say(ada, "from ada's notebook")
            wait_for_message(bob, "from ada's notebook", "ada")
            bob_page.goto(f"{url}/bqserver/rooms/lobby")
            bob = connected(bob_page)
            wait_for_message(bob, "from ada's notebook", "ada")
            say(bob, "from bob's page")
            wait_for_message(ada, "from bob's page", "bob")
            check_profiles(server, ada, bob)
            messages = server.ask("GET", "/bqserver/messages").json[:2]
        assert [(m["user"], m["verified"]) for m in messages] == [("ada", True), ("bob", True)]
        anonymous = pages()
        assert "/login?next=" in (anonymous.goto(f"{server.origin}{server.rooms}/rooms/lobby") or anonymous).url
