"""Cells that hear and answer while they are busy: real JupyterLab and Notebook 7, real kernels, and the clock.

``BQWIDGET_TEST_MESSAGES`` messages are typed into a notebook whose cell is busy (small by default; 200 is the
large size). ``BQWIDGET_TEST_KERNELS="6.31.0 7.2.0 7.3.0"`` runs the same with these versions of ipykernel, which
are installed once into pytest's cache; without it, with the one that is here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from urllib.request import Request, urlopen

import ipykernel
import pytest
from e2e.conftest import SLOW, Window
from support.eventually import eventually
from support.paths import ROOT

from bqwidget import Room
from bqwidget.testing import private_server

pytestmark = [pytest.mark.alone, pytest.mark.browser, pytest.mark.timeout(600)]

MESSAGES = int(os.environ.get("BQWIDGET_TEST_MESSAGES", "15"))
KERNELS = os.environ.get("BQWIDGET_TEST_KERNELS", "").split() or [ipykernel.__version__]
SECONDS = 10
"""How long a cell is busy; it is run again until all messages have been typed. A few need less."""
ON_TIME, IN_TIME = 100, 1000
"""Milliseconds. Of 200 messages the 95th percentile is at most ON_TIME. A few have no such percentile, and where all
tests run there is always something else running: of those, the median is held to IN_TIME, long before the cell ends."""

SHOW = """
from threading import Thread
import time
import numpy
from bqwidget import Room
room = Room("lobby", user="ada").wait_open(30)
heard = []

@room.on_message(background=True, where=lambda message: message.text.startswith("ping"))
def answer(message):
    heard.append((int(message.text.split()[1]), time.time() * 1000))
    room.send(f"pong {message.text.split()[1]} {time.time() * 1000}", wait=False)

