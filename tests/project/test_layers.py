"""The arrows of the design point down only: which module may import which, read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

CLIENT = sorted((ROOT / "bqwidget").rglob("*.py"))
SERVER = sorted((ROOT / "server" / "bqserver").glob("*.py"))
JUPYTER = (
    "IPython",
    "anywidget",
    "comm",
    "ipykernel",
    "ipywidgets",
    "jupyter_client",
    "jupyter_server",
    "traitlets",
)
PURE = (
    *("errors", "protocol", "session"),
    *("_client.outbox", "_client.validation", "_client.message_list"),
)
IMPURE = ("asyncio", "random", "socket", "threading", "time", "tornado", "websockets")

LAYERS = {
    "errors": set(),
    "protocol": {"errors"},
    "_client.outbox": {"protocol"},
    "_client.message_list": {"protocol"},
    "_client.validation": {"errors", "protocol"},
    "session": {"_client.outbox", "protocol", "_client.message_list"},
    "_client.endpoint": {"errors", "local", "protocol"},
    "local": {"errors"},
    "dispatch": {"_threads.cells", "errors", "_threads.event_loops"},
    "_threads.cells": set(),
    "_threads.loop_thread": {"errors", "_threads.event_loops"},
    "_threads.event_loops": set(),
}
"""What the lower modules may take from this package; whatever isn't here is a shell above them."""


def module_path(module: str) -> Path:
    path = ROOT / "bqwidget" / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names of everything imported anywhere in a file, relative ones made absolute."""
    found = set()
    package = ".".join(path.parent.relative_to(ROOT).parts).removeprefix("server.")
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom(level=0):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            case ast.ImportFrom():
                base = f"{package}.{node.module}" if node.module else package
                found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def siblings(path: Path) -> set[str]:
    """The modules of bqwidget that a file imports."""
    names = {name.removeprefix("bqwidget.") for name in imports(path) if name.startswith("bqwidget.")}
    modules = {name if module_path(name).exists() else name.rpartition(".")[0] for name in names}
    modules = {"protocol" if name.startswith("protocol.") else name for name in modules}
    return {name for name in modules if name and module_path(name).exists() and module_path(name) != path}


def name(path: Path) -> str:
    return path.stem


def test_there_is_something_to_read():
    assert {"session", "room", "widget"} <= {path.stem for path in CLIENT}
    assert {"hub", "handlers", "app"} <= {path.stem for path in SERVER}


@pytest.mark.parametrize("path", SERVER, ids=name)
def test_the_server_takes_only_the_protocol_and_its_errors(path):
    taken = {found for found in imports(path) if found.startswith("bqwidget.")}
    taken |= {
        f"bqwidget.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "bqwidget"
    }
    allowed = ("bqwidget.protocol", "bqwidget.errors", "bqwidget.__version__")
    assert {found for found in taken if not found.startswith(allowed)} == set()


@pytest.mark.parametrize("path", CLIENT, ids=name)
def test_the_client_never_imports_the_server(path):
    assert "bqserver" not in packages(path)


@pytest.mark.parametrize("module", PURE)
def test_the_core_is_pure(module):
    path = module_path(module)
    assert packages(path) & {*IMPURE, *JUPYTER} == set()
    assert siblings(path) <= set(PURE)


@pytest.mark.parametrize("module", LAYERS)
def test_lower_modules_import_only_lower_ones(module):
    assert siblings(module_path(module)) <= LAYERS[module]


@pytest.mark.parametrize(("package", "homes"), [("anywidget", {"widget"}), ("jupyter_server", {"extension"})])
def test_jupyters_parts_have_one_home(package, homes):
    assert {path.stem for path in [*CLIENT, *SERVER] if package in packages(path)} <= homes


def test_a_cluster_alone_needs_nats():
    users = {path.stem for path in [*CLIENT, *SERVER] if "nats" in packages(path)}
    assert users
    assert {name for name in users if not name.startswith("nats_")} == set()
    code = "import sys, bqserver.app; print('nats' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


@pytest.mark.parametrize("module", ["protocol", "errors", "session"])
def test_the_shared_modules_load_no_jupyter(module):
    """In a fresh interpreter: the package itself is lazy."""
    code = (
        f"import sys, bqwidget.{module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) & {*JUPYTER, "tornado", "websockets"} == set()


def test_every_exported_name_is_there():
    import bqwidget

    assert {exported for exported in bqwidget.__all__ if not hasattr(bqwidget, exported)} == set()
    assert set(bqwidget.__all__) <= set(dir(bqwidget))
    with pytest.raises(AttributeError, match="nothing"):
        bqwidget.nothing  # noqa: B018
