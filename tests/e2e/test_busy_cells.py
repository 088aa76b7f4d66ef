"""Receiving and answering messages while a cell is busy, in real JupyterLab and Notebook 7, with measured latencies.

``BQWIDGET_TEST_MESSAGES`` messages are typed into a notebook whose cell is busy (few by default; 200 is the
large size). ``BQWIDGET_TEST_KERNELS="6.31.0 7.2.0 7.3.0"`` runs the same with these versions of ipykernel, which
are installed once into pytest's cache; by default, with the installed version.
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
from e2e.conftest import SLOW_TIMEOUT, Window, expect
from support.eventually import eventually
from support.paths import ROOT

from bqwidget import Room
from bqwidget.testing import private_server

MESSAGES = int(os.environ.get("BQWIDGET_TEST_MESSAGES", "15"))
MEASURES = MESSAGES >= 200
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), *([pytest.mark.alone] if MEASURES else [])]

KERNELS = os.environ.get("BQWIDGET_TEST_KERNELS", "").split() or [ipykernel.__version__]
MAX_P95_MS = 100
"""Milliseconds: the 95th percentile of 200 messages. With few messages, other tests run at the same time."""

SHOW = """
import os
import time
import numpy
from bqwidget import Room
room = Room("lobby", user="ada").wait_open(30)
received = []

@room.on_message(background=True, where=lambda message: message.text.startswith("ping"))
def answer(message):
    received.append((int(message.text.split()[1]), time.time() * 1000))
    room.send(f"pong {message.text.split()[1]} {time.time() * 1000}", wait=False)