room
"""
BUSY = {
    "sleep": "time.sleep({seconds})",
    "python": "until = time.time() + {seconds}\nwhile time.time() < until: sum(range(1000))",
    "numpy": "until, some = time.time() + {seconds}, numpy.arange(1e5)\nwhile time.time() < until: numpy.sin(some)",
}

NOTE_SENDING = """() => {
  window.sent = [];
  window.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.value) window.sent.push([event.target.value, Date.now()]);
  }, true);
}"""
NOTE_SEEING = """() => {
  window.seen = [];
  const known = new Set();
  const look = () => {
    for (const item of document.querySelectorAll("[data-seq]")) {
      const found = /pong (\\d+) ([\\d.]+)/.exec(item.textContent);
      if (found === null || known.has(found[1])) continue;
      known.add(found[1]);
      window.seen.push([Number(found[1]), Number(found[2]), Date.now()]);
    }
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


@pytest.fixture
def server():
    with private_server("--heartbeat=1") as running:
        yield running


@pytest.fixture
def colleague(server, pages):
    """The room's own page, in a browser of its own, called Carol."""
    asking = Request(
        f"{server.url}/invites",
        b"{}",
        {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"},
    )
    with urlopen(asking) as answer:
        code = json.load(answer)["code"]
    page = pages()
    page.goto(f"{server.url}/rooms/lobby#invite={code}")
    window = Window(page.get_by_role("region", name="Chat room lobby"))
    window.wait_connected()
    window.call_me("carol")
    window.page = page
    return window


@pytest.fixture(scope="session")
def kernel_of(pytestconfig):
    """``kernel_of("7.2.0")``: a folder for JUPYTER_PATH whose python3 kernel is that version of ipykernel."""

    def find(version: str) -> Path:
        folder = Path(pytestconfig.cache.mkdir("ipykernels")) / version
        if not (folder / "kernels").exists():
            install = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--target",
                folder / "lib",
            ]
            subprocess.run([*install, f"ipykernel=={version}", "nest_asyncio"], check=True)
            spec = folder / "kernels" / "python3" / "kernel.json"
            spec.parent.mkdir(parents=True)
            paths = os.pathsep.join(map(str, [folder / "lib", ROOT, ROOT / "server"]))
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            told = {
                "argv": argv,
                "display_name": "Python 3",
                "language": "python",
                "env": {"PYTHONPATH": paths},
            }
            # ipykernel 7 says so itself; JupyterLab asks for subshells only where the kernel does
            spec.write_text(json.dumps(told))
        return folder

    return find


def is_quick(what: str, taken: list[float]) -> bool:
    median, late = statistics.median(taken), sorted(taken)[int(0.95 * len(taken))]
    print(f"{what}: {len(taken)} messages, median {median:.0f} ms, p95 {late:.0f} ms")
    return late < ON_TIME if len(taken) >= 200 else median < IN_TIME


def status(window, text: str) -> None:
    window.status.filter(has_text=text).wait_for(timeout=SLOW)


class Typist:
    """Ada's notebook with its window; cell 1 is busy, cell 2 tells what the kernel has heard."""

    def __init__(self, lab, page, app: str, busy: str, seconds: float = SECONDS) -> None:
        told = "import json; print('heard', json.dumps(heard), 'end')"
        code = BUSY[busy].format(seconds=seconds)
        self.notebook = lab.open(
            page, lab.notebook("ada.ipynb", SHOW, f"{code}\nprint('done')", told), app=app
        )
        self.notebook.run(0)
        self.window = self.notebook.room()
        self.window.wait_connected()
        self.page = page
        page.evaluate(NOTE_SENDING)

    def is_busy(self) -> bool:
        return self.notebook.cell(1).locator(".jp-InputPrompt").inner_text() == "[*]:"

    def begin(self) -> None:
        self.notebook.run(1)
        eventually(self.is_busy)

    def heard(self) -> list[list[float]]:
        """Once the kernel is free again."""
        eventually(lambda: not self.is_busy(), 60)
        output = self.notebook.run(2).get_by_text("end")
        output.wait_for(timeout=SLOW)
        return json.loads(re.search(r"heard (.*) end", output.inner_text())[1])


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("app", ["lab", "notebook"])
@pytest.mark.parametrize("version", KERNELS)
def test_a_busy_cell_hears_and_is_heard(  # noqa: PLR0917 - fixtures
    jupyter, pages, server, colleague, kernel_of, version, app, busy
):
    """Typed in the notebook's own window, heard in its kernel, answered from there, and seen on the page."""
    environ = {"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token}
    if version != ipykernel.__version__:
        environ["JUPYTER_PATH"] = str(kernel_of(version))
    subshells = int(version.split(".")[0]) >= 7
    numbers = range(MESSAGES if subshells else 5)
    seconds = SECONDS if MESSAGES >= 200 or not subshells else SECONDS / 2
    ada = Typist(jupyter(environ=environ), pages(), app, busy, seconds)
    colleague.page.evaluate(NOTE_SEEING)
    ada.begin()
    for number in numbers:
        if subshells and not ada.is_busy():
            ada.begin()
        ada.window.say(f"ping {number}")
        if subshells:  # one at a time: how quick it is, and not how much can be typed
            colleague.wait_for(f"pong {number} ")
    if not subshells:
        status(ada.window, "Kernel busy, queued")
        colleague.say("meanwhile")  # what others say comes over the kernel's own socket
    colleague.wait_for(f"pong {numbers[-1]} ")
    heard = ada.heard()
    sent = dict(ada.page.evaluate("window.sent"))
    seen = colleague.page.evaluate("window.seen")
    assert [number for number, _ in heard] == [*numbers]
    assert [number for number, _, _ in seen] == [*numbers]
    assert colleague.seqs() == sorted(set(colleague.seqs()))
    assert is_quick("browser to Python", [at - sent[f"ping {number}"] for number, at in heard]) == subshells
    assert is_quick("Python to another browser", [shown - at for _, at, shown in seen])
    ada.window.wait_connected()


def test_without_subshells_a_message_waits_and_says_so(jupyter, pages, server, colleague, home):
    """JupyterLab's own switch: commsOverSubshells disabled."""
    settings = home / "lab-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "kernels-settings.jupyterlab-settings").write_text('{"commsOverSubshells": "disabled"}')
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    ada = Typist(lab, pages(), "lab", "sleep")
    ada.begin()
    for number in range(3):
        ada.window.say(f"ping {number}")
    status(ada.window, "Kernel busy, queued")
    assert ada.is_busy()
    colleague.say("are you there?")
    ada.window.wait_for("are you there?")  # this way there is no waiting
    assert ada.is_busy()
    colleague.wait_for("pong 2 ")
    assert [number for number, _ in ada.heard()] == [0, 1, 2]
    ada.window.wait_connected()


# ---- a flood ----

FLOOD = float(os.environ.get("BQWIDGET_TEST_FLOOD", "2"))
"""Seconds of a thousand messages each."""
COMPUTE = """
room = Room("lobby", user="ada", keep=100_000).wait_open(30)
display(room)
while not (room.messages and room.messages[-1].text == "enough"):
    sum(range(1000))
numbers = [int(message.text.split()[1][:-1]) for message in room.messages if message.text.startswith("flood")]
print("all of them", numbers == list(range(len(numbers))), len(numbers), "end")
"""
WATCH_ORDER = """() => {
  window.disorder = 0;
  new MutationObserver(() => {
    const seqs = [...document.querySelectorAll("[data-seq]")].map((item) => Number(item.dataset.seq));
    window.disorder += seqs.filter((seq, at) => at > 0 && seq <= seqs[at - 1]).length;
  }).observe(document.body, { childList: true, subtree: true });
}"""
NUMBERS = """items => items.map(item => /flood (\\d+)!/.exec(item.textContent)).filter(Boolean).map(found => Number(found[1]))"""


def test_a_flood_into_a_computing_cell_is_shown_in_order(jupyter, pages, server):
    """What scrolled by too fast to be drawn is there when one scrolls back."""
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    page = pages()
    ada = lab.open(page, lab.notebook("ada.ipynb", "from bqwidget import Room", COMPUTE))
    ada.run(0)
    output = ada.run(1)
    window = ada.room()
    window.wait_connected()
    page.evaluate(WATCH_ORDER)
    with Room("lobby", user="bob", url=server.url, token=server.token) as bob:
        bob.wait_open(20)
        sent = flood(bob, FLOOD)
        bob.send("enough")
        output.get_by_text(f"all of them True {sent} end").wait_for(timeout=SLOW)
    window.wait_for("enough")
    assert page.evaluate("window.disorder") == 0
    seen = set(window.messages.evaluate_all(NUMBERS))
    assert max(seen) == sent - 1
    window.region.get_by_role("list", name="Messages").hover()

    def scrolled_to_the_first():
        page.mouse.wheel(0, -3000)
        seen.update(window.messages.evaluate_all(NUMBERS))
        return 0 in seen

    eventually(scrolled_to_the_first, 120, "the first message of the flood")
    assert seen == set(range(sent))
    assert page.evaluate("window.disorder") == 0


def flood(room, seconds):
    began, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        for number in range(sent, int(elapsed * 1000)):
            room.send(f"flood {number}!", wait=False)
        sent = max(sent, int(elapsed * 1000))
        Event().wait(0.02)
    return sent


# ---- ask ----

ASK = """
for number, patience in enumerate([60, 60, 1]):
    print("answer", number, room.ask(f"Question {number}?", choices=["yes", "no"], timeout=patience, default="nobody"))
"""


def choose(window, question: str, choice: str) -> None:
    item = window.messages.filter(has_text=question).first
    item.get_by_role("button", name=choice, exact=True).click(timeout=SLOW)


def test_a_loop_is_answered_by_whoever_is_there(jupyter, pages, server, colleague):
    """A click in a second browser, a click on the page, and nobody at all."""
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    ada = lab.open(pages(), lab.notebook("ada.ipynb", SHOW, ASK))
    bob = lab.open(pages(), lab.notebook("bob.ipynb", SHOW.replace("ada", "bob")))
    ada.run(0)
    bob.run(0)
    ada.room().wait_connected()
    bob.room().wait_connected()
    output = ada.run(1)
    choose(bob.room(), "Question 0?", "no")
    output.get_by_text("answer 0 no").wait_for(timeout=SLOW)
    choose(colleague, "Question 1?", "yes")
    output.get_by_text("answer 2 nobody").wait_for(timeout=SLOW)
    assert "answer 1 yes" in output.inner_text()
    for window in (ada.room(), bob.room(), colleague):
        said = window.messages.filter(has_text="Question 1?").first
        said.get_by_text("carol").wait_for(timeout=SLOW)
        ended = window.messages.filter(has_text="Question 2?").first
        ended.get_by_text("expired").wait_for(timeout=SLOW)
        assert window.messages.get_by_role("button", name="yes", exact=True).count() == 0


def test_a_stopped_and_a_killed_kernel_leave_no_question_open(jupyter, pages, server, colleague):
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    cells = [SHOW, "room.ask('First?', choices=['yes'])", "import os; print('pid', os.getpid(), room.status)"]
    ada = lab.open(pages(), lab.notebook("ada.ipynb", *cells, "room.ask('Second?', choices=['yes'])"))
    ada.run(0)
    ada.room().wait_connected()
    output = ada.run(1)
    colleague.wait_for("First?")
    ada.page.locator("[data-command='notebook:interrupt-kernel']").first.click()
    output.get_by_text("KeyboardInterrupt").first.wait_for(timeout=SLOW)
    first = colleague.messages.filter(has_text="First?").first
    first.get_by_text("expired").wait_for(timeout=SLOW)

    told = ada.run(2).get_by_text("pid")
    told.wait_for(timeout=SLOW)
    pid, state = re.search(r"pid (\d+) (\w+)", told.inner_text()).groups()
    assert state == "open"
    ada.run(3)
    colleague.wait_for("Second?")
    second = colleague.messages.filter(has_text="Second?").first
    second.get_by_role("button", name="yes").wait_for()
    os.kill(int(pid), signal.SIGKILL)
    second.get_by_text("expired").wait_for(timeout=SLOW)
    assert second.get_by_role("button", name="yes").count() == 0
