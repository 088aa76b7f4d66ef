"""Names: within a distribution, a name of a class has one meaning."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

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
