"""``python3 notebooks``: open the quickstart in JupyterLab, with everything that it needs.

Further arguments go to JupyterLab (``python3 notebooks --no-browser``); another notebook's name opens that one.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    environment = runpy.run_path(str(HERE.parent / ".ci" / "environment.py"))
    python = environment["prepare"]("lab")
    command = [python, "-m", "jupyterlab"]
    if not any(argument.endswith(".ipynb") for argument in arguments):
        command.append(str(HERE / "quickstart.ipynb"))
    if hasattr(os, "getuid") and os.getuid() == 0:  # a container; JupyterLab refuses root unless told
        command.append("--allow-root")
    command += arguments
    environment["say"]("Opening JupyterLab (stop it with Ctrl+C)")
    if os.name == "nt":  # exec there would give the prompt back while JupyterLab still runs
        return subprocess.run(command, check=False).returncode
    return os.execv(python, command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
