"""Cells in JupyterLab: shared from their menu or by code, shown from a message, marked, and inserted from one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import nbformat
import pytest
from e2e.conftest import SLOW_TIMEOUT, expect
from support.eventually import eventually
from support.pictures import png

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

OPEN = "from bqwidget import Room\nroom = Room('lobby', user='ada').wait_open(30)"
SEND = "print('loss 0.21')\nroom.send('look at this', cell=True)"
OUTPUT = f"""
import pandas as pd
from IPython.display import Image, display
display(Image({png()!r}))
print('two rows')
pd.DataFrame({{'a': [1, 2], 'b': [3, 4]}})
"""


@pytest.fixture
def lab(panel, home):
    """``lab(*cells)`` opens cells.ipynb in a JupyterLab, with the file browser."""

    def open_lab(*cells: str):
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=metadata
        )
        shown = panel("jupyterlab.labapp")
        nbformat.write(notebook, home / "notebooks" / "cells.ipynb")
        server = shown.server
        shown.page.goto(f"{server.origin}{server.base}/lab/tree/cells.ipynb?token={server.token}")
        shown.wait_active()
        shown.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=SLOW_TIMEOUT)
        return shown

    return open_lab


def cell(page, text: str) -> Locator:
    return page.locator(".jp-Notebook:visible .jp-CodeCell").filter(has_text=text)


def run_all(shown) -> None:
    page = shown.page

    def has_kernel() -> bool:  # JupyterLab shows idle earlier, and loses code that is run then
        return any(session["kernel"]["connections"] for session in shown.server.ask("GET", "/api/sessions").json)

    eventually(has_kernel, what="the notebook's kernel")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=SLOW_TIMEOUT)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def messages(shown, room: str = "lobby") -> list[dict]:
    return shown.server.ask("GET", f"/bqserver/rooms/{room}/messages").json


def test_a_message_leads_to_its_cell_which_is_marked(lab, home):
    fillers = [f"x = {number}\n" * 8 for number in range(20)]
    shown = lab(OPEN, SEND, *fillers)
    page = shown.page
    run_all(shown)
    eventually(lambda: messages(shown), 60, "the message")
    (sent,) = messages(shown)
    assert sent["cell"]["path"] == "cells.ipynb"
    assert sent["text"] == f"look at this\n\n```python\n{SEND}\n```\n\n```\nloss 0.21\n```"
    shown.show()
    shown.row("lobby").click()
    window = shown.room("lobby")
    mark = page.get_by_role("button", name="1 message about this cell in lobby")
    cell(page, "x = 19").scroll_into_view_if_needed()
    assert not in_view(page, "look at this")
    window.get_by_role("button", name="Cell in cells.ipynb").click()
    mark.wait_for()
    eventually(lambda: in_view(page, "look at this"), what="the cell in view")
    page.locator(".jp-CodeCell.jp-mod-active").filter(has_text="look at this").wait_for()

    # A second message, and the mark opens the room.
    shown.server.ask("POST", "/bqserver/rooms/lobby/messages", {"user": "bob", "text": "why?", "cell": sent["cell"]})
    page.get_by_role("button", name="2 messages about this cell in lobby").wait_for()
    page.get_by_role("tab", name="lobby").locator(".lm-TabBar-tabCloseIcon").click()
    page.get_by_role("button", name="2 messages about this cell in lobby").click()
    window = shown.room("lobby")

    # It is found after its notebook was renamed, and closed.
    page.get_by_role("tab", name="cells.ipynb").click()
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Rename Notebook").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("renamed.ipynb")
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Rename")).click()
    tab = page.get_by_role("tab", name="renamed.ipynb")
    tab.wait_for()
    page.locator("[data-command='docmanager:save']").first.click()
    page.locator(".jp-mod-dirty").first.wait_for(state="detached", timeout=SLOW_TIMEOUT)
    tab.locator(".lm-TabBar-tabCloseIcon").click()
    tab.wait_for(state="detached")
    window.get_by_role("button", name="Cell in cells.ipynb").first.click()
    page.get_by_role("tab", name="renamed.ipynb").wait_for(timeout=SLOW_TIMEOUT)
    eventually(lambda: in_view(page, "look at this"), 60, "the cell in view")

    # The marks are there without the room's window, too.
    page.get_by_role("tab", name="lobby").locator(".lm-TabBar-tabCloseIcon").click()
    page.goto(f"{shown.server.origin}{shown.server.base}/lab/tree/renamed.ipynb")
    shown.wait_active()
    page.get_by_role("button", name="2 messages about this cell in lobby").click(timeout=SLOW_TIMEOUT)
    window = shown.room("lobby")

    elsewhere = {"path": "other.ipynb", "id": "not-here"}
    shown.server.ask("POST", "/bqserver/rooms/lobby/messages", {"user": "bob", "text": "and this", "cell": elsewhere})
    window.get_by_role("button", name="Cell in other.ipynb").click()
    window.get_by_role("alert").filter(has_text="does not have this cell").wait_for()


def in_view(page, text: str) -> bool:
    found = cell(page, text)
    if found.count() == 0:
        return False
    visible = """cell => {
      const { top, bottom } = cell.getBoundingClientRect();
      const view = cell.closest('.jp-WindowedPanel-outer, .jp-Notebook').getBoundingClientRect();
      return bottom > view.top && top < view.bottom;
    }"""
    return found.first.evaluate(visible)


def test_a_cell_is_shared_from_its_menu_and_code_is_inserted_below(lab):
    shown = lab(OUTPUT, "1 + 1")
    page = shown.page
    run_all(shown)
    output = cell(page, "pd.DataFrame").locator(".jp-OutputArea-output table")
    output.wait_for(timeout=SLOW_TIMEOUT)
    cell(page, "pd.DataFrame").locator(".jp-InputArea-editor").click(button="right")
    page.get_by_role("menuitem", name="Share Cell").click()
    page.get_by_role("dialog").get_by_role("textbox", name="Your name").fill("ada")
    page.get_by_role("dialog").get_by_role("button", name="Continue").click()
    page.get_by_role("dialog").get_by_role("button", name="Share").click()
    window = shown.room("lobby")
    window.get_by_role("button", name="Cell in cells.ipynb").wait_for()
    (sent,) = messages(shown)
    assert sent["user"] == "ada"
    assert [part["mime"] for part in sent["parts"]] == ["image/png", "application/vnd.bqwidget.table+json"]
    assert sent["text"].startswith("```python\nimport pandas as pd\n")
    assert sent["text"].endswith("```\ntwo rows\n```")
    window.get_by_role("table").get_by_text("4").wait_for()
    page.get_by_role("button", name="1 message about this cell in lobby").wait_for()

    shown.server.ask("POST", "/bqserver/rooms/lobby/messages", {"user": "bob", "text": "try\n```python\ny = 7\ny\n```"})
    block = window.locator(".bq-code").filter(has_text="y = 7")
    block.hover()
    block.get_by_role("button", name="Insert below").click()
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    expect(cells).to_have_count(3)
    eventually(lambda: cells.nth(2).locator(".cm-content").inner_text() == "y = 7\ny", what="below the active one")
