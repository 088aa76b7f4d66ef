"""The file of permissions: which line decides, and the errors of a faulty file."""

from __future__ import annotations

import pytest
from bqserver.auth.access_file import AccessFile
from bqserver.auth.file_watcher import RIGHTS
from bqserver.auth.permissions import Permissions, parse_permissions
from bqserver.errors import AccessFileError
from bqserver.model import Role

FILE = """
["*"]
ada = "moderate"

["class-*"]
"*" = "read"
bob = "write"

["class-secret-*"]
"*" = "none"

[staff]
"*" = "none"
bob = "moderate"
"""


@pytest.mark.parametrize(
    ("name", "room", "role"),
    [
        ("ada", "lobby", Role.MODERATE),
        ("bob", "lobby", Role.WRITE),
        (None, "lobby", Role.WRITE),
        ("ada", "class-1", Role.READ),
        ("bob", "class-1", Role.WRITE),
        (None, "class-1", Role.READ),
        ("bob", "class-secret-2", Role.NONE),
        ("ada", "staff", Role.NONE),
        ("bob", "staff", Role.MODERATE),
        (None, "staff", Role.NONE),
        ("bob", "staff-2", Role.WRITE),
    ],
)
def test_the_most_specific_table_with_a_line_for_the_name_decides(name, room, role):
    assert parse_permissions(FILE).role(name, room) is role


def test_without_a_file_every_member_may_write(tmp_path):
    assert AccessFile(tmp_path / "none", RIGHTS).value.role("ada", "lobby") is Role.WRITE
    assert Permissions().role(None, "lobby") is Role.WRITE


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[", ["not TOML"]),
        ('ada = "read"', ["ada", "table"]),
        ('[lobby]\nada = "admin"', ["lobby", "ada", "admin", "moderate"]),
        ("[lobby]\nada = 3", ["lobby", "ada", "int"]),
        ('["a b"]\nada = "read"', ["'a b'", "room"]),
        ('["*x"]\nada = "read"', ["'*x'"]),
    ],
)
def test_the_error_of_a_faulty_file_names_the_line_and_the_file(tmp_path, text, names):
    path = tmp_path / "rights.toml"
    path.write_text(text)
    with pytest.raises(AccessFileError) as refused:
        AccessFile(path, RIGHTS)
    assert all(name in str(refused.value) for name in [*names, str(path)])


def test_a_file_that_others_can_write_is_an_error(tmp_path):
    path = tmp_path / "rights.toml"
    path.write_text(FILE)
    path.chmod(0o666)
    with pytest.raises(AccessFileError, match="chmod go-w"):
        AccessFile(path, RIGHTS)
    path.chmod(0o644)
    assert AccessFile(path, RIGHTS).value.role("ada", "lobby") is Role.MODERATE
