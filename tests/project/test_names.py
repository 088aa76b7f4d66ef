"""Names: a class name has one meaning within a distribution, and the trees of errors are drawn as they are."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from bqserver.errors import ServerError
from bqserver.web.errors import ApiError
from support.paths import ROOT

from bqwidget import errors

ALLOWED = {
    "bqwidget": {"Member"},  # of a room: as others see it, and as a test scripts it. Both are public names.
    "server/bqserver": {"Retention"},  # one for each storage engine
    "js/src": {"Props"},  # of the component of its module
}
"""Names that more than one class has, by distribution."""


def classes(path: Path) -> Iterator[str]:
    """The names of the classes in a module; in TypeScript, those of its types too."""
    if path.suffix == ".py":
        yield from (node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef))
    else:
        found = r"^(?:export )?(?:abstract )?(?:class|interface|type|enum) (\w+)"
        yield from re.findall(found, path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("distribution", ALLOWED)
def test_a_class_name_has_one_meaning(distribution: str) -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path in (ROOT / distribution).rglob("*"):
        if path.suffix in {".py", ".ts", ".tsx"}:
            for name in classes(path):
                modules[name].append(str(path.relative_to(ROOT)))
    repeated = {name: paths for name, paths in modules.items() if len(paths) > 1}
    assert {name: paths for name, paths in repeated.items() if name not in ALLOWED[distribution]} == {}
    assert ALLOWED[distribution] <= set(repeated), "ALLOWED has a name that is used once"


def drawn(text: str) -> dict[str, str]:
    """The parent of each class of the trees in a docstring, by its name."""
    found: dict[str, str] = {}
    path: list[str] = []
    for branch, name in re.findall(r"^((?: {4}|[ │├└─]{4})+)([\w.]+)(?: {2,}.*)?$", text, re.MULTILINE):
        path[len(branch) // 4 - 1 :] = [name]
        if len(path) > 1:
            found[name] = path[-2].rpartition(".")[2]
    return found


def subclasses(base: type) -> dict[str, str]:
    return {sub.__name__: base.__name__ for sub in base.__subclasses__()} | {
        name: parent for sub in base.__subclasses__() for name, parent in subclasses(sub).items()
    }


def test_the_server_s_tree_of_errors_is_complete() -> None:
    for path in (ROOT / "server" / "bqserver" / "jupyter").glob("*.py"):  # app imports all others
        importlib.import_module(f"bqserver.jupyter.{path.stem}")
    tree = subclasses(ServerError) | subclasses(ApiError) | {"ServerError": "BqwidgetError", "ApiError": "HTTPError"}
    own = {sub.__name__ for sub in errors.BqwidgetError.__subclasses__() if sub.__module__.startswith("bqserver.")}
    assert own == {"ServerError"}
    assert drawn((sys.modules["bqserver.errors"].__doc__ or "").partition("::")[2]) == tree


def test_the_client_s_tree_of_errors_is_complete() -> None:
    tree = {name: parent for name, parent in subclasses(errors.BqwidgetError).items() if hasattr(errors, name)}
    assert drawn((errors.__doc__ or "").partition("::")[2]) == tree
