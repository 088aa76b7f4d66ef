"""The built bundles: small enough for a comm, whole in one file, and without the paths of who built them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from support.paths import ROOT

STATIC = ROOT / "bqwidget" / "static"
MOST = 120_000
"""Bytes of a bundle, compressed as servers do it: the view, and what it runs in its worker."""


@pytest.mark.parametrize("name", ["widget", "page"])
def test_a_bundle_is_small(name):
    script, style = ((STATIC / f"{name}.{kind}").read_bytes() for kind in ("js", "css"))
    assert len(gzip.compress(script, 6)) + len(gzip.compress(style, 6)) <= MOST


@pytest.mark.parametrize("name", ["widget", "page"])
def test_a_bundle_imports_nothing_and_names_no_machine(name):
    script = (STATIC / f"{name}.js").read_text(encoding="utf-8")
    assert not re.search(r"""(?:^|[;}\s])import\s*["'{*]|\bfrom\s*["']\.""", script)
    assert "sourceMappingURL" not in script
    assert str(Path.home()) not in script
    assert str(STATIC.parent.parent) not in script
