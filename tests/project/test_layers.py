"""The layers of both distributions: a table of the packages that each package may import, checked against the sources.

Imports point down only. Type-checking imports count as imports, because they are dependencies for a reader too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.paths import ROOT

SOURCES = {"bqwidget": ROOT, "bqserver": ROOT / "server"}
MAX_MODULES_PER_FOLDER, MAX_TESTS_PER_FOLDER, MAX_LINES = 15, 20, 300

LAYERS: dict[str, set[str]] = {
    # bqwidget: a package or a module, and those of bqwidget that it may import.
    "bqwidget.errors": set(),
    "bqwidget.protocol": {"errors"},
    "bqwidget.file_locks": set(),
    "bqwidget.local": {"errors", "file_locks"},
    "bqwidget._threads": {"errors"},
    "bqwidget.dispatch": {"errors", "_threads"},
    "bqwidget._client.outbox": {"protocol"},
    "bqwidget._client.live.text": {"protocol"},
    "bqwidget._client.message_list": {"protocol", "_client.live.text"},
    "bqwidget._client.live.drafts": {"protocol", "_client.outbox", "_client.message_list"},
    "bqwidget._client.status": {"protocol"},
    "bqwidget._client.backoff": set(),
    "bqwidget.session": {
        "protocol", "_client.outbox", "_client.message_list", "_client.live.drafts", "_client.status",
        "_client.backoff",
    },
    "bqwidget._client": {
        "errors", "protocol", "local", "_threads", "_client.outbox", "_client.message_list", "_client.live.drafts",
        "_client.backoff", "session",
    },
    "bqwidget.connection": {"errors", "protocol", "_client", "_client.outbox", "_client.live.drafts"},
    "bqwidget._room": {
        "errors", "protocol", "_threads", "dispatch", "_client", "_client.outbox", "_client.message_list",
        "_client.live.drafts", "_client.status", "session", "connection",
    },
    "bqwidget.room": {
        "errors", "protocol", "_threads", "_client", "_client.message_list", "_client.status", "session", "connection",
        "_room",
    },
    "bqwidget.testing": {"errors", "protocol", "room"},
    "bqwidget._widget": {"errors", "protocol", "_client", "_client.status", "connection"},
    "bqwidget.mcp": {"errors", "protocol", "_client", "_room", "room"},
    "bqwidget.widget": {"errors", "protocol", "_threads", "_room", "room", "_widget"},
    "bqwidget": {"errors", "protocol", "room", "widget"},
    # bqserver: a package, and the packages of bqserver that it may import.
    "bqserver.errors": set(),
    "bqserver.model": set(),
    "bqserver.files": {"errors"},
    "bqserver.clock": set(),
    "bqserver.fairness": set(),
    "bqserver.websocket": set(),
    "bqserver.jetstream": {"errors"},
    "bqserver.auth": {"errors", "model", "files"},
    "bqserver.repeats": set(),
    "bqserver.audit": {"errors", "files", "auth", "repeats"},
    "bqserver.storage": {"errors", "model", "files"},
    "bqserver.storage.sqlite": {"errors", "model", "files", "storage"},
    "bqserver.storage.nats": {"errors", "model", "files", "storage", "storage.sqlite", "jetstream"},
    "bqserver.hub": {"errors", "model", "fairness", "clock", "audit", "auth", "storage", "websocket"},
    "bqserver.cluster": {"errors", "model", "auth", "hub", "jetstream", "storage", "storage.nats"},
    "bqserver.transfer": {"errors", "model", "files", "auth", "storage", "storage.sqlite", "storage.nats", "jetstream"},
    "bqserver.web": {"errors", "model", "fairness", "clock", "audit", "auth", "storage", "websocket", "hub"},
    "bqserver.web.fastpath": {"errors", "model", "repeats", "fairness", "auth", "hub", "web"},
    "bqserver.config": {"errors", "auth", "hub"},
    "bqserver.jupyter": {"errors", "model", "files", "fairness", "auth", "hub", "web", "web.fastpath", "config"},
    "bqserver.cli": {"errors", "files", "auth", "storage", "storage.sqlite", "transfer", "config"},
    "bqserver.app": {
        "errors", "model", "files", "clock", "repeats", "audit", "auth", "storage", "storage.sqlite", "storage.nats",
        "cluster", "hub", "web", "web.fastpath", "jupyter", "config", "cli",
    },  # the composition root
    "bqserver.__main__": {"app"},
    "bqserver.testing": {"app"},
    "bqserver.extension": {"jupyter"},
}  # fmt: skip

UPWARD_IMPORT = ("bqwidget.room", "bqwidget.widget")
"""The only import that points up: a room imports its widget when it is first shown."""

PURE = {
    "bqwidget.errors", "bqwidget.protocol", "bqwidget.session", "bqwidget._client.outbox",
    "bqwidget._client.message_list", "bqwidget._client.live.text", "bqwidget._client.live.drafts",
    "bqwidget._client.status", "bqwidget._client.backoff", "bqwidget._client.validation", "bqserver.errors", "bqserver.model",
    "bqserver.storage.sequencer", "bqserver.storage.redaction", "bqserver.storage.rejections",
    "bqserver.storage.entries", "bqserver.auth.permissions", "bqserver.auth.tokens",
}  # fmt: skip
"""Modules and packages without I/O and without a clock."""
IMPURE = {"asyncio", "random", "socket", "threading", "time", "tornado", "websockets"}

JUPYTER = {"IPython", "anywidget", "comm", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_server", "jupyterhub"}  # fmt: skip
THIRD_PARTY_OWNERS = {
    "anywidget": {"bqwidget.widget"},
    "mcp": {"bqwidget.mcp"},
    "mcp_types": {"bqwidget.mcp"},
    "pydantic": {"bqwidget.mcp"},
    "jupyter_server": {"bqserver.jupyter", "bqwidget.mcp"},
    "jupyterhub": {"bqserver.jupyter"},
    "nats": {"bqserver.jetstream", "bqserver.storage.nats", "bqserver.cluster", "bqserver.transfer"},
}
"""Third-party packages, and the only packages that may import them."""


def module_name(path: Path) -> str:
    root = SOURCES["bqserver"] if SOURCES["bqserver"] in path.parents else ROOT
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path for package, root in SOURCES.items() for path in sorted((root / package).rglob("*.py"))
}


@cache
def imports(name: str) -> frozenset[str]:
    """Dotted names of everything that a module imports, inside functions too."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
    return frozenset(found)


