"""``python3 tests``: every check of this project: style, types, the view's tests, pytest and the notebooks.

With arguments, only pytest runs, with those arguments: ``python3 tests -k hub``.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JS = ROOT / "js"


def main(arguments: list[str]) -> int:
    environment = runpy.run_path(str(ROOT / ".ci" / "environment.py"))
    say = environment["say"]
    python = environment["prepare"]("test")
    if arguments:
        return _run([python, "-m", "pytest", *arguments])

    npm = environment["node_environ"]()
    steps = [
        ("ruff check", lambda: _run([python, "-m", "ruff", "check", "."])),
        ("ruff format", lambda: _run([python, "-m", "ruff", "format", "--check", "."])),
        ("mypy", lambda: _run([python, "-m", "mypy"])),
        ("npm ci", lambda: _install_js(npm)),
        ("js lint", lambda: _run(["npm", "run", "--silent", "lint"], JS, npm)),
        ("js tests", lambda: _run(["npm", "run", "--silent", "test"], JS, npm)),
        (
            "pytest",
            lambda: _run([python, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-m", "not alone"]),
        ),
        ("pytest, alone", lambda: _run([python, "-m", "pytest", "-m", "alone"])),
    ]
    results = []
    for name, step in steps:
        say(f"── {name}")
        began = time.monotonic()
        failed = step() != 0
        results.append((name, failed, time.monotonic() - began))

    say("── summary")
    for name, failed, seconds in results:
        print(f"{'FAILED' if failed else 'passed'}  {name:<13} {seconds:6.1f} s")
    return int(any(failed for _, failed, _ in results))


def _run(command: list[str], cwd: Path = ROOT, environ: dict[str, str] | None = None) -> int:
    if os.name == "nt" and command[0] == "npm":
        command = ["npm.cmd", *command[1:]]
    try:
        return subprocess.run(command, cwd=cwd, env=environ, check=False).returncode
    except OSError as error:
        print(f"{command[0]} does not start: {error}")
        return 1


def _install_js(environ: dict[str, str]) -> int:
    """Run ``npm ci``, unless node_modules is up to date with package-lock.json."""
    lock, installed = JS / "package-lock.json", JS / "node_modules" / ".package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return 0
    return _run(["npm", "ci", "--ignore-scripts"], JS, environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
