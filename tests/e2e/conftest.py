"""A real Jupyter server with real kernels in a separate home folder, and the actions of a user in its notebooks."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import nbformat
import pytest
from support.eventually import eventually
from support.forking.server import start
from support.jupyter_server import wait_ended
from support.paths import PYTHONPATH, ROOT
from support.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, LocatorAssertions, Page

PAGES = pytest.StashKey[list["Page"]]()
SLOW_TIMEOUT = 60_000
"""Milliseconds for what takes long on a busy machine: loading JupyterLab, starting a kernel."""


RECORD_COPIED = """
(button) => {
  window.copied = false;
  const look = () => { window.copied ||= (button.ariaLabel ?? button.textContent).trim() === "Copied"; };
  new MutationObserver(look).observe(button, { attributes: true, childList: true, characterData: true, subtree: true });
}
"""

AXE = ROOT / "js/node_modules/axe-core/axe.min.js"
AXE_SCRIPT = """
async (root) => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations } = await axe.run(root, { runOnly: tags });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
    `${id}: ${target} ${failureSummary}`));
}
"""


def expect(locator: Locator) -> LocatorAssertions:
    """Playwright's assertions, which wait until they hold: ``expect(box).to_have_value("")``."""
    from playwright.sync_api import expect as expect_soon

    expect_soon.set_options(timeout=SLOW_TIMEOUT)
    return expect_soon(locator)


def copy(button: Locator) -> None:
    """Click a button that copies, and wait until it has said so: it says so for a second only, which the page records."""
    button.evaluate(RECORD_COPIED)
    button.click()
    button.page.wait_for_function("() => window.copied")


@contextmanager
def longest_task(page: Page) -> Iterator[list[float]]:
    """The CPU time of the page's longest task within the block, in milliseconds: the only element of the list, after it."""
    found: list[float] = []
    browser = page.context.browser
    browser.start_tracing(page=page, categories=["toplevel"])
    yield found
    events = json.loads(browser.stop_tracing())["traceEvents"]
    names = {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each["name"] == "thread_name"}
    tasks = [
        each["tdur"] / 1_000
        for each in events
        if each["name"].endswith("RunTask")
        and "tdur" in each
        and names.get((each["pid"], each["tid"])) == "CrRendererMain"
    ]
    assert len(tasks) > 100
    found.append(max(tasks))


class Jupyter:
    """A running Jupyter server. ``notebook`` writes a notebook, ``open`` opens it in JupyterLab or Notebook 7."""

    def __init__(self, url: str, token: str, folder: Path) -> None:
        self.url = url
        self.token = token
        self.folder = folder

    def notebook(self, name: str, *cells: str) -> str:
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=metadata)
        nbformat.write(written, self.folder / name)
        return name

    def open(self, page: Page, name: str, *, app: str = "lab") -> Notebook:
        """``app`` is ``lab`` or ``notebook``; returns when the kernel is ready."""
        path = {"lab": f"lab/workspaces/{secrets.token_hex(4)}/tree", "notebook": "notebooks"}[app]
        page.goto(f"{self.url}{path}/{name}?token={self.token}")
        self.wait_ready(page, name)
        return Notebook(page)

    def wait_ready(self, page: Page, name: str) -> None:
        """Wait until the page is connected to its kernel: JupyterLab shows idle earlier, and loses code that is run then."""
        eventually(lambda: name in self._connected(), SLOW_TIMEOUT / 1000, f"the kernel of {name}")
        page.locator('.jp-NotebookPanel [data-status="idle"]').first.wait_for(timeout=SLOW_TIMEOUT)

    def answers(self) -> bool:
        """False at first: a Jupyter server says where it is before it listens."""
        try:
            return bool(self._ask("status"))
        except URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return False
            raise

    def end_kernels(self) -> None:
        for session in self._sessions():
            self._ask(f"sessions/{session['id']}", "DELETE")

    def restart_kernel(self) -> None:
        """Restart the only kernel, as another program or tab would."""
        (session,) = self._sessions()
        self._ask(f"kernels/{session['kernel']['id']}/restart", "POST")

    def _connected(self) -> set[str]:
        return {
            session["path"]
            for session in self._sessions()
            if session["kernel"]["execution_state"] == "idle" and session["kernel"]["connections"] > 0
        }

    def _sessions(self) -> list[dict[str, Any]]:
        return json.loads(self._ask("sessions"))

    def _ask(self, path: str, method: str = "GET") -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        with urlopen(Request(f"{self.url}api/{path}", headers=headers, method=method)) as answer:
            return answer.read()


