"""The size of the window in the containers that people put it in: a row, a column, a panel of its own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from bqserver.testing import running_server
from e2e.conftest import Window
from support.eventually import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELL = """
from bqwidget import ChatWidget, Room
from ipywidgets import HTML, Accordion, AppLayout, Box, HBox, Layout, Tab, VBox

def fixed(widget):
    widget.layout.height = "180px"
    return widget

url = {url!r}
room = Room("lobby", user="ada", url=url).wait_open(30)
plot = HTML("<div style='width:400px;height:600px;background:#9bd'>a plot</div>")
"""
LAYOUTS = {
    "room": (848, 442),
    "HBox([room.widget, plot])": (444, 600),
    "HBox([room.widget, Room('other', user='ada', url=url).widget])": (424, 442),
    "VBox([room.widget, HTML('below')], layout=Layout(height='600px'))": (848, 560),
    "VBox([room.widget, HTML('below')], layout=Layout(height='300px'))": (848, 260),
    "HBox([VBox([HTML('above'), room.widget]), plot], layout=Layout(max_height='400px'))": (444, 360),
    "Box([room.widget], layout=Layout(width='fit-content'))": (482, 442),
    "Box([room.widget], layout=Layout(width='200px'))": (200, 442),
    "AppLayout(left_sidebar=room.widget, center=plot)": (280, 600),
    "Tab([room.widget])": (820, 442),
    "Accordion([room.widget], selected_index=0)": (820, 442),
    "fixed(ChatWidget(room))": (848, 176),
}
"""What a cell shows, and the width and height of its window, within 40 pixels: themes have paddings of their own."""


@pytest.fixture
def server():
    with running_server(open=True) as running:
        yield running


def size(window: Window) -> tuple[float, float]:
    box = window.region.bounding_box()
    assert box is not None
    return box["width"], box["height"]


def window_in(output: Locator) -> Window:
    window = Window(output.get_by_role("region", name="Chat room lobby"))
    window.wait_connected()
    return window


def test_the_window_fills_its_container_and_is_never_too_narrow_to_read(server, jupyter, pages):
    lab, page = jupyter(), pages()
    page.set_viewport_size({"width": 1280, "height": 720})
    notebook = lab.open(page, lab.notebook("layouts.ipynb", CELL.format(url=server.url), *LAYOUTS))
    notebook.run(0)
    for number, (layout, sides) in enumerate(LAYOUTS.items(), 1):
        window = window_in(notebook.run(number))
        expected = tuple(pytest.approx(side, abs=40) for side in sides)
        with suppress(AssertionError):  # what is next to it is drawn later
            eventually(lambda: size(window) == expected, 20)  # noqa: B023
        assert (layout, size(window)) == (layout, expected)


def test_a_row_in_notebook_7_has_room_for_the_window(server, jupyter, pages):
    lab, page = jupyter(), pages()
    row = "HBox([room.widget, plot])"
    notebook = lab.open(page, lab.notebook("row.ipynb", CELL.format(url=server.url), row), app="notebook")
    notebook.run(0)
    window = window_in(notebook.run(1))
    expected = (pytest.approx(704, abs=40), pytest.approx(600, abs=40))
    with suppress(AssertionError):  # what is next to it is drawn later
        eventually(lambda: size(window) == expected, 20)
    assert size(window) == expected


IS_BELOW_THE_HEADER = """region => {
  const [header, icon] = [".bq-header", ".bq-empty .bq-icon"].map((part) => region.querySelector(part).getBoundingClientRect());
  return icon.top >= header.bottom;
}"""
LINES = """list => [...list.querySelectorAll("dt")].map((words) => {
  const [above, below] = [words, words.nextElementSibling].map((each) => each.getBoundingClientRect());
  return { isAbove: above.bottom <= below.top + 1, aligned: Math.abs(above.left - below.left) <= 1 };
})"""
"""For each line of code in an empty room: whether the words that say what it does are above it."""


def test_the_examples_of_an_empty_room_are_below_their_words(server, jupyter, pages):
    """JupyterLab has rules of its own for such lists."""
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("empty.ipynb", CELL.format(url=server.url), "room"))
    notebook.run(0)
    window = window_in(notebook.run(1))
    assert window.region.locator("dl").evaluate(LINES) == [{"isAbove": True, "aligned": True}] * 4
    page.set_viewport_size({"width": 640, "height": 900})
    eventually(lambda: size(window)[0] < 400, what="a narrow window")
    assert window.region.evaluate(IS_BELOW_THE_HEADER)


def test_the_window_follows_the_height_of_its_own_panel(server, jupyter, pages):
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("panel.ipynb", CELL.format(url=server.url), "room"))
    notebook.run(0)
    window_in(notebook.run(1))
    notebook.cell(1).locator(".jp-OutputArea-output").first.click(button="right")
    page.get_by_role("menuitem", name="Create New View for Cell Output").click()
    panel = page.locator(".jp-LinkedOutputView")
    window = window_in(panel)
    for height in (900, 600):
        page.set_viewport_size({"width": 1280, "height": height})
        eventually(lambda: is_filled(panel, window), 20, f"a window as high as its panel at {height} pixels")


def is_filled(panel: Locator, window: Window) -> bool:
    box = panel.bounding_box()
    assert box is not None
    return abs(box["height"] - size(window)[1]) < 10
