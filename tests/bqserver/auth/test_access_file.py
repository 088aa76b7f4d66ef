"""Files of access rules that are lost, emptied, cut off or broken: the last good state stays in effect."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.auth.access_file import AccessFile, accept
from bqserver.auth.file_watcher import RIGHTS
from bqserver.auth.moderation import MODERATION, ModerationState, Mute
from bqserver.auth.tokens import TOKENS
from bqserver.errors import AccessFileError
from bqserver.model import Role
from chaos.faults.slips import SLIPS, put_back, replace_by_folder
from support.eventually import eventually
from support.processes import ServerProcess, bqserver, run_to_exit, server_process
from support.ws_client import member

EACH_SLIP = [
    pytest.param(slip, marks=[pytest.mark.slow("starts servers")] if slip != "emptied" else []) for slip in SLIPS
]
RULES = '["*"]\nada = "moderate"\n\n[staff]\n"*" = "none"\nbob = "write"\n'


@pytest.fixture
def data(home: Path) -> Path:
    """The data folder, with rights that close the room staff to all but bob, and a moderator, ada."""
    folder = home / "data"
    folder.mkdir(mode=0o700)
    (folder / "rights.toml").write_text(RULES)
    (folder / "rights.toml").chmod(0o600)
    return folder


def reload_of(server: ServerProcess, word: str, change: Callable[[], object]) -> str:
    """The server's log once it says ``word`` after ``change`` and a SIGHUP; it may have seen the change by itself."""
    before = len(server.log())
    change()
    server.process.send_signal(signal.SIGHUP)
    return eventually(lambda: word in (text := server.log()[before:]) and text, what=word)


def statuses(server: ServerProcess, room: str, *who: str) -> list[int]:
    return [server.ask("GET", f"/rooms/{room}/messages", token=token).status for token in who]


@pytest.mark.parametrize("slip", EACH_SLIP)
def test_a_slip_in_the_rights_opens_no_room_and_a_restart_neither(data: Path, slip: str):
    rights = data / "rights.toml"
    bob, eve = (tokens.add_grant(data / "tokens.json", name)[0] for name in ("bob", "eve"))
    with server_process() as server:
        assert statuses(server, "staff", bob, eve) == [200, 403]
        log = reload_of(server, str(rights), lambda: SLIPS[slip](rights))
        assert "last good state stays in effect" in log
        assert "bqserver rights accept" in log
        tokens.add_grant(data / "tokens.json", "new")  # the server reads its files again
        assert statuses(server, "staff", bob, eve) == [200, 403]
    with server_process() as server:
        assert str(rights) in server.log()
        assert statuses(server, "staff", bob, eve) == [200, 403]
        reload_of(server, "is in effect again", lambda: put_back(rights, RULES.replace("bob", "eve").encode()))
        eventually(lambda: statuses(server, "staff", bob, eve) == [403, 200], what="the new rights")


def test_each_fault_of_a_file_is_logged_at_once(data: Path):
    """What a client causes is written once a minute; a person who corrects a file needs to see the next fault."""
    with server_process() as server:
        for text, fault in (
            ('["*"\n', "not TOML"),
            ('["*"]\nada = "boss"\n', "boss"),
            ('["*"]\nada = "king"\n', "king"),
        ):
            reload_of(server, fault, lambda text=text: (data / "rights.toml").write_text(text))


def test_deleting_rights_on_purpose_is_a_command_that_a_running_server_follows(data: Path):
    with server_process() as server:
        shared = (data / "token").read_text().strip()
        assert statuses(server, "staff", shared) == [403]
        reload_of(server, "is missing", (data / "rights.toml").unlink)
        with bqserver("rights", "accept") as command:
            out, err = command.communicate()
            assert (command.returncode, err) == (0, "")
            assert "rights.toml is missing: nothing of it is in effect any more" in out
        eventually(lambda: statuses(server, "staff", shared) == [200], what="the accepted removal")
    with server_process() as server:
        assert server.log() == ""
        assert statuses(server, "staff", shared) == [200]
    (data / "rights.toml").write_text("[lobby\n")
    code, err = run_to_exit("rights", "accept")
    assert code == 1
    assert "not TOML" in err


def test_lost_rights_open_no_room_on_a_node_of_a_cluster(data: Path, nats_single):
    eve, _ = tokens.add_grant(data / "tokens.json", "eve")
    node = f"--log={nats_single.log()}", "--single", f"--view={data / 'view.sqlite'}"
    with server_process(*node) as server:
        reload_of(server, "rights.toml is missing", (data / "rights.toml").unlink)
        assert statuses(server, "staff", eve) == [403]
    with server_process(*node) as server:
        assert statuses(server, "staff", eve) == [403]
        tokens.revoke_grants(data / "tokens.json", "eve")
        eventually(lambda: statuses(server, "lobby", eve) == [401], what="the revocation")


