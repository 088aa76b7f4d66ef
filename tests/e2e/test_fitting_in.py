"""The window as part of a notebook: its themes, its width, its keys, its kernel; in JupyterLab, and in Notebook 7 too."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from bqserver.testing import running_server
from e2e.conftest import SLOW, Jupyter, Notebook, Window
from support.eventually import eventually
from support.ws_client import member

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SHOTS = os.environ.get("BQWIDGET_TEST_SHOTS")
"""A folder for pictures of what the tests saw."""

SHOW = """
from bqwidget import Room
from IPython.display import display
room = Room("lobby", user="ada", url={url!r}).wait_open(30)
room
"""
NARROW = """
narrow = room.widget
narrow.layout.width = "250px"
narrow.layout.height = "420px"
narrow
"""
SAID = "print('|'.join(message.text for message in room.messages), 'end')"
THEMES = ["JupyterLab Dark", "JupyterLab Dark High Contrast", "JupyterLab Light"]


@pytest.fixture
def server():
    with running_server(open=True) as running:
        yield running


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def talk(url: str) -> None:
    """What makes a window look lived in: others' words, code, a mention, a question."""
    with member(url, "lobby") as bob:
        for number, (text, more) in enumerate(
            [
                ("the loss is *down* again", {}),
                ("```python\nfor step in range(10):\n    print(step)  # every one\n```", {}),
                ("look, @ada: https://example.org/a/long/address/that/has/no/place/to/break", {}),
                ("Continue?", {"ask": {"choices": ["yes", "no"]}}),
            ]
        ):
            bob.say(text, f"c{number}", "bob", **more)
            bob.until("ack")


def choose_theme(page: Page, name: str) -> None:
    label = page.locator(".lm-Menu-itemLabel:visible")
    page.get_by_role("menuitem", name="Settings").first.click()
    label.get_by_text("Theme", exact=True).hover()
    label.get_by_text(name, exact=True).click()
    page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached", timeout=SLOW)


def text_contrast(window: Window) -> float:
    """Of the message's words with the window's ground, as WCAG reckons it."""
    return window.region.evaluate(
        """
        (region) => {
          const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const light = (colour) => {
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => {
              const part = value / 255;
              return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const { color, backgroundColor } = getComputedStyle(region);
          const [dark, bright] = [light(color), light(backgroundColor)].sort((a, b) => a - b);
          return (bright + 0.05) / (dark + 0.05);
        }
        """
    )


def test_it_follows_the_theme_and_fits_a_narrow_column(server, jupyter, pages, axe):
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("themes.ipynb", SHOW.format(url=server.url), NARROW))
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    talk(server.url)
    window.wait_for("Continue?")
    window.region.locator(".bq-code-keyword").get_by_text("for").wait_for(state="attached")
    notebook.run(1)
    narrow = notebook.room(index=1)
    narrow.wait_for("Continue?")
    box = narrow.region.bounding_box()
    assert box is not None
    assert box["width"] == 250
    assert narrow.region.evaluate(
        "region => [...region.querySelectorAll('.bq-scroll')].every((each) => each.scrollWidth === each.clientWidth)"
    )
    grounds = []
    for theme in THEMES:
        choose_theme(page, theme)
        grounds.append(window.region.evaluate("region => getComputedStyle(region).backgroundColor"))
        assert text_contrast(window) > 7
        # one of the two: of two views of one room the names are the same
        assert axe(page, "[data-windowed-list-index='1'] .bq-chat") == [], theme
        shoot(page, f"lab-{theme.replace(' ', '-')}")
    assert len(set(grounds)) > 1
    assert grounds[2] == "rgb(255, 255, 255)"


def cells(notebook: Notebook) -> int:
    return notebook.page.locator(".jp-Notebook .jp-Cell").count()


def outputs_in(path: Path) -> list[object]:
    """Of its first cell; none while Jupyter is writing it."""
    with contextlib.suppress(nbformat.reader.NotJSONError):
        return nbformat.read(path, 4).cells[0].outputs
    return []


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_its_keys_are_its_own_and_saving_is_the_notebook_s(server, jupyter, pages, app):
    """Every key that would be a shortcut, in the box, in the list and on a button; then Ctrl+S."""
    lab, page = jupyter(), pages()
    name = lab.notebook("keys.ipynb", SHOW.format(url=server.url), SAID)
    notebook = lab.open(page, name, app=app)
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    window.say("hello")
    window.wait_for("hello")
    before, box = cells(notebook), window.region.get_by_role("textbox", name="Message", exact=True)
    for place in (box, window.region.locator(".bq-scroll"), window.messages.first):
        for key in ("d", "d", "a", "b", "x", "m", "Shift+M", "0", "0", "Escape", "Shift+Enter", "ArrowDown"):
            place.press(key)  # with the focus in it, whatever else has taken it meanwhile
    assert cells(notebook) == before
    assert window.messages.count() == 1
    assert not page.locator(".jp-Dialog").is_visible()
    box.fill("a draft")
    path = lab.folder / name
    assert not outputs_in(path)
    box.press("Control+s")
    eventually(lambda: outputs_in(path), SLOW / 1000, "the saved notebook")
    assert box.input_value() == "a draft"
    shoot(page, f"keys-{app}")


def test_a_draft_outlives_the_cell_and_the_window_says_when_its_kernel_is_gone(
    server, jupyter: Jupyter, pages
):
    lab, page = jupyter(), pages()
    notebook = lab.open(
        page, lab.notebook("kernel.ipynb", SHOW.format(url=server.url), "import os; os._exit(1)")
    )
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    box = window.region.get_by_role("textbox", name="Message", exact=True)
    box.fill("half a thought")
    notebook.run(0)
    window.wait_connected()
    box.and_(page.locator(":visible")).wait_for()
    assert box.input_value() == "half a thought"
    notebook.run(1)
    window.status.filter(has_text="Disconnected: run the cell again").wait_for(timeout=SLOW)
    page.locator(".jp-Dialog button").get_by_text("Ok").click()  # "The kernel appears to have died"
    assert box.input_value() == "half a thought"
    box.press("Enter")
    window.region.get_by_role("alert").filter(has_text="your text is kept").wait_for()
    eventually(lambda: box.evaluate("box => box.clientHeight > 25"), what="a box with all its text")
    shoot(page, "kernel-gone")
