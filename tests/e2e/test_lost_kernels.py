"""A window whose kernel was restarted from elsewhere, or is not there: it says so, and running its cell opens it."""

from __future__ import annotations

import contextlib
import json
import shutil

import nbformat
import pytest
from bqserver.testing import running_server
from e2e.conftest import SLOW_TIMEOUT, expect, save_widget_state
from support.eventually import eventually
from support.paths import ROOT

from bqwidget import Room

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELL = """
from bqwidget import Room
room = Room("lobby", user="ada", url={url!r}).wait_open(30)
room
"""
LOSE_COMM = "room.widget.comm.kernel.comm_manager.comms.clear()"
"""What a restart in another tab does to this one: the kernel does not know the comm, and nothing says so."""
ROW_CELL = "from ipywidgets import HBox, HTML\nHBox([room.widget, HTML('a plot')])"
MAX_WINDOW_BYTES = 5_000
"""Of the saved state of one window."""


@pytest.fixture
def server():
    with running_server(open=True) as running:
        yield running


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_cell_runs_again_after_a_restart_from_elsewhere(server, jupyter, pages, app):
    """JupyterLab is not informed of it: it sends to a subshell that does not exist any more."""
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("restart.ipynb", CELL.format(url=server.url)), app=app)
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


def read_outputs(path):
    """The notebook, once outputs of all its cells are saved: in Notebook 7 nothing shows when that is done."""
    with contextlib.suppress(nbformat.reader.NotJSONError):  # it is being written
        notebook = nbformat.read(path, 4)
        return notebook if all(cell.outputs for cell in notebook.cells) else None


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_reopened_notebook_without_saved_widgets_says_it_too(server, home, jupyter, pages, app):
    """Trusted, and its widgets are not saved, as by default; ipywidgets alone says "model not found"."""
    extensions = home / "share" / "labextensions"
    extensions.mkdir(parents=True)
    shutil.copytree(ROOT / "server" / "labextension", extensions / "bqwidget")
    lab, page = jupyter(environ={"JUPYTER_PATH": str(home / "share")}), pages()
    name = lab.notebook("reopened.ipynb", CELL.format(url=server.url), "room.widget", ROW_CELL)
    notebook = lab.open(page, name, app=app)
    notebook.run(0)
    notebook.room().wait_connected()
    notebook.run(1)
    notebook.room(index=1).wait_connected()
    notebook.run(2)
    notebook.room(index=2).wait_connected()
    notebook.save()
    saved = eventually(lambda: read_outputs(lab.folder / name), what="the saved outputs")
    assert "widgets" not in saved.metadata
    assert len(json.dumps([cell.outputs for cell in saved.cells])) < 3 * 1_000

    sentence = "Chat room lobby: run this cell to open its window."
    lab.end_kernels()
    again = pages()
    reopened = lab.open(again, name, app=app)
    for cell in (reopened.cell(0), reopened.cell(1)):
        cell.locator(".jp-Cell-outputArea").get_by_text(sentence, exact=True).wait_for(timeout=SLOW_TIMEOUT)
    row = "Chat room lobby, among other widgets: run this cell to open it."
    reopened.cell(2).get_by_text(row, exact=True).wait_for(timeout=SLOW_TIMEOUT)
    assert reopened.page.get_by_text("model not found").count() == 0
    reopened.run(0)
    reopened.room().wait_connected()
    expect(reopened.cell(0).get_by_text(sentence, exact=True)).to_have_count(0)
    reopened.run(2)
    reopened.room(index=1).wait_connected()
    expect(reopened.cell(2).get_by_text(row, exact=True)).to_have_count(0)

    from bleach import clean
    from nbconvert import HTMLExporter

    exported, _ = HTMLExporter().from_notebook_node(saved)
    page_file = home / "exported.html"
    page_file.write_text(exported)
    offline = pages(offline=True)
    offline.goto(page_file.as_uri(), wait_until="domcontentloaded")
    offline.get_by_text(sentence, exact=True).nth(1).wait_for()
    offline.get_by_text("HBox(children=(ChatWidget('lobby', user='ada'), HTML(value='a plot')))").wait_for()
    output = saved.cells[0].outputs[0].data["text/html"]
    assert clean(output, tags={"p", "b"}, attributes={}) == output  # no renderer of HTML removes any of it
