"""Comments, docstrings, texts and guides are plain English: they keep clear of a list of archaic words."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tokenize
from pathlib import Path

import pytest
from support.paths import ROOT

WORDS = re.compile(
    r"\b(whoever|whom|nobody|somebody|anybody|anew|lest|hence|thereof|for ever|for good|lets? go|letting go|owed"
    r"|beside|begun|naught|told|heard)\b",
    re.IGNORECASE,
)
MAX_PER_1000_WORDS = 1.0
AREAS = ["server/bqserver", "bqwidget", "js/src", "js/tests", "tests", "notebooks", "*.md"]


def python_prose(source: str) -> str:
    """Comments, and strings with a space in them."""
    return " ".join(
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string)
    )


def script_prose(source: str) -> str:
    return " ".join(re.findall(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]* [^\"\n]*\"|`[^`]* [^`]*`", source, re.DOTALL))


def notebook_prose(source: str) -> str:
    return " ".join("".join(cell["source"]) for cell in json.loads(source)["cells"])


PROSE = {
    ".py": python_prose,
    ".ts": script_prose,
    ".tsx": script_prose,
    ".css": script_prose,
    ".ipynb": notebook_prose,
    ".md": str,
}


@pytest.mark.parametrize("area", AREAS)
def test_prose_keeps_clear_of_archaic_words(area: str) -> None:
    listed = subprocess.run(["git", "ls-files", area], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [
        ROOT / name
        for name in listed.splitlines()
        if Path(name).suffix in PROSE and name != f"tests/project/{Path(__file__).name}"
    ]
    assert paths
    found, words = {}, 0
    for path in paths:
        prose = PROSE[path.suffix](path.read_text())
        words += len(re.findall(r"[A-Za-z']+", prose))
        if hits := WORDS.findall(prose):
            found[str(path.relative_to(ROOT))] = hits
    assert 1000 * sum(map(len, found.values())) <= MAX_PER_1000_WORDS * words, found
