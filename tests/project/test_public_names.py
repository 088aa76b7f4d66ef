"""Names that are never renamed: all names of the release 938af9b still exist; additions are allowed.

They are on the wire, on disk, in a cluster, in configuration, logs, metrics, and in users' code. The file
``fixtures/release_938af9b/names.json`` holds the names that ``support.release.names`` extracted from that release.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.release import names
from support.release.files import CLEARED_VARIABLES, pinned_names
from support.release.observed import observe

PINNED = pinned_names()
DECLARED = (
    "configuration",
    "entries",
    "environment",
    "error codes",
    "frames",
    "known close codes",
    "loggers",
    "python",
)
OBSERVED = tuple(section for section in PINNED if section not in DECLARED)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an empty data folder, which the environment names."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "data").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BQWIDGET_DATA_DIR", str(folder / "data"))
        patch.setenv("BQWIDGET_RUNTIME_DIR", str(folder / "runtime"))
        for name in CLEARED_VARIABLES:
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture(scope="module")
def declared(environment: Path) -> names.Names:
    return {**names.declared(), "error codes": names.constants()}


@pytest.fixture(scope="module")
def observed(environment: Path, nats_server: str) -> names.Names:
    return observe(environment / "observed", nats_server)


@pytest.mark.parametrize("section", DECLARED)
def test_every_declared_name_of_the_release_still_exists(declared: names.Names, section: str) -> None:
    assert list(names.missing(PINNED[section], declared[section])) == []


@pytest.mark.parametrize("section", OBSERVED)
def test_every_observed_name_of_the_release_still_exists(observed: names.Names, section: str) -> None:
    assert list(names.missing(PINNED[section], observed[section])) == []


def test_a_missing_name_is_reported() -> None:
    before = {"a": {"b": ["x", "y"], "c": "1"}, "d": 1}
    now = {"a": {"b": ["y", "z"], "c": "2", "more": "3"}}
    assert list(names.missing(before, now)) == ["/a/b: x is gone", "/a/c was '1' and is '2'", "/d is gone"]


@pytest.mark.parametrize("switch", ["enable", "disable"])
def test_an_import_leaves_the_garbage_collector_as_it_was(switch: str) -> None:
    code = (
        f"import gc; gc.{switch}(); before = gc.isenabled(); from bqwidget import Room; assert gc.isenabled() is before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
