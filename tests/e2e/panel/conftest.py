"""JupyterLab and Notebook 7 with both halves of the extension, and a member who writes from outside."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.jupyter_server import JupyterServer, jupyter_server
from support.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SLOW_TIMEOUT = 60_000


class Panel:
    """The side panel of one page, found by its accessible names only."""

    def __init__(self, page: Page, server: JupyterServer) -> None:
        self.page = page
        self.server = server
        self.region = page.get_by_role("region", name="Chat rooms")
        self.rows = self.region.get_by_role("list", name="Rooms").get_by_role("listitem")
        self.find = self.region.get_by_role("searchbox", name="Find or start a room")

    def goto(self, path: str) -> None:
        """Open the page of ``path``, such as ``lab``, and wait until the extension is active."""
        separator = "&" if "?" in path else "?"
        self.page.goto(f"{self.server.origin}{self.server.base}/{path}{separator}token={self.server.token}")
        self.wait_active()
        # A launcher or a notebook that opens takes the focus late.
        if main := {"lab": ".jp-Launcher", "notebooks": ".jp-Notebook"}.get(path.partition("/")[0]):
            focused = f"() => document.activeElement.closest('{main}') !== null"
            self.page.wait_for_function(focused, timeout=SLOW_TIMEOUT)

    def wait_active(self) -> None:
        self.page.wait_for_function("() => document.querySelector('#bqwidget-rooms') !== null", timeout=SLOW_TIMEOUT)
        self.page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=SLOW_TIMEOUT)

    def show(self) -> None:
        """Press the shortcut, and wait for the list."""
        self.page.keyboard.press("ControlOrMeta+Alt+r")
        self.rows.first.wait_for(timeout=SLOW_TIMEOUT)

    def names(self) -> list[str]:
        """The rooms' accessible names: with what is unread, and who is there."""
        buttons = self.rows.get_by_role("button").and_(self.page.locator(".bq-room-row"))
        return buttons.evaluate_all("buttons => buttons.map(button => button.ariaLabel ?? button.innerText)")

    def row(self, name: str) -> Locator:
        return self.rows.locator(f"button[aria-label^='{name}']")

    def room(self, name: str) -> Locator:
        """The window of a room, when it is connected."""
        region = self.page.get_by_role("region", name=f"Chat room {name}", exact=True)
        region.get_by_role("status").filter(has_text="Connected").wait_for(timeout=SLOW_TIMEOUT)
        return region

    def post(self, room: str, text: str) -> None:
        """As another member."""
        answer = self.server.ask("POST", f"/bqserver/rooms/{room}/messages", {"user": "bob", "text": text})
        assert answer.status == 201, answer.body


@pytest.fixture
def panel(home: Path, home_environ: dict[str, str], pages) -> Iterator[Callable[[str], Panel]]:
    """``panel("jupyterlab.labapp" | "notebook.app")`` starts it, in a folder with the notebook ``empty.ipynb``."""
    installed = home / "share" / "labextensions"
    installed.mkdir(parents=True)
    shutil.copytree(ROOT / "server" / "labextension", installed / "bqwidget")
    environ = {
        **home_environ,
        "JUPYTER_PATH": str(home / "share"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "lab-workspaces"),
    }
    with ExitStack() as started:

        def start(app: str, **options: object) -> Panel:
            server = started.enter_context(jupyter_server(home, environ, base="/user/team", app=app))
            return Panel(pages(**options), server)

        yield start