room
"""
BUSY = {
    "sleep": "while not os.path.exists({file!r}): time.sleep(0.5)",
    "python": "while not os.path.exists({file!r}): sum(range(1000))",
    "numpy": "some = numpy.arange(1e5)\nwhile not os.path.exists({file!r}): numpy.sin(some)",
}
"""Cells that are busy until there is a file."""

RECORD_SENT = """() => {
  window.sent = [];
  window.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.value) window.sent.push([event.target.value, Date.now()]);
  }, true);
}"""
RECORD_SEEN = """() => {
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
    """The room's page in a separate browser context, with the name carol."""
    invite_request = Request(
        f"{server.url}/invites",
        b"{}",
        {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"},
    )
    with urlopen(invite_request) as answer:
        code = json.load(answer)["code"]
    page = pages()
    page.goto(f"{server.url}/rooms/lobby#invite={code}")
    window = Window(page.get_by_role("region", name="Chat room lobby"))
    window.wait_connected()
    window.set_name("carol")
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
            spec_json = {
                "argv": argv,
                "display_name": "Python 3",
                "language": "python",
                "env": {"PYTHONPATH": paths},
            }
            # JupyterLab uses subshells only if the kernel supports them, which ipykernel 7 itself announces
            spec.write_text(json.dumps(spec_json))
        return folder

    return find


def p95(what: str, latencies: list[float]) -> float:
    median, late = statistics.median(latencies), sorted(latencies)[int(0.95 * len(latencies))]
    print(f"{what}: {len(latencies)} messages, median {median:.0f} ms, p95 {late:.0f} ms")
    return late


def wait_status(window, text: str) -> None:
    window.status.filter(has_text=text).wait_for(timeout=SLOW_TIMEOUT)


class BusyNotebook:
    """Ada's notebook with its window; cell 1 is busy until ``end``, cell 2 prints what the kernel has received."""

    def __init__(self, lab, page, app: str, busy: str) -> None:
        report = "import json; print('received', json.dumps(received), 'end')"
        self._ended = lab.folder / "ended"
        code = BUSY[busy].format(file=str(self._ended))
        self.notebook = lab.open(page, lab.notebook("ada.ipynb", SHOW, f"{code}\nprint('done')", report), app=app)
        self.notebook.run(0)
        self.window = self.notebook.room()
        self.window.wait_connected()
        self.page = page
        page.evaluate(RECORD_SENT)

    def is_busy(self) -> bool:
        return self.notebook.cell(1).locator(".jp-InputPrompt").inner_text() == "[*]:"

    def begin(self) -> None:
        self.notebook.run(1)
        eventually(self.is_busy)

    def end(self) -> None:
        assert self.is_busy()
        self._ended.touch()

    def received(self) -> list[list[float]]:
        """Wait until the kernel is idle again. Returns the received (number, time) pairs."""
        eventually(lambda: not self.is_busy(), 60)
        output = self.notebook.run(2).get_by_text("end")
        output.wait_for(timeout=SLOW_TIMEOUT)
        return json.loads(re.search(r"received (.*) end", output.inner_text())[1])


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("app", ["lab", "notebook"])
@pytest.mark.parametrize("version", KERNELS)
def test_a_busy_cell_receives_and_answers_messages(  # noqa: PLR0917 - fixtures
    jupyter, pages, server, colleague, kernel_of, version, app, busy
):
    """Messages typed in the notebook's window are received and answered in its kernel, and the answers shown on the page.

    Without subshells, when the cell has ended.
    """
    environ = {"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token}
    if version != ipykernel.__version__:
        environ["JUPYTER_PATH"] = str(kernel_of(version))
    subshells = int(version.split(".")[0]) >= 7
    numbers = range(MESSAGES if subshells else 5)
    ada = BusyNotebook(jupyter(environ=environ), pages(), app, busy)
    colleague.page.evaluate(RECORD_SEEN)
    ada.begin()
    for number in numbers:
        ada.window.say(f"ping {number}")
        if subshells:  # one at a time, to measure latency and not throughput
            colleague.wait_for(f"pong {number} ")
    if not subshells:
        wait_status(ada.window, "Kernel busy, queued")
        colleague.say("meanwhile")
        ada.window.wait_for("meanwhile")  # others' messages arrive over the kernel's own socket
    ada.end()
    colleague.wait_for(f"pong {numbers[-1]} ")
    received = ada.received()
    sent = dict(ada.page.evaluate("window.sent"))
    seen = colleague.page.evaluate("window.seen")
    assert [number for number, _ in received] == [*numbers]
    assert [number for number, _, _ in seen] == [*numbers]
    assert colleague.seqs() == sorted(set(colleague.seqs()))
    late = p95("browser to Python", [at - sent[f"ping {number}"] for number, at in received])
    seen_late = p95("Python to another browser", [shown - at for _, at, shown in seen])
    assert not MEASURES or seen_late < MAX_P95_MS
    assert not MEASURES or not subshells or late < MAX_P95_MS
    ada.window.wait_connected()


def test_without_subshells_a_message_waits_and_the_status_shows_it(jupyter, pages, server, colleague, home):
    """With JupyterLab's setting commsOverSubshells disabled."""
    settings = home / "lab-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "kernels-settings.jupyterlab-settings").write_text('{"commsOverSubshells": "disabled"}')
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    ada = BusyNotebook(lab, pages(), "lab", "sleep")
    ada.begin()
    for number in range(3):
        ada.window.say(f"ping {number}")
    wait_status(ada.window, "Kernel busy, queued")
    colleague.say("are you there?")
    ada.window.wait_for("are you there?")  # this direction does not wait
    ada.end()
    colleague.wait_for("pong 2 ")
    assert [number for number, _ in ada.received()] == [0, 1, 2]
    ada.window.wait_connected()


# ---- a flood

FLOOD_SECONDS = float(os.environ.get("BQWIDGET_TEST_FLOOD", "2"))
"""Seconds with a thousand messages each."""
COMPUTE_CELL = """
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
NEXT_FRAME = "() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
SHOWN_NUMBERS = """items => items.map(item => /flood (\\d+)!/.exec(item.textContent)).filter(Boolean).map(found => Number(found[1]))"""


def test_a_flood_during_a_computing_cell_is_shown_in_order(jupyter, pages, server):
    """Messages that scrolled past before they could be drawn are shown when scrolling back."""
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    page = pages()
    ada = lab.open(page, lab.notebook("ada.ipynb", "from bqwidget import Room", COMPUTE_CELL))
    ada.run(0)
    output = ada.run(1)
    window = ada.room()
    window.wait_connected()
    page.evaluate(WATCH_ORDER)
    with Room("lobby", user="bob", url=server.url, token=server.token) as bob:
        bob.wait_open(20)
        sent = flood(bob, FLOOD_SECONDS)
        bob.send("enough")
        output.get_by_text(f"all of them True {sent} end").wait_for(timeout=SLOW_TIMEOUT)
    window.wait_for("enough")
    assert page.evaluate("window.disorder") == 0
    seen = set(window.messages.evaluate_all(SHOWN_NUMBERS))
    assert max(seen) == sent - 1
    window.region.get_by_role("list", name="Messages").hover()

    def scrolled_to_the_first():
        page.mouse.wheel(0, -600)  # far less than what is drawn, in case that a slow page adds up several of these
        page.evaluate(NEXT_FRAME)
        seen.update(window.messages.evaluate_all(SHOWN_NUMBERS))
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


# ---- questions

ASK = """
for number, timeout in enumerate([60, 60, 1]):
    print("answer", number, room.ask(f"Question {number}?", choices=["yes", "no"], timeout=timeout, default="none"))
"""


def choose(window, question: str, choice: str) -> None:
    item = window.messages.filter(has_text=question).first
    item.get_by_role("button", name=choice, exact=True).click(timeout=SLOW_TIMEOUT)


def test_questions_in_a_loop_are_answered_by_other_members_or_expire(jupyter, pages, server, colleague):
    """One answer by a click in a second notebook, one by a click on the page, and one question without an answer."""
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    ada = lab.open(pages(), lab.notebook("ada.ipynb", SHOW, ASK))
    bob = lab.open(pages(), lab.notebook("bob.ipynb", SHOW.replace("ada", "bob")))
    ada.run(0)
    bob.run(0)
    ada.room().wait_connected()
    bob.room().wait_connected()
    output = ada.run(1)
    choose(bob.room(), "Question 0?", "no")
    output.get_by_text("answer 0 no").wait_for(timeout=SLOW_TIMEOUT)
    choose(colleague, "Question 1?", "yes")
    output.get_by_text("answer 2 none").wait_for(timeout=SLOW_TIMEOUT)
    assert "answer 1 yes" in output.inner_text()
    for window in (ada.room(), bob.room(), colleague):
        answered = window.messages.filter(has_text="Question 1?").first
        answered.get_by_text("carol").wait_for(timeout=SLOW_TIMEOUT)
        ended = window.messages.filter(has_text="Question 2?").first
        ended.get_by_text("expired").wait_for(timeout=SLOW_TIMEOUT)
        expect(window.messages.get_by_role("button", name="yes", exact=True)).to_have_count(0)


def test_an_interrupted_and_a_killed_kernel_leave_no_question_open(jupyter, pages, server, colleague):
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": server.token})
    cells = [
        SHOW,
        "room.ask('First?', choices=['yes'])",
        "import os; print('pid', os.getpid(), room.status)",
    ]
    ada = lab.open(pages(), lab.notebook("ada.ipynb", *cells, "room.ask('Second?', choices=['yes'])"))
    ada.run(0)
    ada.room().wait_connected()
    output = ada.run(1)
    colleague.wait_for("First?")
    ada.page.locator("[data-command='notebook:interrupt-kernel']").first.click()
    output.get_by_text("KeyboardInterrupt").first.wait_for(timeout=SLOW_TIMEOUT)
    first = colleague.messages.filter(has_text="First?").first
    first.get_by_text("expired").wait_for(timeout=SLOW_TIMEOUT)

    printed = ada.run(2).get_by_text("pid")
    printed.wait_for(timeout=SLOW_TIMEOUT)
    pid, state = re.search(r"pid (\d+) (\w+)", printed.inner_text()).groups()
    assert state == "open"
    ada.run(3)
    colleague.wait_for("Second?")
    second = colleague.messages.filter(has_text="Second?").first
    second.get_by_role("button", name="yes").wait_for()
    os.kill(int(pid), signal.SIGKILL)
    second.get_by_text("expired").wait_for(timeout=SLOW_TIMEOUT)
    expect(second.get_by_role("button", name="yes")).to_have_count(0)
