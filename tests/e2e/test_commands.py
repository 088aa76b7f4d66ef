"""The README's first command, as it is printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.conftest import SLOW_TIMEOUT, Notebook, Window, run_jupyter
from support.jupyter_server import wait_ended
from support.paths import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture
def clean(home_environ: dict[str, str]) -> dict[str, str]:
    """An environment without the variables of the tests' own virtual environment."""
    return {name: value for name, value in home_environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def test_python3_notebooks_opens_a_working_quickstart(home: Path, clean: dict[str, str], pages) -> None:
    def start_notebooks(*arguments: str, **options) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "notebooks", *arguments], text=True, **options)

    process, server = run_jupyter(start_notebooks, home, clean, ROOT)
    try:
        page = pages()
        printed = re.search(r"http://localhost:\d+/lab\S*", (home / "jupyter.log").read_text())
        assert printed
        page.goto(printed[0].replace("token=...", f"token={server.token}"))
        server.wait_ready(page, "quickstart.ipynb")
        notebook = Notebook(page)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        window: Window = notebook.room("quickstart")
        for text in ("Hello from Python", "Hello Ada, I am a second member", "Is anyone listening?"):
            window.wait_for(text)
        window.say("I am")
        output = notebook.cell(4).locator(".jp-Cell-outputArea")
        output.get_by_text("the last from ada: I am").wait_for(timeout=SLOW_TIMEOUT)
        address = notebook.cell(5).locator(".jp-Cell-outputArea").get_by_role("link").get_attribute("href")
        assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
        page.goto(address)
        page_window = Window(page.get_by_role("region", name="Chat room quickstart"))
        page_window.wait_for("I am")
    finally:
        process.terminate()
        wait_ended(process)


def test_the_help_names_the_notebooks_and_installs_nothing(clean: dict[str, str], tmp_path: Path) -> None:
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for path in [*(ROOT / "notebooks").glob("*.ipynb"), ROOT / "notebooks" / "__main__.py"]:
        shutil.copy(path, notebooks)
    printed = subprocess.run(
        [sys.executable, "notebooks", "--help"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.startswith("usage: python3 notebooks ")
    assert "agent, ask, assistant, bot, class, controls, pictures, quickstart, react, server, watch" in printed.stdout


@pytest.mark.usefixtures("jupyter_server")
def test_options_are_passed_to_jupyterlab(clean: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "notebooks", "--version"],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1].startswith("4.")


def test_an_old_python_reports_the_required_version(clean: dict[str, str], tmp_path: Path) -> None:
    """Simulates an old version in the code that checks it."""
    simulation = (
        "import runpy, sys, types\n"
        "environment = runpy.run_path(sys.argv[1])\n"
        "find = environment['_new_python']\n"
        "find.__globals__['sys'] = types.SimpleNamespace(version_info=(3, 9, 2), exit=sys.exit)\n"
        "find()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", simulation, str(ROOT / ".ci" / "environment.py")],
        env={**clean, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert (
        result.stderr == "bqwidget needs Python 3.11 or newer; this is 3.9. Install one and run this command again.\n"
    )
