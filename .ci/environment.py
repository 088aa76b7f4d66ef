"""The virtual environments of this checkout: `.venv`, for the README's two commands, and `.venv-lowest`.

Standard library only, and readable by old Pythons, so that they can be told what is missing in plain words.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOWEST_VENV = ROOT / ".venv-lowest"
STAMP = "installed.json"
OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20
BIN = "Scripts" if os.name == "nt" else "bin"


def prepare(extra: str, *, lowest: bool = False) -> str:
    """The path of a Python in which bqwidget is installed, editable, with ``extra``.

    Installs only what has changed since the last time; the stamp file says what that was. ``lowest``: in an environment
    of its own, with the lowest versions that pyproject.toml admits in place of those of `.venv`.
    """
    base = prepare(extra) if lowest else ""
    venv = LOWEST_VENV if lowest else VENV
    python = str(venv / BIN / ("python.exe" if os.name == "nt" else "python"))
    if not _runs(python):
        _make(venv, base)
    extras = _installed(venv)
    if extra not in extras:
        extras = sorted({*extras, extra})
        packages = lower_bounds() if lowest else ["--editable", f".[{','.join(extras)}]"]
        say(f"Installing {' '.join(packages)} into {venv.name} (the first time takes a few minutes)")
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", *packages]
        if subprocess.run(pip, cwd=ROOT, check=False).returncode:
            sys.exit("pip could not install them: see its message above, then run this command again.")
        (venv / STAMP).write_text(json.dumps({"digest": _digest(), "extras": extras}))
    return python


def lower_bounds() -> list[str]:
    """Pins to the lowest versions of all that bqwidget and its extras ask for; the tools of ``test`` stay the newest."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # an old Python has no tomllib
    asked = text.partition("\ndependencies = [")[2].partition("\ntest = [")[0]
    return [f"{name}=={version}" for name, version in re.findall(r'"([\w.-]+)(?:\[.*?\])?>=([\w.]+)', asked)]


def node_environ() -> dict[str, str]:
    """The environment in which ``npm`` runs: the machine's Node where it is new enough, else the venv's."""
    environ = dict(os.environ)
    if not _new_node():
        environ["PATH"] = os.pathsep.join([str(VENV / BIN), environ.get("PATH", "")])
    return environ


def say(line: str) -> None:
    sys.stdout.write(f"\n\033[1m{line}\033[0m\n" if sys.stdout.isatty() else f"\n{line}\n")
    sys.stdout.flush()


def _make(venv: Path, base: str) -> None:
    """With the packages of the Python ``base``, if one is given: as links, so that it takes seconds."""
    python = base or _new_python()
    say(f"Making {venv.name} with {python}")
    options = ["--clear", *(["--without-pip"] if base else [])]
    made = subprocess.run([python, "-m", "venv", *options, str(venv)], cwd=ROOT, check=False)
    if made.returncode:
        shutil.rmtree(venv, ignore_errors=True)
        sys.exit(
            f"{python} could not make a virtual environment. It needs its `venv` and `ensurepip` modules:\n"
            "on Debian and Ubuntu `sudo apt install python3-venv`, elsewhere a complete Python from your system\n"
            "or python.org. Then run this command again."
        )
    if base:
        theirs, own = (_packages(each) for each in (base, str(venv / BIN / Path(base).name)))
        shutil.copytree(theirs, own, copy_function=os.link, symlinks=True, dirs_exist_ok=True)


def _packages(python: str) -> str:
    """The folder of its installed packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _new_python() -> str:
    """This Python, or the newest one on the PATH that is new enough; ends the program where there is none."""
    if sys.version_info >= OLDEST_PYTHON:
        return sys.executable
    for minor in range(OLDEST_PYTHON[1] + 5, OLDEST_PYTHON[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and _runs(found):  # a shim on the PATH may stand for a version that is not there
            return found
    oldest, this = (".".join(map(str, version[:2])) for version in (OLDEST_PYTHON, sys.version_info))
    sys.exit(f"bqwidget needs Python {oldest} or newer; this is {this}. Install one and run this command again.")


def _runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _new_node() -> bool:
    node = shutil.which("node")
    if not (node and shutil.which("npm")):
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return version.startswith("v") and int(version[1:].split(".")[0]) >= OLDEST_NODE


def _installed(venv: Path) -> list[str]:
    """The extras that are installed from these very sources; none where anything has changed."""
    try:
        stamp = json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return []
    return stamp["extras"] if stamp["digest"] == _digest() else []


def _digest() -> str:
    """Of where this checkout lies, what it asks for, and the sources of the bundle that installing builds."""
    digest = hashlib.sha256(str(ROOT).encode())
    sources = [*(ROOT / "js").glob("*.*"), *(ROOT / "js" / "src").rglob("*")]
    for path in [ROOT / "pyproject.toml", *sorted(sources)]:
        if path.is_file():
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    bundle = ROOT / "bqwidget" / "static" / "widget.js"
    digest.update(b"built" if bundle.is_file() else b"to build")
    return digest.hexdigest()
