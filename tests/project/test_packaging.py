"""Packaging: the built wheel, installed in a clean environment without Node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT

pytestmark = pytest.mark.slow("builds the wheel and installs it")
BUNDLE_FILES = (
    *("loader.js", "widget.js", "widget.css", "page.js", "page.css", "lab.js", "panel.js", "panel.css"),
    *("worker.js", "math.js"),
)


def run(*command: object, **options) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("bqwidget-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with only the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("clean") / "env"
    run(sys.executable, "-m", "venv", folder)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    without_node = {**os.environ, "PATH": str(binaries)}
    without_node.pop("PYTHONPATH", None)
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, env=without_node, cwd=folder)
    return binaries


@pytest.mark.timeout(900)
def test_the_wheel_contains_the_bundle_and_both_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        sizes = {info.filename: info.file_size for info in content.infolist()}
    assert all(sizes[f"bqwidget/static/{name}"] > 500 for name in BUNDLE_FILES)
    assert {"bqwidget/py.typed", "bqserver/py.typed", "bqserver/app.py"} <= sizes.keys()
    for jupyter_file in (
        "etc/jupyter/jupyter_server_config.d/bqserver.json",
        "share/jupyter/labextensions/bqwidget/static/container.js",
        "share/jupyter/labextensions/bqwidget/schemas/bqwidget/plugin.json",
    ):
        assert [name for name in sizes if name.endswith(f"/data/{jupyter_file}")], jupyter_file
    strays = [name for name in sizes if name.split("/")[0].startswith(("tests", "js", "notebooks", "server"))]
    assert strays == []


@pytest.mark.timeout(900)
def test_the_installed_server_runs_without_node(installed: Path, home_environ: dict[str, str]) -> None:
    environ = {**home_environ, "PATH": str(installed)}
    environ.pop("PYTHONPATH", None)
    assert "--port" in run(installed / "bqserver", "--help", env=environ)

    command = [installed / "bqserver", "--port=0", "--log=memory", "--open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=installed) as server:
        try:
            url = next(line.split()[-1] for line in server.stdout if "listening on" in line)
            with urllib.request.urlopen(f"{url}/health") as answer:
                assert json.load(answer) == {"ok": True}
            with urllib.request.urlopen(f"{url}/static/page.js") as answer:
                assert len(answer.read()) > 500
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


@pytest.mark.timeout(900)
def test_the_installed_widget_has_its_bundle(installed: Path, home_environ: dict[str, str]) -> None:
    environ = {**home_environ, "PATH": str(installed)}
    environ.pop("PYTHONPATH", None)
    code = "from bqwidget import ChatWidget; print(len(str(ChatWidget._esm)))"
    assert int(run(installed / "python", "-c", code, env=environ, cwd=installed)) > 500
