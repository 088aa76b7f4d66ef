"""The lowest versions that pyproject.toml admits, which ``python3 tests --lowest`` installs."""

from __future__ import annotations

import runpy
import tomllib

from packaging.requirements import Requirement
from support.paths import ROOT


def test_every_dependency_is_pinned_to_its_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra, asked in project["optional-dependencies"].items() if extra != "test" for one in asked]
    asked = [Requirement(text) for text in project["dependencies"] + extras]
    lowest = [[each.version for each in one.specifier if each.operator == ">="] for one in asked]
    assert all(len(versions) == 1 for versions in lowest)
    expected = [f"{one.name}=={versions[0]}" for one, versions in zip(asked, lowest, strict=True)]
    assert runpy.run_path(str(ROOT / ".ci" / "environment.py"))["lower_bounds"]() == expected