@pytest.mark.parametrize("slip", EACH_SLIP)
def test_a_slip_in_the_tokens_changes_nothing_and_the_next_command_repairs_the_file(data: Path, slip: str):
    path = data / "tokens.json"
    ada, eve = (tokens.add_grant(path, name)[0] for name in ("ada", "eve"))
    with server_process() as server:
        reload_of(server, str(path), lambda: SLIPS[slip](path))
        assert statuses(server, "lobby", ada, eve) == [200, 200]
        taken = server.ask(
            "POST", "/messages", {"user": "eve", "text": "hi"}, token=(data / "token").read_text().strip()
        )
        assert taken.code == "name_taken"
    with server_process() as server:
        assert statuses(server, "lobby", ada, eve) == [200, 200]
        with bqserver("token", "revoke", "eve") as command:
            _, err = command.communicate()
            assert command.returncode == 0, err
            assert "Traceback" not in err
        eventually(lambda: statuses(server, "lobby", ada, eve) == [200, 401], what="the revocation")
    assert [one.name for one in tokens.read_grants(path).all] == ["ada", "eve"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("slip", EACH_SLIP)
def test_a_slip_in_the_moderation_opens_no_closed_room_after_a_restart(data: Path, slip: str):
    ada, eve = (tokens.add_grant(data / "tokens.json", name)[0] for name in ("ada", "eve"))
    path = data / "local.moderation.json"
    with server_process() as server:
        for order in ({"do": "close"}, {"do": "mute", "user": "eve"}):
            room = "closed" if order["do"] == "close" else "lobby"
            assert server.ask("POST", f"/rooms/{room}/moderation", order, token=ada).status == 204
    SLIPS[slip](path)
    with server_process() as server:
        assert str(path) in server.log()
        assert statuses(server, "closed", ada, eve) == [200, 403]
        assert server.ask("POST", "/messages", {"user": "eve", "text": "hi"}, token=eve).code == "muted"
        assert server.ask("POST", "/rooms/closed/moderation", {"do": "reopen"}, token=ada).status == 204
    with server_process() as server:  # the server has repaired its file
        assert server.log() == ""
        assert statuses(server, "closed", eve) == [200]
        assert server.ask("POST", "/messages", {"user": "eve", "text": "hi"}, token=eve).code == "muted"
        code, err = run_to_exit("moderation", "accept")
        assert code == 1
        assert "in use by another bqserver" in err
    path.unlink()
    with bqserver("moderation", "accept") as command:
        out, _ = command.communicate()
        assert "is missing: nothing of it is in effect any more" in out
    with server_process() as server:
        assert server.ask("POST", "/messages", {"user": "eve", "text": "hi"}, token=eve).status == 201


@pytest.mark.parametrize("broken", ["rights.toml", "local.moderation.json", "rights.toml local.moderation.json"])
def test_a_revocation_takes_effect_whatever_else_is_broken(data: Path, broken: str):
    path = data / "tokens.json"
    ada, mallory = (tokens.add_grant(path, name)[0] for name in ("ada", "mallory"))
    with server_process() as server:
        assert server.ask("POST", "/rooms/closed/moderation", {"do": "close"}, token=ada).status == 204
        for name in broken.split():
            SLIPS["broken"](data / name)
        with member(server.url, Authorization=f"Bearer {mallory}") as one:
            one.until("synced")
            tokens.revoke_grants(path, "mallory")
            assert one.close_code() == 4401
        refused = server.ask("POST", "/messages", {"user": "mallory", "text": "hi"}, token=mallory)
        assert (refused.status, refused.code) == (401, "token_revoked")
        assert statuses(server, "staff", ada) == [403]
        assert statuses(server, "closed", ada) == [200]


def test_restrictions_in_the_rights_take_effect_while_the_tokens_are_broken(data: Path):
    path, rights = data / "tokens.json", data / "rights.toml"
    mallory, _ = tokens.add_grant(path, "mallory")
    with server_process() as server, member(server.url, Authorization=f"Bearer {mallory}") as one:
        one.until("synced")
        SLIPS["broken"](path)
        rights.write_text(RULES + '\n[lobby]\nmallory = "none"\n')
        assert one.close_code() == 4403
        assert statuses(server, "lobby", mallory) == [403]


# ---- without a server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rights.toml"


def role(file: AccessFile, name: str | None = None, room: str = "staff") -> Role:
    return file.value.role(name, room)


def test_cut_off_at_any_byte_the_rights_allow_no_more_than_before(path: Path):
    path.write_text(RULES)
    file = AccessFile(path, RIGHTS)
    members = list(itertools.product(("ada", "bob", None), ("staff", "lobby")))
    before = {one: role(file, *one) for one in members}
    for length in range(len(RULES)):
        path.write_text(RULES[:length])
        file.check()
        assert all(role(file, *one) <= before[one] for one in members), RULES[:length]
        assert all(role(AccessFile(path, RIGHTS), *one) <= before[one] for one in members), RULES[:length]


def test_an_edit_that_allows_more_waits_for_the_next_check_and_one_that_forbids_does_not(path: Path):
    path.write_text(RULES)
    file = AccessFile(path, RIGHTS)
    path.write_text('[staff]\n"*" = "read"\nbob = "none"\n')
    assert file.check()
    assert (role(file), role(file, "bob"), file.settling) == (Role.NONE, Role.NONE, True)
    assert file.check()
    assert (role(file), role(file, "bob"), file.settling) == (Role.READ, Role.NONE, False)
    path.write_text(RULES)
    assert file.check(forced=True)
    assert (role(file, "bob"), file.settling) == (Role.WRITE, False)


def test_what_an_edit_forbids_stays_forbidden_if_the_file_is_lost_at_once(path: Path):
    path.write_text(RULES)
    file = AccessFile(path, RIGHTS)
    path.write_text('[staff]\n"*" = "read"\nbob = "none"\n')
    file.check()
    path.unlink()
    file.check()
    assert (role(file), role(file, "bob"), role(file, "ada", "lobby")) == (Role.NONE, Role.NONE, Role.WRITE)
    path.write_text(RULES)
    file.check()
    assert (role(file, "bob"), role(file, "ada", "lobby")) == (Role.WRITE, Role.MODERATE)


def test_the_copy_is_private_and_written_again_when_it_is_lost(path: Path):
    path.write_text(RULES)
    file = AccessFile(path, RIGHTS)
    copy = path.with_name(".rights.toml.last-good")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    for harm in (Path.unlink, replace_by_folder, lambda one: one.write_text("no copy")):
        harm(copy)
        file.check()
        assert RULES in copy.read_text()
    assert role(file) is Role.NONE


def test_a_lost_file_with_a_damaged_copy_is_an_error(path: Path):
    path.write_text(RULES)
    AccessFile(path, RIGHTS)
    path.unlink()
    path.with_name(".rights.toml.last-good").write_text("")
    with pytest.raises(
        AccessFileError, match=r"is missing, and its last good state is lost.*run bqserver rights accept"
    ):
        AccessFile(path, RIGHTS)
    accept(path, RIGHTS)
    assert role(AccessFile(path, RIGHTS)) is Role.WRITE


@contextmanager
def without_root() -> Iterator[None]:
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_in_a_folder_of_others_the_copy_is_in_the_spare_folder(tmp_path: Path, missing):
    if os.geteuid() != 0:
        missing("root or sudo (to be another user on this machine)")
    with tempfile.TemporaryDirectory(prefix="bqwidget-etc-") as parent:
        etc, spare = Path(parent) / "etc", Path(parent) / "spare"
        Path(parent).chmod(0o755)
        etc.mkdir()
        spare.mkdir()
        os.chown(spare, 65534, 65534)
        path = etc / "rights.toml"
        path.write_text(RULES)
        with without_root():
            AccessFile(path, RIGHTS, spare_folder=spare)
        assert [one.name for one in etc.iterdir()] == ["rights.toml"]
        path.unlink()
        with without_root():
            assert role(AccessFile(path, RIGHTS, spare_folder=spare)) is Role.NONE
        accept(path, RIGHTS, spare_folder=spare)  # by root
        with without_root():
            assert role(AccessFile(path, RIGHTS, spare_folder=spare)) is Role.WRITE


def test_a_file_that_never_existed_has_no_rules_and_no_copy(path: Path):
    file = AccessFile(path, RIGHTS)
    assert role(file) is Role.WRITE
    assert list(path.parent.iterdir()) == []
    path.write_text(RULES)
    assert file.check()
    assert role(file) is Role.NONE


@pytest.mark.parametrize("kind", [RIGHTS, TOKENS, MODERATION], ids=lambda kind: kind.name)
def test_a_faulty_file_without_a_known_state_is_an_error(path: Path, kind):
    path.write_text("[lobby\n")
    path.chmod(0o600)
    with pytest.raises(AccessFileError, match=r"rights\.toml"):
        AccessFile(path, kind)


def test_a_change_is_kept_if_its_file_can_not_be_replaced(tmp_path: Path):
    """Such as a room that is closed while a folder lies where the file of closed rooms was."""
    path = tmp_path / "history.moderation.json"
    state = ModerationState(path, lambda: 0.0)
    state.mute(Mute(room="lobby", user="eve", by="ada"))
    replace_by_folder(path)
    state.close("staff", "ada")
    again = ModerationState(path, lambda: 0.0)
    assert again.is_closed("staff")
    assert again.find_mute("lobby", "eve")
    shutil.rmtree(path, ignore_errors=True)
