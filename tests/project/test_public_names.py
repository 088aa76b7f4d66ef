"""Names that are never renamed: all names of the release 938af9b still exist; additions are allowed.

They are on the wire, on disk, in a cluster, in configuration, logs, metrics, and in users' code. The file
``fixtures/release_938af9b/names.json`` holds the names that ``support.release.names`` extracted from that release.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.release import names
from support.release.files import pinned_names
from support.release.observed import observed

PINNED = pinned_names()
DECLARED = (
    *("close codes", "configuration", "entries", "environment", "frames", "loggers", "python"),
    "error codes",
)
OBSERVED = tuple(section for section in PINNED if section not in DECLARED)


@pytest.fixture(scope="module")
def present(nats_server: str, tmp_path_factory: pytest.TempPathFactory) -> names.Names:
    """The names of the present code."""
    folder: Path = tmp_path_factory.mktemp("names")
    (folder / "data").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BQWIDGET_DATA_DIR", str(folder / "data"))
        patch.setenv("BQWIDGET_RUNTIME_DIR", str(folder / "runtime"))
        for name in ("BQWIDGET_URL", "BQWIDGET_TOKEN", "BQSERVER_TOKEN", "PORT"):
            patch.delenv(name, raising=False)
        found = names.declared() | observed(folder / "observed", nats_server)
    return {**found, "error codes": names.constants()}


@pytest.mark.parametrize("section", [*DECLARED, *OBSERVED])
def test_every_name_of_the_release_still_exists(present: names.Names, section: str) -> None:
    assert list(names.missing(PINNED[section], present[section])) == []


def test_a_missing_name_is_reported() -> None:
    before = {"a": {"b": ["x", "y"], "c": "1"}, "d": 1}
    now = {"a": {"b": ["y", "z"], "c": "2", "more": "3"}}
    assert list(names.missing(before, now)) == ["/a/b: x is gone", "/a/c was '1' and is '2'", "/d is gone"]
