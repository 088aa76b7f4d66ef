"""Why the server refuses what a person does is in the window's other languages too: they are found by the error's code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.paths import ROOT

SOURCES = [ROOT / "server" / "bqserver" / folder for folder in ("auth", "fairness", "hub", "storage", "web")]
REFUSALS = {"ApiError", "Denied", "Refusal", "Rejected", "_too_many"}
CATALOGUES = sorted((ROOT / "js/src/i18n").glob("*-errors.ts"))
FOR_PROGRAMS = {
    "bad_field", "bad_handshake", "bad_host", "bad_json", "bad_length", "bad_origin", "bad_type", "behind",
    "too_many_live", "too_many_orders", "too_many_steps", "unverified",
}  # fmt: skip
"""The window does not cause these, or their sentence names an option of the server or a number."""


def codes(path: Path) -> set[str]:
    """The codes of all refusals in a module: a constant of one word among the first two arguments."""
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    given = [each for call in calls if getattr(call.func, "id", "") in REFUSALS for each in call.args[:2]]
    texts = {each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return {text for text in texts if re.fullmatch("[a-z_]+", text)}


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_every_reason_for_a_person_is_translated(catalogue: Path):
    found = set().union(*(codes(path) for folder in SOURCES for path in folder.rglob("*.py")))
    assert {"muted", "session_over", "too_many_joins"} <= found
    translated = set(re.findall(r'^  "?(\w+)"?: "', catalogue.read_text("utf-8"), re.MULTILINE))
    assert found - translated - FOR_PROGRAMS == set()
