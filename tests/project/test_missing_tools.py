"""A test whose browser or Node is missing skips loudly, and in CI fails: nothing goes untested unnoticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import TESTS

OTHER = ("PATH", "CI", "BQWIDGET_TEST_LOG")
CASES = """
def test_needs_node(node):
    assert node

def test_needs_nothing():
    assert True
"""


@pytest.fixture
def run(tmp_path: Path):
    """Those two tests under our conftest, on a machine with nothing on its PATH."""
    shutil.copy(TESTS / "conftest.py", tmp_path)
    shutil.copytree(TESTS / "support", tmp_path / "support")
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")

    def run(**environ: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in OTHER}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
        return subprocess.run(
            command,
            env={**kept, **environ, "PATH": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_it_skips_with_one_loud_line(run) -> None:
    done = run()
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert done.stdout.count("!!! NOT TESTED, missing on this machine: node (Node.js 20 or newer)") == 1


def test_in_ci_it_fails(run) -> None:
    done = run(CI="true")
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "missing in CI: node" in done.stdout
