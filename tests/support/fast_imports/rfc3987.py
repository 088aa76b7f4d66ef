"""Stands in for the package rfc3987, so that jsonschema does not import rfc3987_syntax.

That one compiles a grammar at each import: 1.2 s for each pytest, nbconvert and Jupyter server (rfc3987_syntax 1.1.0).
Jupyter's schemas have only their own URLs.
"""

from __future__ import annotations

from urllib.parse import urlsplit


def parse(value: str, rule: str) -> str:
    """Raise ValueError if ``value`` does not follow ``rule``: ``URI``, ``IRI``, ``URI_reference`` or ``IRI_reference``."""
    if not urlsplit(value).scheme and rule in {"URI", "IRI"}:
        raise ValueError(f"not an absolute URL: {value}")
    return value
