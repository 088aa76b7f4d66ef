"""A notebook that was saved with its widgets, and is opened again without its kernel."""

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
MAX_WINDOW_BYTES = 5_000


@pytest.fixture
def server():
    with running_server(open=True) as running:
        yield running


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
