"""A test whose browser or Node is missing is skipped and reported, and fails in CI, so that no test is skipped unnoticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import TESTS

REPLACED_VARIABLES = ("PATH", "CI", "BQWIDGET_TEST_LOG")
CASES = """
def test_needs_node(node):
    assert node

def test_needs_nothing():
    assert True
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run those two tests with our conftest and an empty PATH."""
    for name in ("conftest.py", "selection.py"):
        shutil.copy(TESTS / name, tmp_path)
    shutil.copytree(TESTS / "support", tmp_path / "support")
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")

    def run(**environ: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name not in REPLACED_VARIABLES}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
        return subprocess.run(
            command,
            env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environ, "PATH": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_missing_tool_skips_the_test_and_is_reported_once(run) -> None:
    done = run()
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert done.stdout.count("!!! NOT TESTED, missing on this machine: node (Node.js 20 or newer)") == 1


def test_a_missing_tool_is_an_error_in_ci(run) -> None:
    done = run(CI="true")
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "missing in CI: node" in done.stdout
