"""What a run of pytest with our conftest reports: missing tools, each failure at once, and a crash of a process.

A test whose browser or Node is missing is skipped and reported, and fails in CI, so that no test is skipped unnoticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import TESTS

pytestmark = pytest.mark.slow("runs pytest in each test")

REPLACED_VARIABLES = ("PATH", "CI", "BQWIDGET_TEST_LOG")
TOOLS = """
def test_needs_node(node):
    assert node

def test_needs_nothing():
    assert True
"""
ONE_FAILS = """
def test_fails():
    assert 1 == 2, "not equal"

def test_sees_the_report(pytestconfig):
    pytestconfig.pluginmanager.getplugin("capturemanager").suspend_global_capture()
    print("and then the next test")
"""
CRASHES = """
import os

def test_before():
    pass

def test_crashes():
    os._exit(3)

def test_after():
    pass
"""
WAITS = """
import threading

def test_waits_longer_than_the_run():
    threading.Event().wait()
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run the tests of these modules with our conftest and an empty PATH."""
    for name in ("conftest.py", "folders.py", "selection.py", "progress.py"):
        shutil.copy(TESTS / name, tmp_path)
    shutil.copytree(TESTS / "support", tmp_path / "support")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")

    def run(*modules: str, options: tuple[str, ...] = (), **environ: str) -> subprocess.CompletedProcess[str]:
        for number, code in enumerate(modules):
            (tmp_path / f"test_{number}.py").write_text(code)
        environment = {name: value for name, value in os.environ.items() if name not in REPLACED_VARIABLES}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(tmp_path)]
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
    done = run(TOOLS)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert done.stdout.count("!!! NOT TESTED, missing on this machine: node (Node.js 20 or newer)") == 1


def test_a_missing_tool_is_an_error_in_ci(run) -> None:
    done = run(TOOLS, CI="true")
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "missing in CI: node" in done.stdout


def test_a_failure_is_named_before_the_next_test(run) -> None:
    done = run(ONE_FAILS)
    assert "1 failed, 1 passed" in done.stdout
    named, _, rest = done.stdout.partition("and then the next test")
    assert "FAILED test_0.py::test_fails: AssertionError: not equal" in named
    assert "= FAILURES =" in rest


def test_a_crash_is_named_and_ends_the_run(run) -> None:
    done = run(CRASHES, WAITS, options=("-p", "xdist", "-n", "2", "--dist", "loadfile"))
    assert done.returncode == 1, done.stdout
    assert "FAILED test_0.py::test_crashes: worker 'gw" in done.stdout
    assert "1 failed" in done.stdout