def ours(name: str) -> set[str]:
    """The modules of this project that a module imports."""
    return {found for found in imports(name) if found in MODULES} - {name}


def layer(name: str) -> str:
    """The row of the table for a module: the longest matching name."""
    rows = [row for row in LAYERS if name == row or name.startswith(f"{row}.")]
    assert rows, f"{name} has no row in LAYERS: add its package"
    return max(rows, key=len)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


SERVER = [name for name in MODULES if name.startswith("bqserver.")]
CLIENT = [name for name in MODULES if name.startswith("bqwidget.")]


def violations(names: Iterable[str], forbidden: Callable[[str], set[str]]) -> dict[str, set[str]]:
    """The modules that import what they may not, and what that is."""
    return {name: found for name in names if (found := forbidden(name))}


def test_imports_point_down() -> None:
    def upward(name: str) -> set[str]:
        own = layer(name)
        distribution = own.partition(".")[0]
        allowed = {own, *(f"{distribution}.{row}" for row in LAYERS[own])}
        below = {found for found in ours(name) if found.startswith(f"{distribution}.")}
        return {found for found in below if layer(found) not in allowed and (name, found) != UPWARD_IMPORT}

    assert violations((name for name in MODULES if name != "bqserver"), upward) == {}


def test_the_server_imports_only_the_client_s_protocol_and_errors() -> None:
    def internal(name: str) -> set[str]:
        allowed = {"bqwidget.protocol", "bqwidget.errors", "bqwidget.file_locks"}
        if within(name, {"bqserver.jupyter", "bqserver.config"}):
            allowed.add(
                "bqwidget.local"
            )  # the local server is found, started and kept in the same folders as by a Room
        return {found for found in imports(name) if found.startswith("bqwidget.") and not within(found, allowed)}

    assert violations(SERVER, internal) == {}


