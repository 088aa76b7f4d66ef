"""``python3 notebooks``: install what the notebooks need into ``.venv``, and open one of them in JupyterLab.

Standard library only, and readable by old Pythons, so that they can report which version is needed.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in HERE.glob("*.ipynb"))
USAGE = f"""usage: python3 notebooks [NOTEBOOK] [JUPYTERLAB OPTION ...]

Open a notebook of this project in JupyterLab. The first time, this makes a virtual environment (.venv)
in the checkout and installs bqwidget, JupyterLab and pandas into it, which takes a few minutes.

NOTEBOOK is one of these, or the path of an .ipynb file (default: quickstart):
    {", ".join(NAMES)}

All other arguments go to JupyterLab, for example:
    python3 notebooks --no-browser      print the address instead of opening a browser
    python3 notebooks ask --port=9000   open ask.ipynb on another port
    python3 notebooks --help-all        list all options of JupyterLab
"""


def main(arguments: list[str]) -> int:
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return 0
    arguments = [str(HERE / f"{each}.ipynb") if each in NAMES else each for each in arguments]
    if not any(each.endswith(".ipynb") for each in arguments):
        arguments.append(str(HERE / "quickstart.ipynb"))
    name = next(Path(each).name for each in arguments if each.endswith(".ipynb"))
    arguments.insert(0, f"--LabApp.default_url=/lab/tree/{quote(name)}")  # the printed address opens it too
    environment = runpy.run_path(str(HERE.parent / ".ci" / "environment.py"))
    python = environment["prepare"]("lab")
    if str(HERE / "agent.ipynb") in arguments:
        environment["prepare"]("agents")
    command = [python, "-m", "jupyterlab", *arguments]
    if hasattr(os, "getuid") and os.getuid() == 0:  # in a container: JupyterLab refuses root by default
        command.append("--allow-root")
    environment["say"]("Opening JupyterLab. Press Ctrl+C here to stop it.")
    if os.name == "nt":  # exec would return to the prompt while JupyterLab still runs
        return subprocess.run(command, check=False).returncode
    return os.execv(python, command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
