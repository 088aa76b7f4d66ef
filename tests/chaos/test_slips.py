"""Slips of an operator in random order, against a model of who may read and write where.

A real server process; files are lost, emptied, cut off, broken and repaired, edited and accepted, tokens are created
and revoked, rooms closed, the server restarted and killed. At no moment a member may do more than before and after
the step, and then exactly what the model says. Size 1: five seconds; BQWIDGET_CHAOS=100: ten minutes. A failure names
its seed and its steps.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from bqserver.auth import tokens
from bqserver.auth.access_file import accept
from bqserver.auth.file_watcher import RIGHTS
from support.eventually import eventually
from support.processes import ServerProcess, server_process

from .faults.slips import SLIPS, put_back
from .load.sizes import scaled

pytestmark = pytest.mark.sqlite

ROOMS = "lobby", "staff", "lab"
NAMES = "ada", "bob", "eve"
BOSS = "boss"
"""A member who moderates every room, by every set of rights."""
LEVELS = ["none", "read", "write"]
RUN_SECONDS = scaled(5, 600)
SEED = int(os.environ.get("BQWIDGET_SEED") or random.randrange(1 << 32))

Matrix = dict[tuple[str, str], int]
"""Name and room: 0 nothing, 1 reading, 2 writing too."""


class Model:
    """What the operator has last decided, by files that were complete and by commands."""

    def __init__(self) -> None:
        self.rules: dict[str, dict[str, str]] = {}
        self.revoked: set[str] = set()
        self.closed: set[str] = set()
        self.muted: set[tuple[str, str]] = set()

    def level(self, name: str, room: str) -> int:
        if name in self.revoked:
            return 0
        word = next(
            (
                self.rules[table][who]
                for table in (room, "*")
                for who in (name, "*")
                if who in self.rules.get(table, {})
            ),
            "write",
        )
        if word != "moderate" and room in self.closed:
            return 0
        level = 2 if word == "moderate" else LEVELS.index(word)
        return min(level, 1) if (name, room) in self.muted else level

    def matrix(self) -> Matrix:
        return {(name, room): self.level(name, room) for name in (*NAMES, BOSS) for room in ROOMS}

    def text(self) -> str:
        return "\n".join(
            f'["{table}"]\n' + "".join(f'"{who}" = "{word}"\n' for who, word in names.items())
            for table, names in self.rules.items()
        )


class Operator:
    """Takes random steps, and compares the server with the model after each."""

    def __init__(self, data: Path, seed: int, running: ExitStack) -> None:
        self.random = random.Random(seed)
        self.model = Model()
        self.steps: list[str] = []
        self.data = data
        self.rights, self.tokens = data / "rights.toml", data / "tokens.json"
        self.moderation = data / "local.moderation.json"
        self.credentials = {name: tokens.add_grant(self.tokens, name)[0] for name in (*NAMES, BOSS)}
        self.cut_off = False
        self._running = running
        self.invent_rules()
        self.rights.write_text(self.model.text())
        self.start()

    # ---- the server

    def start(self) -> None:
        self.server: ServerProcess = self._running.enter_context(server_process())

    def restart(self) -> None:
        if self.random.random() < 0.5:
            self.server.process.kill()
            self.server.process.wait()
        else:
            self.server.stop()
        self._running.pop_all()
        self.start()

    def ask(self, method: str, room: str, name: str, kind: str = "messages", body: object = None) -> int:
        return self.server.ask(method, f"/rooms/{room}/{kind}", body, token=self.credentials[name]).status

    def look(self) -> Matrix:
        found = {}
        for name, room in self.model.matrix():
            level = int(self.ask("GET", room, name) == 200)
            if self.ask("POST", room, name, body={"user": name, "text": "x"}) == 201:
                level += 1
            found[name, room] = level
        return found

    # ---- steps

    def invent_rules(self) -> None:
        tables = [room for room in ("*", *ROOMS) if self.random.random() < 0.6] or ["*"]
        words = {
            table: {who: self.random.choice(LEVELS) for who in ("*", *NAMES) if self.random.random() < 0.5}
            for table in tables
        }
        self.model.rules = {table: {**names, BOSS: "moderate"} for table, names in {"*": {}, **words}.items()}

    def edit_rights(self) -> None:
        self.invent_rules()
        self.repair_rights()

    def repair_rights(self) -> None:
        # Without the first line it might be the beginning of what it was, which counts as cut off.
        put_back(self.rights, f"# edit {len(self.steps)}\n{self.model.text()}\n".encode())
        self.cut_off = False

    def rights_are_known(self) -> None:
        """Wait until the server has taken over the file: it may have been half written before."""
        self.repair_rights()
        self.settle()
        copy = self.rights.with_name(f".{self.rights.name}.last-good")
        eventually(lambda: copy.read_bytes().endswith(b"\n" + self.rights.read_bytes()), what="the copy of the rights")

    def break_rights(self) -> None:
        self.rights_are_known()
        self.slip(self.rights)

    def cut_rights(self) -> None:
        """Any beginning of the file; it may be valid, and may then forbid more."""
        self.rights_are_known()
        data = self.rights.read_bytes().rstrip()
        self.rights.write_bytes(data[: self.random.randrange(len(data))])
        self.cut_off = True

    def accept_and_edit_rights(self) -> None:
        put_back(self.rights, b"")
        accept(self.rights, RIGHTS)
        self.model.rules = {}
        self.cut_off = False
        self.settle()
        self.edit_rights()

    def revoke(self) -> None:
        name = self.random.choice(NAMES)
        if name not in self.model.revoked:
            tokens.revoke_grants(self.tokens, name)
            self.model.revoked.add(name)

    def add_token(self) -> None:
        name = self.random.choice(NAMES)
        self.credentials[name], _ = tokens.add_grant(self.tokens, name)
        self.model.revoked.discard(name)

    def break_tokens(self) -> None:
        if not self.tokens.is_file() or self.tokens.is_symlink():
            self.add_token()
            self.settle()
        self.slip(self.tokens)

    def break_moderation(self) -> None:
        """Not one without closed rooms and mutes: with such a file that is broken, the server does not start."""
        if (self.model.closed or self.model.muted) and self.moderation.is_file() and not self.moderation.is_symlink():
            self.slip(self.moderation)

    def moderate(self) -> None:
        room, name = self.random.choice(ROOMS), self.random.choice(NAMES)
        order = self.random.choice(["close", "reopen", "mute", "unmute"])
        body = {"do": order} if order in ("close", "reopen") else {"do": order, "user": name}

        def ordered() -> bool:
            return self.ask("POST", room, BOSS, "moderation", body) == 204

        # An accepted, empty file names no moderator, and is in effect until the server has seen the next edit.
        if ordered() or (not self.cut_off and eventually(ordered, what="the moderator's rights")):
            change = {
                "close": lambda: self.model.closed.add(room),
                "reopen": lambda: self.model.closed.discard(room),
                "mute": lambda: self.model.muted.add((name, room)),
                "unmute": lambda: self.model.muted.discard((name, room)),
            }[order]
            change()

    def slip(self, path: Path) -> None:
        kind = self.random.choice(list(SLIPS))
        self.steps.append(f"{path.name} {kind}")
        SLIPS[kind](path)

    def signal(self) -> None:
        self.server.process.send_signal(signal.SIGHUP)

    # ---- comparing

    def settle(self, before: Matrix | None = None) -> None:
        """Wait until the server does what the model says. Meanwhile it never allows more than before and after."""
        wanted = self.model.matrix()
        most = {key: max(level, (before or wanted)[key]) for key, level in wanted.items()}
        if before is None:
            most = dict.fromkeys(wanted, 2)

        def is_settled() -> bool:
            found = self.look()
            too_open = {key: found[key] for key in found if found[key] > most[key]}
            assert not too_open, too_open
            return found == wanted or (self.cut_off and all(found[key] <= wanted[key] for key in found))

        eventually(is_settled, what="the rights of the model")

    def step(self) -> None:
        choices: list[tuple[Callable[[], None], int]] = [
            (self.edit_rights, 3), (self.repair_rights, 1), (self.break_rights, 6), (self.cut_rights, 4),
            (self.accept_and_edit_rights, 1), (self.revoke, 3), (self.add_token, 2), (self.break_tokens, 5),
            (self.break_moderation, 3), (self.moderate, 4), (self.signal, 4), (self.restart, 4),
        ]  # fmt: skip
        before = self.model.matrix()
        [(action)] = self.random.choices([one for one, _ in choices], [weight for _, weight in choices])
        self.steps.append(action.__name__)
        action()
        if action == self.accept_and_edit_rights:
            before = dict.fromkeys(before, 2)  # it allowed everything for a moment
        self.settle(before)


@pytest.mark.slow("makes slips for five seconds")
@pytest.mark.timeout(120 + 2 * RUN_SECONDS)
def test_slips_never_open_more_than_the_last_good_state(home: Path):
    data = home / "data"
    data.mkdir(mode=0o700)
    deadline = time.monotonic() + RUN_SECONDS
    with ExitStack() as running:
        operator = Operator(data, SEED, running)
        try:
            operator.settle()
            while time.monotonic() < deadline or len(operator.steps) < 10:
                operator.step()
        except BaseException as error:
            error.add_note(f"BQWIDGET_SEED={SEED}; steps: {', '.join(operator.steps[-40:])}")
            error.add_note(operator.model.text())
            raise
        print(f"{len(operator.steps):,} steps, seed {SEED}")
