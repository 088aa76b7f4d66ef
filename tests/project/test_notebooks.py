"""Each notebook runs from the top to the end, also in a used home, with the outputs that are saved in it."""

from __future__ import annotations

import ast
import builtins
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import stop_local_server
from support.paths import PYTHONPATH, ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def run_nbval(notebook: Path, environ: dict[str, str]) -> None:
    """Run all cells in a new kernel and compare their outputs with the saved ones."""
    command = [*(sys.executable, "-m", "pytest", "--nbval", notebook), *("-p", "no:cacheprovider", "-q")]
    command += ["--nbval-current-env", "--nbval-cell-timeout=60", "-p", "nbval.plugin"]
    command += ["--override-ini=addopts=", "-W", "ignore::pytest.PytestConfigWarning"]  # options of other plugins
    done = subprocess.run(
        command,
        env={**environ, "PYTHONPATH": PYTHONPATH, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("kernel")
@each_notebook
def test_a_notebook_runs_again_in_a_used_home(notebook: Path, home: Path, home_environ: dict[str, str]) -> None:
    """The second run finds the history of the first, on a local server that has been started again."""
    folder = home / "notebooks"  # other tests use the one of the project meanwhile
    shutil.copytree(notebook.parent, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    before = sorted(folder.iterdir())
    run_nbval(folder / notebook.name, home_environ)
    stop_local_server(home / "runtime")
    run_nbval(folder / notebook.name, home_environ)
    assert sorted(folder.iterdir()) == before
    assert not [path for path in home.iterdir() if path.name in (".local", ".jupyter", ".ipython", "Library")]


@each_notebook
def test_a_notebook_is_saved_clean(notebook: Path) -> None:
    """All cells have run once from the top; no errors, no widget state, nothing of the machine it ran on."""
    saved = nbformat.read(notebook, as_version=4)
    nbformat.validate(saved)
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    # A saved view has no model when the notebook is opened; its text/html asks to run the cell.
    assert not [output for output in outputs if WIDGET_VIEW in output.get("data", {})]
    assert "widgets" not in saved.metadata
    assert str(Path.home()) not in notebook.read_text()


@each_notebook
def test_a_notebook_says_what_it_teaches_what_it_needs_and_what_comes_next(notebook: Path) -> None:
    cells = nbformat.read(notebook, as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert texts[0].startswith("# ")
    assert "In this notebook you\n\n- " in texts[0]
    assert "\nYou need " in texts[0]
    assert "## What next\n\n- " in texts[-1]
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(texts))
    assert [link for link in links if not (notebook.parent / link).is_file()] == []


@each_notebook
def test_a_notebook_redefines_no_builtin(notebook: Path) -> None:
    source = "\n\n".join(
        cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"
    )
    tree = compile(source, notebook.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert (defined | assigned) & set(dir(builtins)) == set()