class Notebook:
    """One notebook on one page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def run(self, index: int) -> Locator:
        """Run a cell by click and Ctrl+Enter. Returns its output area without waiting for the end."""
        cell = self.cell(index)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        return cell.locator(".jp-Cell-outputArea")

    def save(self) -> None:
        self.page.locator("[data-command='docmanager:save']").first.click()
        self.page.locator(".jp-mod-dirty").first.wait_for(state="detached", timeout=SLOW_TIMEOUT)

    def room(self, name: str = "lobby", index: int = 0) -> Window:
        return Window(self.page.get_by_role("region", name=f"Chat room {name}").nth(index))


class Window:
    """A chat window, in a notebook or on the page, located by its accessible names only."""

    def __init__(self, region: Locator) -> None:
        self.region = region
        self.messages = region.get_by_role("list", name="Messages").locator("[data-seq]")
        self.status = region.get_by_role("status")

    def set_name(self, user: str) -> None:
        box = self.region.get_by_role("textbox", name="Your name")
        box.fill(user)
        box.press("Enter")

    def say(self, text: str) -> None:
        box = self.region.get_by_role("textbox", name="Message")
        box.fill(text)
        box.press("Enter")

    def wait_for(self, text: str, timeout: float = SLOW_TIMEOUT) -> None:
        self.messages.filter(has_text=text).first.wait_for(timeout=timeout)

    def wait_connected(self, *, connected: bool = True) -> None:
        text = re.compile(r"^\s*Connected" if connected else r"^\s*(?!Connected)\S")
        self.status.filter(has_text=text).wait_for(timeout=SLOW_TIMEOUT)

    def seqs(self) -> list[int]:
        return [int(seq) for seq in self.messages.evaluate_all("items => items.map(item => item.dataset.seq)")]


@pytest.fixture
def jupyter(home: Path, home_environ: dict[str, str]) -> Iterator[Callable[..., Jupyter]]:
    """``jupyter(theme="JupyterLab Dark", environ={...})`` starts a server, which is stopped at the end of the test.

    Our own extension is disabled in it, so that its kernels use the user's local server.
    """
    started: list[subprocess.Popen[str]] = []

    def start(theme: str = "JupyterLab Light", environ: dict[str, str] | None = None) -> Jupyter:
        folder = home / f"notebooks-{len(started)}"
        process, server = start_lab(home, {**home_environ, **(environ or {})}, folder, theme)
        started.append(process)
        return server

    yield start
    for process in started:
        process.terminate()
    for process in started:
        wait_ended(process)


@pytest.fixture
def unused_port() -> int:
    return free_port()


def start_lab(home: Path, environ: dict[str, str], folder: Path, theme: str) -> tuple[subprocess.Popen[str], Jupyter]:
    """Create ``folder`` and start JupyterLab in it, without this project's Jupyter extension."""
    folder.mkdir()
    disabled = home / "first" / "jupyter_server_config.d" / "bqserver.json"
    disabled.parent.mkdir(parents=True, exist_ok=True)
    disabled.write_text(
        json.dumps({"ServerApp": {"jpserver_extensions": {"bqserver.extension": False, "jupyter_server_mcp": False}}})
    )
    begin = partial(start, "--allow-root", f"--ServerApp.root_dir={folder}", module="jupyterlab.labapp")
    paths = {
        "PYTHONPATH": PYTHONPATH,
        "JUPYTER_CONFIG_PATH": str(home / "first"),
    }
    return run_jupyter(begin, home, {**paths, **environ}, folder, {"themes": {"theme": theme}})


def save_widget_state(home: Path) -> None:
    """Let JupyterLab save the state of widgets in notebooks."""
    folder = home / "lab-settings" / "@jupyter-widgets" / "jupyterlab-manager"
    folder.mkdir(parents=True)
    (folder / "plugin.jupyterlab-settings").write_text(json.dumps({"saveState": True}))


def run_jupyter(
    begin: Callable[..., subprocess.Popen[str]],
    home: Path,
    environ: dict[str, str],
    folder: Path,
    settings: dict[str, dict[str, object]] | None = None,
) -> tuple[subprocess.Popen[str], Jupyter]:
    """Call ``begin(*arguments, **options)``, which starts a Jupyter server in this folder, and wait until it serves.

    It fetches no news and does not autosave; ``settings`` are JupyterLab's for apputils-extension.
    """
    all_settings = {"notification": {"fetchNews": "false", "checkForUpdates": False}, **(settings or {})}
    for name, value in all_settings.items():
        _write_setting(home, f"apputils-extension/{name}", value)
    _write_setting(home, "docmanager-extension/plugin", {"autosave": False})
    token = secrets.token_hex(16)
    with (home / "jupyter.log").open("ab") as log:
        process = begin(
            "--no-browser",
            "--ServerApp.port=0",
            env={
                **environ,
                "JUPYTER_TOKEN": token,
                "JUPYTERLAB_SETTINGS_DIR": str(home / "lab-settings"),
                "JUPYTERLAB_WORKSPACES_DIR": str(home / "lab-workspaces"),
            },
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    info = home / "jupyter-runtime" / f"jpserver-{process.pid}.json"
    eventually(lambda: process.poll() is not None or _read(info), 600, "JupyterLab's start")
    assert process.poll() is None, Path(log.name).read_text()
    jupyter = Jupyter(_read(info)["url"], token, folder)
    eventually(jupyter.answers, SLOW_TIMEOUT / 1000, "JupyterLab's first answer")
    return process, jupyter


def _write_setting(home: Path, name: str, value: dict[str, object]) -> None:
    path = home / "lab-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _read(path: Path) -> dict[str, str]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # not written yet, or incomplete
        return {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Save a screenshot of every page when a test fails."""
    report = yield
    shown = item.stash.get(PAGES, [])
    if report.when == "call" and report.failed:
        for number, page in enumerate(shown):
            picture = item.funcargs["home"] / f"page-{number}.png"
            page.screenshot(path=picture)
            report.sections.append(("page", str(picture)))
    return report


@pytest.fixture
def pages(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """``pages()`` opens a new browser context, with its own cookies and storage, and returns its page."""
    opened = request.node.stash[PAGES] = []

    def new(**options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(SLOW_TIMEOUT)
        opened.append(context.new_page())
        return opened[-1]

    yield new
    for page in opened:
        page.context.close()


@pytest.fixture
def axe(missing) -> Callable[..., list[str]]:
    """``axe(page)``: the violations that axe finds on the page, one string per node."""
    if not AXE.exists():
        missing("axe-core (npm ci --ignore-scripts, in js)")
    source = AXE.read_text()

    def findings(page: Page, root: str = ":root") -> list[str]:
        page.evaluate(source)
        return page.evaluate(AXE_SCRIPT, root)

    return findings
