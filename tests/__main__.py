"""``python3 tests``: every check of this project: style, types, the view's tests, pytest and the notebooks.

``python3 tests --quick``: ruff, and the tests that need neither a browser, a kernel, Jupyter nor NATS.
``python3 tests --lowest``: these tests with the lowest versions that pyproject.toml admits, in ``.venv-lowest``.
With other arguments, only pytest runs, with those arguments: ``python3 tests -k hub``. Both: ``--quick -k hub``.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
JS = ROOT / "js"
MORE_PROCESSES, MORE_QUICK_PROCESSES = 1, 3
"""How many processes of tests there are more than cores: many tests wait for others, quick ones most of the time."""
SLOWEST = 10


class Step(NamedTuple):
    name: str
    command: list[str]
    cwd: Path = ROOT
    environ: dict[str, str] | None = None


class Result(NamedTuple):
    name: str
    code: int
    seconds: float
    output: str = ""


def main(arguments: list[str]) -> int:
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    environment = runpy.run_path(str(ROOT / ".ci" / "environment.py"))
    say = environment["say"]
    if "--lowest" in arguments:
        return _run(_lowest(environment, [option for option in arguments if option != "--lowest"])).code
    python = environment["prepare"]("test")
    pytest = [python, "-m", "pytest"]
    style = [
        Step("ruff check", [python, "-m", "ruff", "check", "--quiet", "."]),
        Step("ruff format", [python, "-m", "ruff", "format", "--check", "--quiet", "."]),
    ]
    if "--quick" in arguments:
        results = [
            *map(_run, style),
            _run(Step("pytest", [*pytest, "-q", *_parallel(MORE_QUICK_PROCESSES), *arguments])),
        ]
        print("It left out mypy, eslint, tsc and vitest too.")
        return _summary(results, say)
    if arguments:
        return _run(Step("pytest", [*pytest, *arguments])).code

    npm = environment["node_environ"]()
    others = [
        Step("mypy", [python, "-m", "mypy"]),
        Step("js lint", ["npm", "run", "--silent", "lint"], JS, npm),
        Step("js tests", ["npm", "run", "--silent", "test"], JS, npm),
    ]

    def show(step: Step) -> Result:
        say(f"── {step.name}")
        return _run(step)

    results = [*map(show, style)]
    if not _js_is_installed():
        results.append(show(Step("npm ci", ["npm", "ci", "--ignore-scripts"], JS, npm)))
    with tempfile.TemporaryDirectory() as reports, ThreadPoolExecutor(1) as executor:
        waiting = [executor.submit(_run, step, captures=True) for step in others]  # pytest leaves cores idle at times
        parallel = [*pytest, *_parallel(MORE_PROCESSES), "-m", "not alone", f"--junit-xml={reports}/parallel.xml"]
        results.append(show(Step("pytest", parallel)))
        for done in waiting:
            results.append(result := done.result())
            say(f"── {result.name}")
            print(result.output, flush=True)
        alone = [*pytest, "-m", "alone", f"--junit-xml={reports}/alone.xml"]
        results.append(show(Step("pytest, alone", alone)))
        say("── the slowest tests, and what was skipped")
        _print_reports(Path(reports))
    return _summary(results, say)


def _lowest(environment: dict[str, Any], options: list[str]) -> Step:
    """The quick tests, with the lowest versions of what bqwidget needs."""
    python = environment["prepare"]("test", lowest=True)
    parallel = _parallel(MORE_QUICK_PROCESSES)
    return Step("pytest, lowest", [python, "-m", "pytest", "-q", *parallel, "--quick", "--versions", *options])


def _parallel(more: int) -> list[str]:
    """The tests of a file stay together; the files come in the order of selection.py."""
    return ["-n", str((os.cpu_count() or 2) + more), "--dist", "loadfile", "--no-loadscope-reorder"]


def _run(step: Step, *, captures: bool = False) -> Result:
    command = step.command
    if os.name == "nt" and command[0] == "npm":
        command = ["npm.cmd", *command[1:]]
    began = time.monotonic()
    output = subprocess.PIPE if captures else None
    try:
        done = subprocess.run(
            command,
            cwd=step.cwd,
            env=step.environ,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        print(f"{command[0]} does not start: {error}")
        return Result(step.name, 1, 0.0)
    return Result(step.name, done.returncode, time.monotonic() - began, done.stdout or "")


def _js_is_installed() -> bool:
    """Whether node_modules is up to date with package-lock.json."""
    lock, installed = JS / "package-lock.json", JS / "node_modules" / ".package-lock.json"
    return installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime


def _print_reports(folder: Path) -> None:
    """The slowest tests of all of pytest's reports, and the reasons of the skipped ones."""
    cases = [case for file in folder.glob("*.xml") for case in ET.parse(file).iter("testcase")]
    slowest = sorted(cases, key=lambda case: -float(case.get("time", 0)))[:SLOWEST]
    for case in slowest:
        print(f"{float(case.get('time', 0)):6.1f} s  {case.get('classname')}::{case.get('name')}")
    skipped = Counter(mark.get("message") for case in cases for mark in case.iter("skipped"))
    for reason, count in skipped.items():
        print(f"skipped {count}: {reason}")
    print(f"{len(cases)} tests, {skipped.total() or 'none'} skipped")


def _summary(results: list[Result], say: Callable[[str], None]) -> int:
    say("── summary")
    for result in results:
        print(f"{'FAILED' if result.code else 'passed'}  {result.name:<14} {result.seconds:6.1f} s")
    return int(any(result.code for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
