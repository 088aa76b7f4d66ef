"""Folders of this checkout."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
PYTHONPATH = os.pathsep.join(map(str, [ROOT, ROOT / "server", TESTS / "support" / "fast_imports"]))
"""For a process that imports this checkout and Jupyter."""
