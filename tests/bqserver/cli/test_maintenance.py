"""The commands ``bqserver backup``, ``restore`` and ``check``."""

from __future__ import annotations

from pathlib import Path

import pytest
from bqserver.storage.sqlite.attachments import attachments_path
from bqserver.testing import running_server
from support.sqlite_logs import (
    delete_entry,
    fetch_attachments,
    make_log,
    make_log_with_attachments,
    run_bqserver,
)

pytestmark = [pytest.mark.sqlite, pytest.mark.slow("runs many commands")]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return make_log(tmp_path / "log.sqlite")


@pytest.fixture
def log_with_attachments(tmp_path: Path) -> Path:
    return make_log_with_attachments(tmp_path / "live" / "log.sqlite")


def test_backup_check_and_restore_end_to_end(log: Path, tmp_path: Path):
    target = tmp_path / "backup"
    with running_server(log=f"sqlite:{log}", open=True):
        done = run_bqserver("backup", target, f"--log=sqlite:{log}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{log} is backed up in {target}: 2 rooms, 8 entries\n"
        done = run_bqserver("check", f"--log=sqlite:{log}")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{log} is good: 2 rooms, 8 entries\n", "")
        done = run_bqserver("restore", target, f"--log=sqlite:{log}")
        assert done.returncode == 1
        assert "in use by another bqserver" in done.stderr
    done = run_bqserver("restore", target, f"--log=sqlite:{log}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "was moved to" in done.stdout


def test_check_prints_problems_and_exits_1(log: Path):
    delete_entry(log)
    done = run_bqserver("check", f"--log=sqlite:{log}")
    assert done.returncode == 1
    assert "entries before it are missing, from seq 5 on" in done.stdout
    assert "restore a backup with 'bqserver restore FILE'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["backup"], "give one file: bqserver backup FILE"),
        (["restore"], "give one file: bqserver restore FILE"),
        (["backup", "a", "b"], "b is not understood"),
        (["check", "a"], "a is not understood"),
        (["check", "--lag=sqlite:x"], "did you mean --log?"),
        (["check", "--log=memory"], "--log=memory is not a file: give --log=sqlite:PATH"),
    ],
)
def test_a_wrong_command_line_exits_2_and_names_the_argument(arguments: list[str], text: str):
    done = run_bqserver(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr


def test_the_default_log_is_in_the_data_folder(home: Path):
    done = run_bqserver("check")
    assert done.returncode == 1
    assert f"{home / 'data' / 'history.sqlite'} does not exist" in done.stderr


def test_the_commands_print_where_attachments_are_and_how_many_are_missing(log_with_attachments: Path, tmp_path: Path):
    saved = tmp_path / "monday"
    done = run_bqserver("backup", f"--log=sqlite:{log_with_attachments}", saved)
    assert (done.returncode, done.stdout.count("2 attachments")) == (0, 1)
    assert f"the attachments are in {attachments_path(saved)}: keep both files together" in done.stdout
    good = run_bqserver("check", f"--log=sqlite:{saved}")
    assert (good.returncode, "2 attachments" in good.stdout) == (0, True)
    attachments_path(saved).rename(tmp_path / "lost")
    assert run_bqserver("check", f"--log=sqlite:{saved}").returncode == 1
    new = tmp_path / "new.sqlite"
    done = run_bqserver("restore", f"--log=sqlite:{new}", saved)
    assert f"2 attachments are missing: put their file at {attachments_path(saved)}" in done.stdout
    (tmp_path / "lost").rename(attachments_path(saved))
    assert "missing" not in run_bqserver("restore", f"--log=sqlite:{new}", saved).stdout
    assert len([body for body in fetch_attachments(new) if body]) == 2
