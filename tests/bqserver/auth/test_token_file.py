"""The file with the shared token."""

from __future__ import annotations

import stat

import pytest
from bqserver.auth.token_file import read_or_create_token, read_token
from bqserver.errors import AccessFileError


def test_a_token_file_is_created_once_and_private(tmp_path):
    path = tmp_path / "deep" / "token"
    token = read_or_create_token(path)
    assert read_or_create_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 43


def test_a_token_file_that_is_unsafe_or_empty_is_an_error(tmp_path):
    path = tmp_path / "token"
    path.write_text("secret\n")
    path.chmod(0o644)
    with pytest.raises(AccessFileError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == "secret"
    path.write_text("")
    with pytest.raises(AccessFileError, match="empty"):
        read_token(path)
    with pytest.raises(AccessFileError, match="does not exist"):
        read_token(tmp_path / "none")
