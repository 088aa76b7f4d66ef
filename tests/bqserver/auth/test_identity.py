"""Identities: the principal for an external user name."""

from __future__ import annotations

from bqserver.auth.identity import shorten_name


def test_long_names_with_the_same_beginning_stay_different():
    first, second = shorten_name("a" * 64 + "x"), shorten_name("a" * 64 + "y")
    assert len({first, second, "a" * 64}) == 3
    assert max(len(first), len(second)) <= 64
    assert shorten_name("ada") == "ada"
