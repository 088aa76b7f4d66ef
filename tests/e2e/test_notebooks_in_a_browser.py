"""Rooms in real JupyterLab and Notebook 7 in a real Chromium, together with the room's page; the notebooks/ of this project."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import nbformat
import pytest
from e2e.conftest import SLOW_TIMEOUT, Jupyter, Notebook, Window
from support.eventually import eventually
from support.paths import ROOT
from support.processes import is_running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SHOW = "from bqwidget import Room\nroom = Room('lobby', user='{user}')\nroom"
ALL_NUMBERED = """() => [...document.querySelectorAll(".jp-Notebook .jp-CodeCell .jp-InputPrompt")]
    .every((prompt) => /^\\[[0-9]+\\]:$/.test(prompt.textContent))"""
ERRORS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
PRINT_TEXTS = "print('|'.join(message.text for message in room.messages))"


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_two_kernels_and_the_page_show_the_same_messages(jupyter: Callable[..., Jupyter], pages, app: str) -> None:
    """Without configuration: the first kernel starts the local server, the second finds it."""
    lab = jupyter()
    notebooks = []
    for user in ("ada", "bob"):
        name = lab.notebook(f"{user}.ipynb", SHOW.format(user=user), "print(room.invite())", PRINT_TEXTS)
        notebooks.append(lab.open(pages(), name, app=app))
    windows = []
    for notebook in notebooks:
        notebook.run(0)
        windows.append(notebook.room())
    link = notebooks[0].run(1).get_by_text("#invite=").inner_text().strip()
    page = pages()
    page.goto(link)
    windows.append(Window(page.get_by_role("region", name="Chat room lobby")))
    windows[-1].set_name("carol")

    texts = [f"message {number}" for number in range(9)]
    for number, text in enumerate(texts):
        windows[number % 3].say(text)
        windows[(number + 1) % 3].wait_for(text)
    for window in windows:
        for text in texts:
            window.wait_for(text)
    orders = [window.seqs() for window in windows]
    assert orders[0] == sorted(set(orders[0]))
    assert orders[0] == orders[1] == orders[2]
    for notebook in notebooks:
        notebook.run(2).get_by_text("|".join(texts)).wait_for()


def test_two_views_of_one_room(jupyter: Callable[..., Jupyter], pages) -> None:
    lab = jupyter()
    notebook = lab.open(pages(), lab.notebook("ada.ipynb", SHOW.format(user="ada"), "room"))
    notebook.run(0)
    notebook.room().say("before the second view")
    notebook.room().wait_for("before the second view")
    notebook.run(1)
    first, second = notebook.room(index=0), notebook.room(index=1)
    second.wait_for("before the second view")
    second.say("from the second")
    first.wait_for("from the second")
    eventually(lambda: first.seqs() == second.seqs(), what="the seq of what the second said")


def test_a_reloaded_page_shows_the_room_again(jupyter: Callable[..., Jupyter], pages) -> None:
    lab = jupyter()
    page = pages()
    notebook = lab.open(page, lab.notebook("ada.ipynb", SHOW.format(user="ada"), "room.send('meanwhile')"))
    notebook.run(0)
    notebook.room().say("before the reload")
    notebook.room().wait_for("before the reload")
    notebook.save()
    page.reload()
    lab.wait_ready(page, "ada.ipynb")
    notebook.room().wait_for("before the reload")
    notebook.run(1)
    notebook.room().wait_for("meanwhile")


def run_all(lab: Jupyter, pages, name: str) -> Notebook:
    """One of the notebooks/, without the saved outputs, opened in a page that is high enough for all of its cells."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    nbformat.write(notebook, lab.folder / f"{name}.ipynb")
    opened = lab.open(pages(viewport={"width": 1280, "height": 5000}), f"{name}.ipynb")
    opened.page.get_by_role("menuitem", name="Run", exact=True).click()
    opened.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return opened


def wait_until_run(notebook: Notebook) -> None:
    """Until every code cell has the number of its run, and none has written an error."""
    notebook.page.wait_for_function(ALL_NUMBERED, timeout=2 * SLOW_TIMEOUT)
    assert notebook.page.locator(ERRORS).all_inner_texts() == []


@pytest.mark.timeout(600)
def test_a_finished_notebook_has_a_connected_window(jupyter: Callable[..., Jupyter], pages) -> None:
    lab = jupyter()
    for name in ("quickstart", "react", "watch", "pictures", "bot", "assistant", "class"):
        notebook = run_all(lab, pages, name)
        wait_until_run(notebook)
        notebook.room(name).wait_connected()
        assert notebook.room(name).seqs() != []
        notebook.page.close()
        lab.end_kernels()


def test_the_reader_answers_the_question_of_a_running_cell(jupyter: Callable[..., Jupyter], pages) -> None:
    notebook = run_all(jupyter(), pages, "ask")
    notebook.room("ask").region.get_by_role("button", name="0.001", exact=True).click()
    notebook.cell(1).get_by_text("a learning rate of 0.001").wait_for(timeout=SLOW_TIMEOUT)
    wait_until_run(notebook)
    notebook.room("ask").wait_connected()


class Server:
    """A bqserver on a fixed port, which can be killed and started again with the same history."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "bqserver",
            f"--port={self.port}",
            f"--log=sqlite:{self.folder / 'log.sqlite'}",
        ]
        environ = {
            **os.environ,
            "BQSERVER_TOKEN": "token",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}",
        }
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        assert "listening" in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def post(self, text: str) -> None:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer token"}
        body = json.dumps({"user": "script", "text": text}).encode()
        with urlopen(Request(f"{self.url}/messages", body, headers)) as answer:
            assert answer.status == 201


@pytest.fixture
def server(home: Path, unused_port: int) -> Iterator[Server]:
    started = Server(home, unused_port)
    yield started
    started.kill()


def test_windows_reconnect_when_a_killed_server_is_started_again(
    jupyter: Callable[..., Jupyter], pages, server: Server
) -> None:
    lab = jupyter(environ={"BQWIDGET_URL": server.url, "BQWIDGET_TOKEN": "token"})
    windows = []
    for user in ("ada", "bob"):
        notebook = lab.open(pages(), lab.notebook(f"{user}.ipynb", SHOW.format(user=user)))
        notebook.run(0)
        windows.append(notebook.room())
    windows[0].say("before")
    windows[1].wait_for("before")

    server.kill()
    for window in windows:
        window.wait_connected(connected=False)
    windows[0].say("while the server is down")
    server.start()
    server.post("after the restart")
    for window in windows:
        window.wait_for("while the server is down")
        window.wait_for("after the restart")
        window.wait_connected()
    windows[1].say("continued")
    windows[0].wait_for("continued")
    eventually(lambda: windows[0].seqs() == windows[1].seqs())  # bob's own window knows its seq by the acknowledgement
    for text in ("before", "while the server is down", "after the restart", "continued"):
        assert windows[0].messages.filter(has_text=text).count() == 1


def test_a_room_replaces_a_killed_local_server(jupyter: Callable[..., Jupyter], pages, home: Path) -> None:
    lab = jupyter()
    notebook = lab.open(pages(), lab.notebook("ada.ipynb", SHOW.format(user="ada")))
    notebook.run(0)
    window = notebook.room()
    window.say("before")
    window.wait_for("before")
    first = json.loads((home / "runtime" / "server.json").read_text())["pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not is_running(first))
    window.say("after")
    window.wait_for("after")
    assert [text for text in ("before", "after") if window.messages.filter(has_text=text).count() != 1] == []
