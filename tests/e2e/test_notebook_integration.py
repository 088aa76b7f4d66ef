"""The window in a notebook: themes, width, keyboard shortcuts and kernel, in JupyterLab and Notebook 7."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from bqserver.testing import running_server
from e2e.conftest import SLOW_TIMEOUT, Jupyter, Notebook, Window, expect
from support.eventually import eventually
from support.ws_client import member

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SCREENSHOT_FOLDER = os.environ.get("BQWIDGET_TEST_SHOTS")
"""A folder for screenshots of the tests."""

SHOW_CELL = """
from bqwidget import Room
from IPython.display import display
room = Room("lobby", user="ada", url={url!r}).wait_open(30)
room
"""
NARROW_CELL = """
narrow = room.widget
narrow.layout.width = "250px"
narrow.layout.height = "420px"
narrow
"""
PRINT_CELL = "print('|'.join(message.text for message in room.messages), 'end')"
THEMES = ["JupyterLab Dark", "JupyterLab Dark High Contrast", "JupyterLab Light"]


@pytest.fixture
def server():
    with running_server(open=True) as running:
        yield running


def screenshot(page: Page, name: str) -> None:
    if SCREENSHOT_FOLDER:
        page.screenshot(path=Path(SCREENSHOT_FOLDER) / f"{name}.png")


def send_messages(url: str) -> None:
    """Fill the room with typical messages of another member: text, code, a mention, a question."""
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
    page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached", timeout=SLOW_TIMEOUT)


def text_contrast(window: Window) -> float:
    """The WCAG contrast ratio of message text to the window's background."""
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


def test_the_window_follows_the_theme_and_fits_a_narrow_column(server, jupyter, pages, axe):
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("themes.ipynb", SHOW_CELL.format(url=server.url), NARROW_CELL))
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    send_messages(server.url)
    window.wait_for("Continue?")
    window.region.locator(".bq-code-keyword").get_by_text("for").wait_for(state="attached")
    notebook.run(1)
    narrow = notebook.room(index=1)
    narrow.wait_for("Continue?")
    eventually(lambda: (narrow.region.bounding_box() or {}).get("width") == 250, what="a narrow window")
    assert narrow.region.evaluate(
        "region => [...region.querySelectorAll('.bq-scroll')].every((each) => each.scrollWidth === each.clientWidth)"
    )
    backgrounds = []
    for theme in THEMES:
        choose_theme(page, theme)
        backgrounds.append(window.region.evaluate("region => getComputedStyle(region).backgroundColor"))
        assert text_contrast(window) > 7
        # only one of the two views, because both have the same accessible names
        assert axe(page, "[data-windowed-list-index='1'] .bq-chat") == [], theme
        screenshot(page, f"lab-{theme.replace(' ', '-')}")
    assert len(set(backgrounds)) > 1
    assert backgrounds[2] == "rgb(255, 255, 255)"


def cells(notebook: Notebook) -> int:
    return notebook.page.locator(".jp-Notebook .jp-Cell").count()


def outputs_of(path: Path) -> list[object]:
    """The outputs of the notebook's first cell; empty while Jupyter is writing the file."""
    with contextlib.suppress(nbformat.reader.NotJSONError):
        return nbformat.read(path, 4).cells[0].outputs
    return []


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_keys_in_the_window_trigger_no_shortcuts_except_saving(server, jupyter, pages, app):
    """Keys that are notebook shortcuts, pressed in the box, the list and a message; then Ctrl+S."""
    lab, page = jupyter(), pages()
    name = lab.notebook("keys.ipynb", SHOW_CELL.format(url=server.url), PRINT_CELL)
    notebook = lab.open(page, name, app=app)
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    window.say("hello")
    window.wait_for("hello")
    before, box = cells(notebook), window.region.get_by_role("textbox", name="Message", exact=True)
    for target in (box, window.region.locator(".bq-scroll"), window.messages.first):
        for key in ("d", "d", "a", "b", "x", "m", "Shift+M", "0", "0", "Escape", "Shift+Enter", "ArrowDown"):
            target.press(key)  # focuses it first, whatever has the focus
    assert cells(notebook) == before
    expect(window.messages).to_have_count(1)
    assert not page.locator(".jp-Dialog").is_visible()
    box.fill("a draft")
    path = lab.folder / name
    assert not outputs_of(path)
    box.press("Control+s")
    eventually(lambda: outputs_of(path), SLOW_TIMEOUT / 1000, "the saved notebook")
    assert box.input_value() == "a draft"
    screenshot(page, f"keys-{app}")


