"""The built bundles: small enough for a comm, self-contained, and free of the build machine's paths."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from support.paths import ROOT

STATIC = ROOT / "bqwidget" / "static"
MAX_BUNDLE_BYTES = 120_000
"""Size of a bundle, compressed as servers do: the view and the code of its worker."""


@pytest.mark.parametrize("name", ["widget", "page", "panel"])
def test_a_bundle_is_small(name):
    script, style = ((STATIC / f"{name}.{kind}").read_bytes() for kind in ("js", "css"))
    assert len(gzip.compress(script, 6)) + len(gzip.compress(style, 6)) <= MAX_BUNDLE_BYTES


@pytest.mark.parametrize("name", ["widget", "page", "lab", "panel", "worker", "math"])
def test_a_bundle_has_no_imports_and_no_local_paths(name):
    script = (STATIC / f"{name}.js").read_text(encoding="utf-8")
    assert not re.search(r"""(?:^|[;}\s])import\s*["'{*]|\bfrom\s*["']\.""", script)
    assert "sourceMappingURL" not in script
    assert str(Path.home()) not in script
    assert str(STATIC.parent.parent) not in script
