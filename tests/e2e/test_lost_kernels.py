"""A window whose kernel was restarted from elsewhere, or is not there: it says so, and running its cell opens it."""

from __future__ import annotations

import json

import nbformat
import pytest
from bqserver.testing import running_server
from e2e.conftest import SLOW_TIMEOUT, save_widget_state

from bqwidget import Room

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELL = """
from bqwidget import Room
room = Room("lobby", user="ada", url={url!r}).wait_open(30)
room
"""
LOSE_COMM = "room.widget.comm.kernel.comm_manager.comms.clear()"
"""What a restart in another tab does to this one: the kernel does not know the comm, and nothing says so."""
MAX_WINDOW_BYTES = 5_000
"""Of the saved state of one window."""


@pytest.fixture
def server():
    with running_server(open=True) as running:
        yield running


def test_a_cell_runs_again_after_a_restart_from_elsewhere(server, jupyter, pages):
    """JupyterLab is not informed of it: it sends to a subshell that does not exist any more."""
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("restart.ipynb", CELL.format(url=server.url)))
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    lab.restart_kernel()
    window.status.filter(has_text="run the cell again").wait_for(timeout=SLOW_TIMEOUT)
    notebook.run(0)
    window.wait_connected()
    window.say("again")
    window.wait_for("again")


def test_the_window_says_that_its_kernel_does_not_know_it(server, jupyter, pages):
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("unknown.ipynb", CELL.format(url=server.url), LOSE_COMM))
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    notebook.run(1)
    window.status.filter(has_text="Disconnected: run the cell again").wait_for(timeout=SLOW_TIMEOUT)


def test_a_reopened_notebook_says_how_to_open_its_window(server, home, jupyter, pages):
    save_widget_state(home)
    lab, page = jupyter(), pages()
    name = lab.notebook("saved.ipynb", CELL.format(url=server.url), "room.widget")
    notebook = lab.open(page, name)
    with Room("lobby", user="bob", url=server.url) as bob:
        bob.send("between us")
    notebook.run(0)
    notebook.room().wait_for("between us")
    notebook.save()
    saved = nbformat.read(lab.folder / name, 4)
    state = saved.metadata.widgets["application/vnd.jupyter.widget-state+json"].state
    windows = [model for model in state.values() if model.model_name == "AnyModel"]
    assert len(windows) == 1
    assert len(json.dumps(windows)) < MAX_WINDOW_BYTES
    assert "between us" not in json.dumps(saved)

    lab.end_kernels()
    again = pages()
    reopened = lab.open(again, name)
    output = reopened.cell(0).locator(".jp-Cell-outputArea")
    output.get_by_text("its window opens when its kernel answers").wait_for(timeout=SLOW_TIMEOUT)
    assert reopened.room().region.count() == 0
    reopened.run(0)
    reopened.room().wait_for("between us")