def test_a_draft_survives_running_the_cell_again_and_the_window_shows_a_lost_kernel(server, jupyter: Jupyter, pages):
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("kernel.ipynb", SHOW_CELL.format(url=server.url), "import os; os._exit(1)"))
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    box = window.region.get_by_role("textbox", name="Message", exact=True)
    box.fill("half a sentence")
    before = box.element_handle()
    notebook.run(0)
    before.wait_for_element_state("hidden", timeout=SLOW_TIMEOUT)
    window.wait_connected()
    expect(box.and_(page.locator(":visible"))).to_have_value("half a sentence")
    notebook.run(1)
    window.status.filter(has_text="Disconnected: run the cell again").wait_for(timeout=SLOW_TIMEOUT)
    page.locator(".jp-Dialog button").get_by_text("Ok").click()  # "The kernel appears to have died"
    assert box.input_value() == "half a sentence"
    box.press("Enter")
    window.region.get_by_role("alert").filter(has_text="your text is kept").wait_for()
    eventually(lambda: box.evaluate("box => box.clientHeight > 25"), what="a box with all its text")
    screenshot(page, "kernel-gone")


def test_the_column_is_as_wide_as_reading_needs_and_the_wheel_leaves_the_chat_at_its_end(server, jupyter, pages):
    lab, page = jupyter(), pages(viewport={"width": 1900, "height": 700})
    cells = [SHOW_CELL.format(url=server.url), "print(*range(200), sep=chr(10))", "room.close()"]
    notebook = lab.open(page, lab.notebook("wheel.ipynb", *cells))
    notebook.run(1).get_by_text("199").wait_for(timeout=SLOW_TIMEOUT)
    notebook.run(0)
    window = notebook.room()
    window.wait_connected()
    send_messages(server.url)
    window.say("\n".join(["mine"] * 40))
    window.wait_for("mine")
    column = window.region.get_by_role("list", name="Messages").evaluate(
        "list => list.clientWidth - 2 * parseFloat(getComputedStyle(list).paddingInlineStart)"
    )
    assert 800 < column < 900 < window.region.evaluate("region => region.clientWidth")

    chat = window.region.locator(".bq-scroll")
    from_end, top = (
        "chat => chat.scrollHeight - chat.clientHeight - chat.scrollTop",
        "chat => chat.getBoundingClientRect().top",
    )
    chat.hover()
    page.mouse.wheel(0, -100)
    eventually(lambda: chat.evaluate(from_end) > 50, what="the chat scrolled up")
    before = chat.evaluate(top)

    def notebook_scrolls() -> bool:
        page.mouse.wheel(0, 100)
        return chat.evaluate(top) < before

    eventually(notebook_scrolls, 20, "the notebook scrolled down")
    assert chat.evaluate(from_end) < 1
    notebook.run(2)
    window.status.filter(has_text="You left: run the cell again to come back").wait_for(timeout=SLOW_TIMEOUT)
    assert "bq-bad" not in (window.status.get_attribute("class") or "")
    screenshot(page, "left")


def test_formulas_and_the_colours_of_code_come_from_the_kernel(server, jupyter: Jupyter, pages):
    lab, page = jupyter(), pages()
    notebook = lab.open(page, lab.notebook("formula.ipynb", SHOW_CELL.format(url=server.url)))
    notebook.run(0)
    window = notebook.room()
    with member(server.url, "lobby") as other:
        other.say("so $\\frac12$\n\n```py\nimport this\n```", "c-formula", "bob")
        other.until("ack")
    window.region.locator("math mfrac").wait_for()
    window.region.locator(".bq-code-keyword").get_by_text("import", exact=True).wait_for()


def test_only_what_this_browser_and_its_kernel_said_can_be_edited(server, jupyter: Jupyter, pages):
    lab, page = jupyter(), pages()
    show = (
        SHOW_CELL.format(url=server.url)
        .replace('"ada"', '"jovyan"')
        .replace("\nroom\n", '\nroom.send("by code")\nroom')
    )
    notebook = lab.open(page, lab.notebook("names.ipynb", show))
    notebook.run(0)
    window = notebook.room()
    window.wait_for("by code")
    window.say("typed")
    window.wait_for("typed")
    with member(server.url, "lobby") as other:
        other.say("by another", "1.another", "jovyan")
        other.until("ack")
    window.wait_for("by another")
    for text, own in (("by code", 1), ("typed", 1), ("by another", 0)):
        window.messages.filter(has_text=text).hover()
        actions = window.messages.filter(has_text=text).get_by_role("group", name="Message actions")
        actions.wait_for()
        expect(actions.get_by_role("button", name="Edit")).to_have_count(own)
    window.messages.filter(has_text="by code").get_by_text("your kernel").wait_for()
    sides = [
        window.messages.filter(has_text=text).locator(".bq-bubble").bounding_box() for text in ("by code", "typed")
    ]
    assert sides[0]["x"] + sides[0]["width"] < sides[1]["x"]  # only what the reader typed is on their side
    window.region.get_by_text("Others may be called “jovyan” too").wait_for()
    screenshot(page, "names")
