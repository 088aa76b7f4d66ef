"""Every notebook runs as it is printed, its outputs as saved, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_printed(notebook: Path, home: Path, home_environ: dict[str, str]) -> None:
    before = sorted(notebook.parent.iterdir())
    command = [*(sys.executable, "-m", "pytest", "--nbval", notebook), *("-p", "no:cacheprovider", "-q")]
    command += ["--nbval-current-env", "--nbval-cell-timeout=60", "--override-ini=addopts="]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "server")])
    done = subprocess.run(
        command,
        env={**home_environ, "PYTHONPATH": paths},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(notebook.parent.iterdir()) == before
    assert not [path for path in home.iterdir() if path.name in (".local", ".jupyter", ".ipython", "Library")]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_clean(notebook: Path) -> None:
    """Explained, all cells run once from the top, no errors, no widget state, nothing of the machine it ran on."""
    saved = nbformat.read(notebook, as_version=4)
    nbformat.validate(saved)
    assert saved.cells[0].source.startswith("# ")
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert "widgets" not in saved.metadata
    assert str(Path.home()) not in notebook.read_text()
