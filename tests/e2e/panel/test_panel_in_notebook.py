"""The side panel in Notebook 7, which has no tabs: rooms open in the panel."""

from __future__ import annotations

import nbformat
import pytest
from support.eventually import eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SLOW_TIMEOUT = 60_000
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def test_a_room_next_to_a_notebook_stays_over_a_reload(panel, home):
    shown = panel("notebook.app")
    page = shown.page
    cells = [nbformat.v4.new_code_cell("1 + 1"), nbformat.v4.new_code_cell("2 + 2")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), home / "notebooks" / "two.ipynb")
    shown.post("runs", "hello in runs")
    shown.goto("notebooks/two.ipynb")
    shown.show()
    shown.row("runs").click()
    window = shown.room("runs")
    window.get_by_text("hello in runs").wait_for()
    window.get_by_role("textbox", name="Your name").fill("ada")
    message = window.get_by_role("textbox", name="Message")
    message.press_sequentially("dd aa bb 00 x")  # shortcuts of the notebook, which would delete and insert cells
    message.press("Enter")
    eventually(lambda: "dd aa bb 00 x" in str(shown.server.ask("GET", "/bqserver/rooms/runs/messages").json))
    assert page.locator(".jp-Notebook .jp-Cell").count() == 2

    page.reload()
    shown.wait_active()
    shown.room("runs").get_by_text("dd aa bb 00 x").wait_for(timeout=SLOW_TIMEOUT)
    page.get_by_role("button", name="All rooms").click()
    shown.rows.first.wait_for()
    shown.row("runs").wait_for()


def test_the_page_of_files_has_it_in_its_menu(panel):
    shown = panel("notebook.app")
    shown.goto("tree")
    shown.page.get_by_role("menuitem", name="View").click(timeout=SLOW_TIMEOUT)
    shown.page.get_by_role("menuitem", name="Chat Rooms").click()
    shown.row("lobby").click(timeout=SLOW_TIMEOUT)
    shown.room("lobby")


def test_a_cell_is_shared_in_the_panel_which_leads_back_to_it(panel, home):
    shown = panel("notebook.app")
    page = shown.page
    cells = [nbformat.v4.new_code_cell(f"x = {number}") for number in range(3)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), home / "notebooks" / "three.ipynb")
    page.add_init_script("localStorage.setItem('bqwidget:name:', 'ada')")
    shown.goto("notebooks/three.ipynb")
    page.locator(".jp-CodeCell").nth(1).locator(".jp-InputArea-editor").click(button="right")
    page.get_by_role("menuitem", name="Share Cell").click()
    page.get_by_role("dialog").get_by_role("button", name="Share").click()
    window = shown.room("lobby")
    page.locator(".jp-CodeCell").nth(2).click()
    window.get_by_role("button", name="Cell in three.ipynb").click()
    page.locator(".jp-CodeCell.jp-mod-active").filter(has_text="x = 1").wait_for()
    page.get_by_role("button", name="1 message about this cell in lobby").wait_for()
    window.locator(".bq-code").hover()
    window.get_by_role("button", name="Insert below").click()
    eventually(lambda: page.locator(".jp-CodeCell").all_inner_texts()[2].strip().endswith("x = 1"), what="the new cell")
