"""The command ``bqserver token``: add, list and revoke."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from bqserver.auth import tokens
from bqserver.auth.tokens import read_grants
from bqserver.cli.tokens import describe_grant, parse_expiry
from support.forking.server import run

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(home):
    return home / "data" / "tokens.json"


def bqserver(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = run("token", *args)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_add_prints_only_the_token_on_standard_output_and_list_never(path):
    made = bqserver("add", "ada", "--rooms=lobby,class-*", "--expires=90d", "--read-only")
    token = made.stdout.strip()
    grant = read_grants(path).find_by_token(token)
    assert (grant.name, grant.rooms, grant.read_only) == ("ada", ("lobby", "class-*"), True)
    assert token not in made.stderr
    listed = bqserver("list").stdout
    assert all(word in listed for word in (grant.id, "ada", "reads lobby, class-*", "valid until"))
    assert grant.sha256 not in listed
    assert token not in listed
    assert "revoked" in bqserver("revoke", "ada").stdout


@pytest.mark.parametrize(
    ("args", "code", "names"),
    [
        ([], 2, "add NAME"),
        (["add"], 2, "NAME"),
        (["add", "a", "b"], 2, "b is not understood"),
        (["make"], 2, "make"),
        (["add", "ada", "--expire=1d"], 2, "--expires"),
        (["add", "ada", "--expires=soon"], 2, "soon"),
        (["add", "ada", "--expires=2020-01-01"], 2, "past"),
        (["add", "ada", "--rooms=a b"], 1, "a b"),
        (["revoke", "unknown"], 1, "unknown"),
    ],
)
def test_a_wrong_command_line_is_explained(home, args, code, names):
    assert names in bqserver(*args, code=code).stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2w", NOW + timedelta(weeks=2)),
        ("2027-02-01T00:00Z", datetime(2027, 2, 1, tzinfo=UTC)),
    ],
)
def test_expiry_is_a_duration_or_a_time(text, expected):
    assert parse_expiry(text, NOW) == expected


def test_a_description_has_no_control_characters_and_no_digest():
    grant = tokens.Grant(id="1", name="a\x1b[2Jb", sha256="secret", made=NOW)
    assert "\x1b" not in describe_grant(grant) + repr(grant)
    assert "secret" not in describe_grant(grant) + repr(grant)


def test_a_link_in_the_place_of_the_lock_empties_no_other_file(path, tmp_path):
    """Root adds tokens in the folder of a service, whose user may put links there."""
    other = tmp_path / "other"
    other.write_text("kept")
    path.parent.mkdir(mode=0o700)
    path.with_name("tokens.json.lock").symlink_to(other)
    refused = bqserver("add", "ada", code=1)
    assert "tokens.json" in refused.stderr
    assert other.read_text() == "kept"
    assert not path.exists()
