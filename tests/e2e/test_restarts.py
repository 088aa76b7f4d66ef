"""A kernel that was restarted from elsewhere: the window says so, and running the cell again opens it."""

from __future__ import annotations

import pytest
from bqserver.testing import running_server
from e2e.conftest import SLOW_TIMEOUT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELL = """
import os
from bqwidget import Room
room = Room("lobby", user="ada", url={url!r}).wait_open(30)
room
"""
LOSE_COMM = "room.widget.comm.kernel.comm_manager.comms.clear()"
"""What a restart in another tab does to this one: the kernel does not know the comm, and nothing says so."""


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
