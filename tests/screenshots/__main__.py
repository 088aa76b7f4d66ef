"""The pictures of the guides, taken from the running product: ``python tests/screenshots [FOLDER]``.

A real JupyterLab with a real kernel, and the room's web page on a phone, in a real Chromium. Three members talk: Ada in
her notebook, Bob on the phone, and a training run, a kernel whose cell is busy. Once in light colours, once in dark
ones. Written to ``notebooks/images``, or to FOLDER.

Needs the extra ``test`` and a Chromium, like the browser tests, whose helpers it uses. Takes about a minute.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT), str(ROOT / "server")]

from conftest import CHROMIUM_FLAGS, find_chromium, stop_local_server  # noqa: E402
from e2e.conftest import Jupyter, Window, start_lab  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402
from support.jupyter_server import wait_ended  # noqa: E402

from bqwidget.testing import Member  # noqa: E402

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
MAX_BYTES = 150_000
LAB_SIZE, PHONE_SIZE = (1000, 1100), (430, 620)
"""Pixels: width, height."""
WINDOW_GROWS = 260
"""Pixels by which the window's lower edge is dragged down."""
SHOW = """\
from bqwidget import Room
room = Room("vision", user="ada")
room"""
TRAIN = """\
from night import scores, train
run = Room("vision", user="run 17")            # the run is a member of its own

for batch in run.track(range(12_000), "training"):
    loss = train(batch)
    if batch == 6_000:
        run.send(scores, "Halfway. Snow is still hard:")
        if run.ask(f"Loss {loss:.2f}. Keep training?", choices=["yes", "no"]) == "no":
            break"""
NIGHT = """\
import time
import pandas as pd

def train(batch):
    time.sleep(0.0008)
    return 1.9 * 0.9998**batch

scores = pd.DataFrame({"weather": ["rain", "snow"], "recall": [0.91, 0.79], "loss": [0.41, 0.66]})
"""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        path = find_chromium(playwright) or sys.exit("no Chromium found: python -m playwright install chromium")
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        for scheme, theme in THEMES.items():
            with tempfile.TemporaryDirectory(prefix="bqwidget-screenshots-") as home:
                take(browser, scheme, theme, Path(home), folder)
        browser.close()


def take(browser: Browser, scheme: str, theme: str, home: Path, folder: Path) -> None:
    with jupyter(home, theme) as lab:
        (lab.folder / "night.py").write_text(NIGHT)
        page = new_page(browser, scheme, *LAB_SIZE)
        notebook = lab.open(page, lab.notebook("night-run.ipynb", SHOW, TRAIN))
        page.keyboard.press("Control+b")  # hides the side bar
        notebook.run(0)
        ada = notebook.room("vision")
        ada.wait_connected()
        drag_lower_edge(page, ada)

        phone = new_page(browser, scheme, *PHONE_SIZE)
        with Member("bob", "vision") as program:
            phone.goto(program.room.invite())
        bob = Window(phone.get_by_role("region", name="Chat room vision"))
        bob.wait_connected()
        bob.set_name("bob")

        bob.say("How is the new augmentation doing? I'm on the train until ten")
        ada.wait_for("augmentation")
        ada.say("It starts now. Stay here, it will ask us **halfway**")
        bob.wait_for("halfway")
        notebook.run(1)
        for window in (ada, bob):
            window.wait_for("Keep training?")
        with Member("bob", "vision") as program:
            table = next(message for message in program.room.messages if message.parts)
            program.room.react(table, "👀")
        phone.get_by_text("ada is typing").wait_for(state="hidden")
        phone.get_by_role("textbox", name="Message").press_sequentially("Snow needs more data, but I w")
        ada.region.get_by_text("bob is typing").wait_for()

        page.mouse.move(0, 0)
        page.locator(".jp-WindowedPanel-outer").evaluate("notebook => notebook.scrollTop = 0")
        save(page, folder / f"jupyterlab-{scheme}.png")
        save(phone, folder / f"phone-{scheme}.png")


def new_page(browser: Browser, scheme: str, width: int, height: int) -> Page:
    viewport = {"width": width, "height": height}
    return browser.new_context(viewport=viewport, color_scheme=scheme, locale="en-GB").new_page()


def drag_lower_edge(page: Page, window: Window) -> None:
    box = window.region.bounding_box()
    x, y = box["x"] + box["width"] - 5, box["y"] + box["height"] - 5
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + WINDOW_GROWS)
    page.mouse.up()


def save(page: Page, path: Path) -> None:
    page.screenshot(path=path, animations="disabled", caret="hide")
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes", flush=True)
    if size >= MAX_BYTES:
        sys.exit(f"{path} has {size:,} bytes: a picture of the guides has less than {MAX_BYTES:,}")


@contextmanager
def jupyter(home: Path, theme: str) -> Iterator[Jupyter]:
    """A JupyterLab in ``home``, where this process finds the same local server as its kernels."""
    for variable, name in {
        "BQWIDGET_RUNTIME_DIR": "runtime",
        "BQWIDGET_DATA_DIR": "data",
        "JUPYTER_CONFIG_DIR": "jupyter-config",
        "JUPYTER_DATA_DIR": "jupyter-data",
        "JUPYTER_RUNTIME_DIR": "jupyter-runtime",
        "IPYTHONDIR": "ipython",
        "HOME": "",
    }.items():
        os.environ[variable] = str(home / name)
    shutil.copytree(ROOT / "server" / "labextension", home / "share" / "labextensions" / "bqwidget")
    environ = {
        "JUPYTER_PATH": str(home / "share"),
        "JUPYTER_CONFIG_PATH": str(home / "jupyter-config"),
    }  # enables both halves
    process, server = start_lab(home, {**os.environ, **environ}, home / "notebooks", theme)
    try:
        yield server
    finally:
        process.terminate()
        wait_ended(process)
        stop_local_server(home / "runtime")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "notebooks" / "images")