def test_the_client_never_imports_the_server() -> None:
    assert (
        violations(CLIENT, lambda name: {each for each in imports(name) if each.partition(".")[0] == "bqserver"}) == {}
    )


@pytest.mark.parametrize("distribution", ["bqwidget", "bqserver"])
def test_the_guide_describes_every_folder(distribution: str) -> None:
    root = SOURCES[distribution] / distribution
    guide = (ROOT / {"bqwidget": "bqwidget", "bqserver": "server"}[distribution] / "README.md").read_text()
    folders = {path.parent.relative_to(root).as_posix() for path in root.rglob("__init__.py")} - {"."}
    if distribution == "bqwidget":  # public modules are described by name, internal folders as a whole
        folders = {f"bqwidget.{folder}" for folder in folders if "/" not in folder}
    assert {folder for folder in folders if f"\n| `{folder}` |" not in guide} == set()


def test_imports_have_no_cycle() -> None:
    graph = {name: ours(name) for name in MODULES}
    graph[UPWARD_IMPORT[0]] -= {UPWARD_IMPORT[1]}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_pure_modules_import_no_io_and_no_clock() -> None:
    def impure(name: str) -> set[str]:
        client = {found for found in ours(name) if found.startswith("bqwidget.") and not within(found, PURE)}
        return client | {found for found in imports(name) if found.partition(".")[0] in IMPURE | JUPYTER}

    assert violations((name for name in MODULES if within(name, PURE)), impure) == {}


@pytest.mark.parametrize(("package", "owners"), THIRD_PARTY_OWNERS.items())
def test_a_third_party_package_has_one_owner(package: str, owners: set[str]) -> None:
    users = {name for name in MODULES if package in {found.partition(".")[0] for found in imports(name)}}
    assert users, f"nothing imports {package}"
    assert {name for name in users if not within(name, owners)} == set()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        *[
            (module, {*JUPYTER, "traitlets", "tornado", "websockets"})
            for module in ("bqwidget.protocol", "bqwidget.errors", "bqwidget.session")
        ],
        ("bqserver.app", {"nats", "jupyter_server", "jupyterhub"}),
    ],
)
def test_importing_a_module_loads_no_optional_packages(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) & absent == set()


def test_every_exported_name_exists() -> None:
    import bqwidget

    assert {exported for exported in bqwidget.__all__ if not hasattr(bqwidget, exported)} == set()
    assert set(bqwidget.__all__) <= set(dir(bqwidget))
    with pytest.raises(AttributeError, match="nothing"):
        bqwidget.nothing  # noqa: B018


# ---- sizes


def folders(root: Path, pattern: str) -> dict[str, int]:
    files = [path for path in root.rglob(pattern) if "node_modules" not in path.parts]
    return {
        str(folder.relative_to(ROOT)): sum(path.parent == folder for path in files)
        for folder in {path.parent for path in files}
    }


def test_no_folder_has_too_many_modules() -> None:
    counts = folders(ROOT / "bqwidget", "*.py") | folders(ROOT / "server" / "bqserver", "*.py")
    counts |= folders(ROOT / "js" / "src", "*.ts*")
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES_PER_FOLDER} == {}
    tests = folders(ROOT / "tests", "*.py") | folders(ROOT / "js" / "tests", "*.ts*")
    assert {folder: count for folder, count in tests.items() if count > MAX_TESTS_PER_FOLDER} == {}


def test_no_module_is_too_long() -> None:
    files = [*MODULES.values(), *(ROOT / "js" / "src").rglob("*.ts*")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}
