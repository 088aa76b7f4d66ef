"""The thread rule in IPython's own terminal: a real one, in a pseudo-terminal."""

from __future__ import annotations

import sys

import pexpect  # IPython itself needs it
import pytest

pytestmark = pytest.mark.slow("starts IPython in each test", versions=True)

SLOW = 30
HEARD = (
    "room.on_message(lambda m: print('received', m.text, 'on the main thread', "
    "threading.current_thread() is threading.main_thread()))"
)


class Terminal:
    def __init__(self, environ: dict[str, str], *flags: str) -> None:
        self._cells = 0
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=NoColor", *flags],
            env={**environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            encoding="utf-8",
            timeout=SLOW,
            dimensions=(50, 200),
        )

    def type_line(self, line: str) -> None:
        """Type ``line``; the terminal buffers it until the prompt appears."""
        self.child.send(line + "\r")

    def run(self, line: str) -> None:
        """Type ``line``, and wait for its end; a marker distinguishes its output from its echo."""
        self._cells += 1
        self.type_line(f"{line}; print('end of', {self._cells})")
        self.expect(f"end of {self._cells}")

    def expect(self, pattern: str) -> None:
        self.child.expect(pattern)

    def end(self) -> None:
        self.type_line("exit()")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0


@pytest.fixture
def bob(join):
    return join("bob")


@pytest.fixture
def terminal(room_server, home_environ, bob):
    opened = []

    def open_terminal(*flags: str) -> Terminal:
        environ = {**home_environ, "BQWIDGET_URL": room_server.url, "BQWIDGET_TOKEN": room_server.token}
        here = Terminal(environ, *flags)
        opened.append(here)
        here.run("import threading, time; from bqwidget import Room")
        here.run(f"room = Room({bob.name!r}, user='ada').wait_open(20)")
        here.run("until = lambda so: [time.sleep(0.01) for _ in iter(so, True)]")
        return here

    yield open_terminal
    for here in opened:
        here.child.close(force=True)


def test_callbacks_run_at_the_prompt_and_never_in_a_cell(terminal, bob):
    here = terminal()
    here.run(HEARD)
    bob.send("at the prompt")
    here.expect("received at the prompt on the main thread True")
    here.type_line("room.send('busy'); until(lambda: room.messages[-1].text == 'last'); print('the', 'end')")
    bob.wait_for(lambda message: message.text == "busy", SLOW, after=0)
    bob.send("during the cell")
    bob.send("last")
    here.expect("the end")
    assert "received during" not in here.child.before
    here.expect("received during the cell on the main thread True")
    here.end()


def test_callbacks_run_while_a_cell_waits_or_awaits(terminal, bob):
    here = terminal()
    here.run(HEARD)
    here.type_line("room.send('waiting'); room.wait_for(lambda m: m.text == 'go', 20); print('the', 'wait is over')")
    bob.wait_for(lambda message: message.text == "waiting", SLOW, after=0)
    bob.send("meanwhile")
    here.expect("received meanwhile on the main thread True")
    bob.send("go")
    here.expect("the wait is over")
    here.type_line(
        "coming = room.next_message(lambda m: m.text == 'again'); await room.asend('awaiting'); await coming; "
        "print('the', 'end')"
    )
    bob.wait_for(lambda message: message.text == "awaiting", SLOW, after=0)
    bob.send("in between")
    here.expect("received in between on the main thread True")
    bob.send("again")
    here.expect("the end")
    here.end()


def test_without_an_asyncio_prompt_callbacks_run_on_another_thread(terminal, bob):
    here = terminal("--simple-prompt")
    here.run(HEARD)
    bob.send("one")
    here.expect("received one on the main thread False")
    here.end()
